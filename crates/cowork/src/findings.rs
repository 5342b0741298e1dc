//! `cowork findings`: what drills found, who sees to it, what became of it.
//!
//! Not here: the file and its rules (`drill::findings`).

use std::path::PathBuf;
use std::process::ExitCode;

use ::drill::findings::{FindingsError, Known, Register, Status};
use ::drill::report::Severity;
use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::failure::Failure;
use crate::process::Process;

#[derive(Debug, Args)]
pub(crate) struct Findings {
    /// The findings file, the same as for `cowork drill run --findings`
    #[arg(long, value_name = "FILE", default_value = "findings.json", global = true)]
    file: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what is not closed, the worst first
    List {
        /// Closed ones too
        #[arg(long)]
        all: bool,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a finding to somebody
    Assign {
        id: String,
        #[arg(long, value_name = "NAME")]
        owner: String,
        /// By which day, as YYYY-MM-DD
        #[arg(long, value_name = "DAY")]
        due: Option<NaiveDate>,
    },
    /// Put a finding off: its owner bears the risk until the day has passed
    Defer {
        id: String,
        #[arg(long, value_name = "NAME")]
        owner: String,
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The last day, as YYYY-MM-DD
        #[arg(long, value_name = "DAY")]
        until: NaiveDate,
    },
    /// Close a finding that the last drill did not find any more
    Close {
        id: String,
        #[arg(long, value_name = "NAME")]
        by: String,
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

impl Findings {
    pub(crate) fn json(&self) -> bool {
        matches!(self.action, Action::List { json: true, .. })
    }

    pub(crate) fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        let (path, now) = (process.working_directory.join(&self.file), process.sources.now());
        let today = now.date_naive();
        match self.action {
            Action::List { all, json } => list(&Register::read(&path)?, all, json, today),
            Action::Assign { id, owner, due } => Register::change(&path, |all| all.assign(&id, &owner, due))?,
            Action::Defer { id, owner, reason, until } => {
                Register::change(&path, |all| all.defer(&id, &owner, &reason, until, today))?;
            }
            Action::Close { id, by, reason } => Register::change(&path, |all| all.close(&id, &by, &reason, now))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(register: &Register, all: bool, as_json: bool, today: NaiveDate) {
    let mut shown: Vec<&Known> = register.findings().iter().filter(|known| all || !known.is_closed()).collect();
    shown.sort_by_key(|known| (known.severity != Severity::High, known.first_seen.at));
    if as_json {
        println!("{:#}", json!({"findings": shown}));
        return;
    }
    if shown.is_empty() {
        println!("No finding is open.");
    }
    for known in shown {
        let due = known.due_date.map_or_else(|| "no day".to_owned(), |day| day.to_string());
        let word = known.word(today);
        println!("{}  {:<6} {word:<10} {:<24} {due}", known.id, known.severity.word(), known.owner);
        println!("    {}", known.finding);
        if let Status::Deferred { reason, .. } | Status::Closed { reason, .. } = &known.status {
            println!("    reason: {reason}");
        }
        if known.gone_since.is_some() && !known.is_closed() {
            println!("    not found any more; `cowork findings close` closes it");
        }
    }
}

impl From<FindingsError> for Failure {
    fn from(error: FindingsError) -> Self {
        let advice = error.advice();
        Self::could_not("The findings were not read or changed.", error, advice)
    }
}
