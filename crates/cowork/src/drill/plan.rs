//! `cowork drill plan`: writing and checking plans, and reading one for `cowork drill run --plan`.
//!
//! Not here: what a plan is (crate `drill`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::drill::plan::{Plan, Problem, Reference, TEMPLATE, examine, explain};
use clap::{Args, Subcommand};
use secrecy::SecretString;
use secrets::{SecretReader, SecretReference};
use serde_json::json;

use crate::failure::{EXIT_FAILED, Failure};
use crate::process::Process;

/// A plan of more bytes is none.
const SIZE_MAX: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Say what a drill of the plan would do and what is missing, without touching anything
    #[command(after_long_help = "Exit codes: 0 it can be carried out, 1 it can't, 2 it could not be read, 64 called \
                                 wrongly.")]
    Check(Check),
    /// Write a plan with every key explained, to be filled in
    Init(Init),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The plan's file
    #[arg(value_name = "FILE")]
    plan: PathBuf,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Where it goes; a file that is there is never overwritten
    #[arg(value_name = "FILE", default_value = "drill.toml")]
    plan: PathBuf,
}

/// A plan that was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) plan: Plan,
    /// Of the file, in hex.
    pub(super) sha256: String,
    reader: SecretReader,
}

impl Loaded {
    /// Reads the plan in `file`.
    pub(super) fn read(file: &Path, process: &Process) -> Result<Self, Failure> {
        let path = process.working_directory.join(file);
        let text = read_bounded(&path).map_err(|error| {
            Failure::could_not("The plan can't be read.", error, "Check the path; `cowork drill plan init` writes one.")
        })?;
        let plan = Plan::parse(&text).map_err(|error| {
            let advice = format!("Mend it: {}.", error.advice);
            Failure::failed(format!("{} is not a plan.", file.display()), error, advice)
        })?;
        let base = path.parent().unwrap_or(&process.working_directory).to_owned();
        let sha256 = ::drill::plan::fingerprint(&text);
        let reader = SecretReader::new(base.clone(), process.environment.clone());
        Ok(Self { plan: plan.anchored(&base), sha256, reader })
    }

    /// What stands in its way.
    pub(super) fn problems(&self, process: &Process) -> Vec<Problem> {
        let resolves = |reference: &Reference| self.resolve(reference).map(|_| ());
        examine(&self.plan, process.sources.now().date_naive(), resolves)
    }

    /// Every secret that it names.
    pub(super) fn values(&self) -> Result<BTreeMap<Reference, SecretString>, Failure> {
        let references = self.plan.references().into_iter();
        let values = references.map(|reference| Ok((reference.clone(), self.resolve(reference)?)));
        values.collect::<Result<_, String>>().map_err(|cause| {
            Failure::could_not("A secret of the plan has no value.", cause, "Provide it where its reference says.")
        })
    }

    fn resolve(&self, reference: &Reference) -> Result<SecretString, String> {
        let reference: SecretReference = reference.as_str().parse().map_err(|error| format!("{error}"))?;
        let value = self.reader.resolve(&reference).map_err(|error| format!("{error}"))?;
        value.expose_str().map(SecretString::from).ok_or_else(|| "it is not text".to_owned())
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > SIZE_MAX {
        return Err(std::io::Error::other(format!("it has {size} bytes; a plan has at most {SIZE_MAX}")));
    }
    std::fs::read_to_string(path)
}

impl PlanCommand {
    pub(crate) fn json(&self) -> bool {
        matches!(self, Self::Check(Check { json: true, .. }))
    }

    pub(crate) fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        match self {
            Self::Check(check) => check.run(process),
            Self::Init(init) => init.run(process),
        }
    }
}

impl Check {
    fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        let loaded = Loaded::read(&self.plan, process)?;
        let (steps, problems) = (explain(&loaded.plan), loaded.problems(process));
        let possible = problems.iter().all(|problem| !problem.fatal);
        if self.json {
            println!("{}", json!({"possible": possible, "steps": steps, "problems": problems}));
        } else {
            for (number, step) in steps.iter().enumerate() {
                println!("{:2}. {:<11} {}", number + 1, step.stage, step.sentence);
            }
            for problem in &problems {
                let word = if problem.fatal { "in the way" } else { "thin" };
                println!("\n{word}: {}\n  what to do: {}", problem.sentence, problem.advice);
            }
            println!("\n{}", if possible { "The plan can be carried out." } else { "The plan can't be carried out." });
        }
        Ok(if possible { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }
}

impl Init {
    fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        use std::io::Write as _;
        let path = process.working_directory.join(&self.plan);
        let written = std::fs::File::create_new(&path).and_then(|mut file| file.write_all(TEMPLATE.as_bytes()));
        written.map_err(|error| {
            Failure::could_not("The plan can't be written.", error, "Name a file that is not there yet.")
        })?;
        println!("{} is written. Fill in its blanks, then run `cowork drill plan check`.", self.plan.display());
        Ok(ExitCode::SUCCESS)
    }
}
