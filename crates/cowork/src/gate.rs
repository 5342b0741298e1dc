//! `cowork gate`: may this build be launched on the evidence of that drill?
//!
//! Not here: the judgement (`drill::gate`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::drill::findings::Register;
use ::drill::gate::{Reason, Terms, judge};
use ::drill::history;
use attest::{PublicKey, bundle};
use chrono::TimeDelta;
use clap::Args;
use serde_json::json;

use crate::drill::read_public_key;
use crate::failure::{EXIT_FAILED, Failure};
use crate::process::Process;

#[derive(Debug, Args)]
#[command(
    after_long_help = "Exit codes: 0 launch, 1 do not launch (each reason is told), 2 could not be judged, 64 called wrongly."
)]
pub(crate) struct Gate {
    /// A drill's report folder, or a folder of them: then the newest drill counts, whatever became of it
    #[arg(value_name = "DIR", default_value = "drill-reports")]
    evidence: PathBuf,
    /// The Ed25519 public key, in PEM, of whoever is trusted to run drills
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// The findings file that drills and people share
    #[arg(long, value_name = "FILE")]
    findings: Option<PathBuf>,
    /// How many hours ago the drill may have ended
    #[arg(long, value_name = "HOURS", default_value_t = 168, value_parser = clap::value_parser!(u32).range(1..=87_600))]
    max_age_hours: u32,
    /// The program that is to be launched
    /// [default: this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Gate {
    pub(crate) fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        let key = PublicKey::from_pem(&read_public_key(&self.public_key, process)?).map_err(|error| {
            Failure::could_not("The public key can't be used.", error, "Give --public-key an Ed25519 key in PEM.")
        })?;
        let terms = self.terms(process)?;
        let register = match &self.findings {
            Some(path) => Register::read(&process.working_directory.join(path))?,
            None => Register::default(),
        };
        let evidence = newest(&process.working_directory.join(&self.evidence));
        let statement = bundle::verify(&evidence, &key).map(|verified| verified.statement);
        let reasons = judge(&statement, &register, &terms);
        tell(&evidence, &reasons, self.json);
        Ok(if reasons.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }

    fn terms(&self, process: &Process) -> Result<Terms, Failure> {
        let binary = match &self.binary {
            Some(binary) => Ok(process.working_directory.join(binary)),
            None => std::env::current_exe(),
        };
        let digest = binary.and_then(|binary| ::drill::file_digest(&binary));
        let build_sha256 = digest.map_err(|error| {
            Failure::could_not("The program to be launched can't be read.", error, "Name it with --binary.")
        })?;
        let max_age = TimeDelta::hours(i64::from(self.max_age_hours));
        Ok(Terms { now: process.sources.now(), max_age, build_sha256 })
    }
}

/// The folder itself if a drill reported to it, else the newest drill below. An interrupted one counts: what came after
/// the last good drill must not be passed over.
fn newest(folder: &Path) -> PathBuf {
    if folder.join(bundle::JOURNAL).exists() || folder.join(bundle::ENVELOPE).exists() {
        return folder.to_owned();
    }
    let runs = history::read(folder).map(|history| history.runs).unwrap_or_default();
    runs.into_iter().next_back().map_or_else(|| folder.to_owned(), |run| run.folder)
}

fn tell(evidence: &Path, reasons: &[Reason], as_json: bool) {
    if as_json {
        println!("{:#}", json!({"launch": reasons.is_empty(), "evidence": evidence, "reasons": reasons}));
    } else if reasons.is_empty() {
        println!("Launch: {} is signed, young enough, of this build, and all ten rows passed.", evidence.display());
    } else {
        eprintln!("Do not launch on {}:", evidence.display());
        for reason in reasons {
            eprintln!("  {}: {}", reason.code, reason.sentence);
        }
    }
}
