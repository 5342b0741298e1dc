//! `cowork drill faults`: drill the judge. Worlds that are broken on purpose have to be noticed, whole ones have to pass.
//!
//! Not here: the worlds (crate `drill`).

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use ::drill::faults::{self, Options, Outcome, Which};
use ::drill::report::Comparison;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::failure::{EXIT_FAILED, Failure};
use crate::process::Process;
use crate::serve::BUILD;

#[derive(Debug, Args)]
pub(crate) struct Faults {
    /// Try the worlds that are whole, instead of the broken ones
    #[arg(long)]
    healthy: bool,
    /// Try both; with --mutations all three
    #[arg(long, conflicts_with = "healthy")]
    all: bool,
    /// A few that stand for the rest
    #[arg(long)]
    quick: bool,
    /// Only these, by id
    #[arg(long, value_name = "ID", num_args = 1..)]
    only: Vec<String>,
    /// List the worlds and try none
    #[arg(long)]
    list: bool,
    /// Leave one comparison of the judge out, such as postgres-restore:table_count, and try what it has to notice: the
    /// run has to fail
    #[arg(long, value_name = "ROW:CODE")]
    blind: Option<Comparison>,
    /// Try judges that leave one comparison out, one judge for each, instead: a fault has to go uncaught then
    #[arg(long, conflicts_with_all = ["healthy", "only", "blind"])]
    mutations: bool,
    /// How many worlds are drilled at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    at_once: u8,
    /// Keep the report of every drill below this folder
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
    /// Below which folder the drills work
    /// [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Print one document of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Faults {
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        if self.list {
            list(self.json);
            return Ok(ExitCode::SUCCESS);
        }
        self.check_names()?;
        let (options, live) = (self.options(&process)?, std::io::stderr().is_terminal() || !self.json);
        let tell = |line: String| {
            if live {
                eprintln!("{line}");
            }
        };
        let outcome = faults::run(options, process.sources, cancelled_by_signal(), tell).await?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&outcome).expect("it is plain data"));
        } else {
            print!("{}", table(&outcome));
        }
        Ok(if outcome.good() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }

    fn check_names(&self) -> Result<(), Failure> {
        let known = faults::list();
        match self.only.iter().find(|only| known.iter().all(|world| world.id != only.as_str())) {
            Some(unknown) => Err(Failure::could_not(
                "There is no such world.",
                format!("none has the id {unknown:?}"),
                "See `cowork drill faults --list` for the ids.",
            )),
            None => Ok(()),
        }
    }

    fn options(&self, process: &Process) -> Result<Options, Failure> {
        let absolute = |path: &PathBuf| process.working_directory.join(path);
        Ok(Options {
            work_parent: self.work.as_ref().map_or_else(|| super::work_parent(process), absolute),
            executable: super::own_path()?,
            search_path: process.environment.get("PATH").cloned().unwrap_or_default(),
            build: BUILD.to_owned(),
            which: Which {
                faults: self.all || !self.only.is_empty() || !(self.healthy || self.mutations),
                healthy: self.healthy || self.all || !self.only.is_empty(),
                mutations: self.mutations,
                quick: self.quick,
                only: self.only.clone(),
                noticed_by: self.blind,
            },
            at_once: self.at_once.into(),
            blind: self.blind,
            reports: self.reports.as_ref().map(absolute),
        })
    }
}

fn cancelled_by_signal() -> CancellationToken {
    let cancel = CancellationToken::new();
    tokio::spawn(super::cancel_on_signal(cancel.clone()));
    cancel
}

fn list(as_json: bool) {
    let worlds = faults::list();
    if as_json {
        return println!("{}", serde_json::to_string_pretty(&worlds).expect("it is plain data"));
    }
    for world in worlds {
        println!("{:<44} {:<8} {}", world.id, world.place, world.what);
    }
}

/// All of it, and the sum.
fn table(outcome: &Outcome) -> String {
    let mut text = String::new();
    if !outcome.faults.is_empty() {
        text += &format!("\n{:<44} {:<8} {:<7} {}\n", "Fault", "Where", "", "What the judge said");
    }
    for fault in &outcome.faults {
        let verdict = if fault.caught { "caught" } else { "MISSED" };
        text += &format!("{:<44} {:<8} {verdict:<7} {}\n", fault.id, fault.place, shortened(&fault.got));
    }
    if !outcome.healthy.is_empty() {
        text += &format!("\n{:<44} {:<8} {}\n", "Healthy world", "", "What the judge said against it");
    }
    for variant in &outcome.healthy {
        let verdict = if variant.passed { "passed" } else { "FAILED" };
        text += &format!("{:<44} {verdict:<8} {}\n", variant.id, shortened(&variant.said));
    }
    if !outcome.mutations.is_empty() {
        text += &format!("\n{:<50} {:<8} {}\n", "Left out", "", "The fault that went uncaught");
    }
    for mutation in &outcome.mutations {
        let verdict = if mutation.noticed { "noticed" } else { "SURVIVED" };
        text += &format!("{:<50} {verdict:<8} {}\n", mutation.blind, mutation.fault);
    }
    let caught = outcome.faults.iter().filter(|fault| fault.caught).count();
    let passed = outcome.healthy.iter().filter(|variant| variant.passed).count();
    let noticed = outcome.mutations.iter().filter(|mutation| mutation.noticed).count();
    let mut sums = Vec::new();
    let mut sum = |good: usize, all: usize, what: &str| {
        if all > 0 {
            sums.push(format!("{good} of {all} {what}"));
        }
    };
    sum(caught, outcome.faults.len(), "faults caught");
    sum(passed, outcome.healthy.len(), "healthy worlds passed");
    sum(noticed, outcome.mutations.len(), "blind judges noticed");
    text + &format!("\n{}\n", sums.join(", "))
}

fn shortened(said: &[String]) -> String {
    const SHOWN: usize = 3;
    match said.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", said[..SHOWN].join(" ")),
        _ => said.join(" "),
    }
}
