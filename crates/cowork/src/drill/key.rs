//! `cowork drill key`: the keys that sign evidence. `openssl genpkey -algorithm ed25519` makes the same kind.
//!
//! Not here: signing (`attest`), where an operator keeps the private key.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use attest::{RunKey, SigningKey};
use clap::{Args, Subcommand};
use ids::DrillId;
use secrets::{SecretReader, SecretReference};
use serde_json::json;

use crate::failure::Failure;
use crate::process::Process;

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a private key, and its public part beside it
    Generate(Generate),
    /// Print the key of one drill, for an auditor who is to check its keyed values; it signs nothing
    OfDrill(OfDrill),
}

#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Where the private key goes, for its owner only; the public one goes to FILE.pub
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print what was made as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OfDrill {
    /// The drill's id, as its report has it
    #[arg(value_name = "DRILL")]
    drill: DrillId,
    /// The key that the drill was signed with, as `env:NAME` or `file:PATH`
    #[arg(long, value_name = "REF")]
    signing_key: SecretReference,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Key {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Generate(generate) => generate.json,
            Self::OfDrill(of_drill) => of_drill.json,
        }
    }

    pub(crate) fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        match self {
            Self::Generate(generate) => generate.run(process),
            Self::OfDrill(of_drill) => of_drill.run(process),
        }
    }
}

impl OfDrill {
    fn run(&self, process: &Process) -> Result<ExitCode, Failure> {
        let key = RunKey::of(&read(&self.signing_key, None, process)?, &self.drill.to_string()).to_hex();
        if self.json {
            println!("{}", json!({"drill_id": self.drill, "key": key}));
        } else {
            println!("{key}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Generate {
    fn run(&self, process: &Process) -> Result<ExitCode, Failure> {
        let private = process.working_directory.join(&self.out);
        let public = private.with_added_extension("pub");
        let key = SigningKey::from_seed(&process.sources.bytes());
        write_new(&private, &key.to_pem(), 0o600)?;
        write_new(&public, &key.public().to_pem(), 0o644)?;
        if self.json {
            println!("{}", json!({"private_key": private, "public_key": public, "key_id": key.id()}));
        } else {
            println!(
                "private key: {}\npublic key:  {}\nid:          {}",
                private.display(),
                public.display(),
                key.id()
            );
            println!("sign with:   cowork drill run --signing-key file:{}", private.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Never overwrites: a key that is lost can't be made again.
fn write_new(path: &Path, pem: &str, mode: u32) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        let what = format!("The key could not be written to {}.", path.display());
        Failure::could_not(what, error, "Name a file that does not exist yet, in a folder that you can write.")
    })
}

/// The private key that `reference` names.
pub(super) fn read(reference: &SecretReference, id: Option<&str>, process: &Process) -> Result<SigningKey, Failure> {
    let advice =
        "Give --signing-key the place of an Ed25519 private key in PEM; `cowork drill key generate` makes one.";
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::could_not("The signing key can't be used.", error, advice)
    };
    let reader = SecretReader::new(&process.working_directory, process.environment.clone());
    let value = reader.resolve(reference).map_err(|error| failed(error.into()))?;
    SigningKey::from_pem(value.expose_str().unwrap_or_default(), id).map_err(|error| failed(error.into()))
}

/// A public key as text.
pub(crate) fn read_public(path: &Path, process: &Process) -> Result<String, Failure> {
    let read = std::fs::read_to_string(process.working_directory.join(path));
    read.map_err(|error| {
        let what = format!("The public key {} can't be read.", path.display());
        Failure::could_not(what, error, "Give --public-key the file of an Ed25519 public key in PEM.")
    })
}
