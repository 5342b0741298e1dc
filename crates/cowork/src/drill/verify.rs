//! `cowork drill verify`: is a drill's bundle what was signed?
//!
//! Not here: the answer (`attest::Answer`, which `attest verify` gives too).

use std::path::PathBuf;
use std::process::ExitCode;

use attest::Answer;
use clap::Args;

use crate::failure::Failure;
use crate::process::Process;

pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 verified, whatever the drill's verdict is; 1 refused; 2 could not be looked at; 64 called wrongly.
`cowork gate` also looks at the verdict.";

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The drill's report folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The Ed25519 public key, in PEM, of whoever you trust to run drills
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// Print the answer as JSON, with the signed statement
    #[arg(long)]
    pub(crate) json: bool,
}

impl Verify {
    pub(crate) fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        let pem = super::key::read_public(&self.public_key, process)?;
        let answer = Answer::of(&process.working_directory.join(&self.folder), &pem);
        match (self.json, answer.exit_code()) {
            (true, _) => println!("{:#}", answer.json()),
            (false, 0) => println!("{}", answer.text()),
            (false, _) => eprintln!("{}", answer.text()),
        }
        Ok(ExitCode::from(answer.exit_code()))
    }
}
