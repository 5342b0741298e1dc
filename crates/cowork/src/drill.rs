//! `cowork drill`: prove that the system comes back.
//!
//! Not here: the drill itself (crate `drill`).

mod clean;
mod export;
mod faults;
mod history;
mod isolation;
mod key;
mod plan;
mod verify;

pub(crate) use key::read_public as read_public_key;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ::drill::plan::{Name, Plan, Roles};
use ::drill::progress::Mode;
use ::drill::report::{Metadata, Objectives, json};
use ::drill::{DrillError, Isolated, Keeping, Options, Outcome, PlanRun};
use attest::SigningKey;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use secrets::SecretReference;
use tokio_util::sync::CancellationToken;

use self::plan::Loaded;
use crate::failure::Failure;
use crate::process::Process;
use crate::serve::BUILD;

#[derive(Debug, Subcommand)]
pub(crate) enum Drill {
    /// Build a live system, back it up, destroy it, restore it elsewhere, and judge what came back
    #[command(after_long_help = "Exit codes: 0 passed, 1 failed, 2 could not verify, 64 called wrongly.")]
    Run(Box<Run>),
    /// Check a drill's evidence offline, with the public key of whoever ran it
    #[command(after_long_help = verify::EXIT_CODES)]
    Verify(verify::Verify),
    /// Make the keys that sign evidence and check it
    #[command(subcommand)]
    Key(key::Key),
    /// Remove everything that killed drills left: processes, clusters, folders
    Clean(clean::Clean),
    /// List the drills of a folder: verdicts and recovery times
    History(history::List),
    /// Write a drill's report in a form for other programs
    Export(export::Export),
    /// Drill the judge: break worlds on purpose, and see that each is caught by the row that is meant to
    #[command(after_long_help = "Exit codes: 0 every fault caught and every healthy world passed, 1 not so, \
                                 2 could not try, 64 called wrongly.")]
    Faults(faults::Faults),
    /// Write and check plans for drills of environments that exist
    #[command(subcommand)]
    Plan(plan::PlanCommand),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Where the report goes; an earlier report there is kept below `earlier/`
    /// [default: drill-reports/TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Drill the environment that this plan describes, instead of one that is made up
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scale", "seed", "owner", "rto", "rpo", "isolation"])]
    plan: Option<PathBuf>,
    /// How large the world is: 0 is a dozen sessions, 1 is about 200, 20 is 1 GB of rows
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=1_000))]
    scale: u32,
    /// Repeats a world; otherwise the seed is random and stands in the journal
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Whether the roles run in a network namespace without a route to the outside, which takes Linux and root
    #[arg(long, value_enum, default_value_t = isolation::Wanted::IfPossible)]
    isolation: isolation::Wanted,
    /// Leave the target where it is, with its database running, for inspection
    #[arg(long)]
    keep: bool,
    /// Wait for Enter after a stage, and say how to reach the target
    #[arg(long, value_name = "STAGE", value_parser = ::drill::PAUSES)]
    pause_after: Option<String>,
    /// Below which folder the drill works
    /// [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Who owns the report and what follows from it
    #[arg(long, value_name = "NAME", default_value = "Open Cowork operator")]
    owner: String,
    /// How long a recovery may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    rto: u32,
    /// How much of the time before the disaster may be lost, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    rpo: u32,
    /// Sign the evidence: where the Ed25519 private key is, in PKCS#8 PEM, as `env:NAME` or `file:PATH`.
    /// Without it the report is unsigned, and says so
    #[arg(long, value_name = "REF")]
    signing_key: Option<SecretReference>,
    /// A name for the signing key
    /// [default: the SHA-256 of its public part]
    #[arg(long, value_name = "ID", requires = "signing_key")]
    signing_key_id: Option<String>,
    /// Note what was found in this findings file, and make the Follow-Up table from it
    #[arg(long, value_name = "FILE")]
    findings: Option<PathBuf>,
    /// Show the drills of this folder in the report
    /// [default: drill-reports, if the report goes there]
    #[arg(long, value_name = "DIR")]
    history: Option<PathBuf>,
    /// Also write the report as FORMAT=PATH, outside of its folder; FORMAT is junit, prometheus, github or oscal
    #[arg(long, value_name = "FORMAT=PATH", value_parser = export::Target::parse)]
    export: Vec<export::Target>,
    /// Print the report as JSON at the end, instead of the ten rows
    #[arg(long)]
    json: bool,
    /// No lines that move, even on a terminal
    #[arg(long)]
    quiet: bool,
    /// `kill -9` of itself as soon as the journal has so many entries, for the test of crash safety
    #[arg(long, value_name = "ENTRIES", hide = true)]
    die_after_entry: Option<u64>,
}

impl Drill {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Run(run) => run.json,
            Self::Plan(plan) => plan.json(),
            Self::Verify(verify) => verify.json,
            Self::Key(key) => key.json(),
            Self::Clean(clean) => clean.json,
            Self::History(list) => list.json,
            Self::Export(_) => false,
            Self::Faults(faults) => faults.json,
        }
    }

    /// Leaves the machine's network, if it runs a drill that wants it. Only while the process has one thread.
    pub(crate) fn isolate(&self, process: &Process) -> Option<Isolated> {
        let Self::Run(run) = self else { return None };
        match &run.plan {
            None => Some(isolation::for_rehearsal(run.isolation)),
            // A plan that can't be read is told when it is run.
            Some(plan) => Some(isolation::for_plan(&Loaded::read(plan, process).ok()?.plan)),
        }
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(run) => run.run(process).await,
            Self::Verify(verify) => verify.run(&process),
            Self::Key(key) => key.run(&process),
            Self::Clean(clean) => clean.run(&process),
            Self::History(list) => list.run(&process),
            Self::Export(export) => export.run(&process),
            Self::Faults(faults) => faults.run(process).await,
            Self::Plan(plan) => plan.run(&process),
        }
    }
}

impl Run {
    async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let mut options = self.options(&process)?;
        if let Some(file) = &self.plan {
            let loaded = Loaded::read(file, &process)?;
            self.adopt(&mut options, &loaded, &process)?;
        }
        export::refuse_within(&self.export, &options.out, &process)?;
        let cancel = CancellationToken::new();
        tokio::spawn(cancel_on_signal(cancel.clone()));
        let outcome = ::drill::run(options, process.sources.clone(), cancel).await?;
        tell(&outcome, self.json);
        for target in &self.export {
            target.write(&outcome.report, &process)?;
        }
        if outcome.interrupted {
            return Err(Failure::could_not(
                "The drill was interrupted.",
                "a signal arrived before the last stage",
                "Nothing is left of it but its report, which says how far it came. Start it again.",
            ));
        }
        Ok(ExitCode::from(outcome.report.verdict().exit_code()))
    }

    /// What the plan says in the place of flags.
    fn adopt(&self, options: &mut Options, loaded: &Loaded, process: &Process) -> Result<(), Failure> {
        if let Some(problem) = loaded.problems(process).into_iter().find(|problem| problem.fatal) {
            return Err(Failure::could_not(
                "The plan can't be carried out.",
                problem.sentence,
                format!("`cowork drill plan check` says all that is in its way. First: {}.", problem.advice),
            ));
        }
        let plan = &loaded.plan;
        let thresholds = plan.thresholds;
        options.objectives = Objectives { rto_s: f64::from(thresholds.rto_s), rpo_s: f64::from(thresholds.rpo_s) };
        options.metadata = Metadata {
            drill_type: format!("Restore drill of an environment that exists: {}", plan.name.as_str()),
            scope: format!("{}; backup: {}", Metadata::default().scope, plan.source.kind()),
            report_owner: plan.owner.as_str().to_owned(),
            ..Metadata::default()
        };
        if let (None, Some(folder)) = (&self.out, &plan.output.folder) {
            options.out = folder.join(options.out.file_name().unwrap_or_default());
        }
        options.plan = Some(PlanRun {
            plan: plan.clone(),
            sha256: loaded.sha256.clone(),
            values: loaded.values()?,
            inherited: inherited(plan, process),
            spec: crate::archive::spec::spec(),
        });
        options.isolation = plan.target.isolation;
        Ok(())
    }

    fn options(&self, process: &Process) -> Result<Options, Failure> {
        let executable = own_path()?;
        let absolute = |path: &PathBuf| process.working_directory.join(path);
        let started = process.sources.now().to_rfc3339_opts(SecondsFormat::Millis, true).replace([':', '.'], "-");
        // Two drills may begin in the same millisecond.
        let unique = u16::from_le_bytes(process.sources.bytes());
        let reports = || PathBuf::from("drill-reports");
        let default = || reports().join(format!("{started}-{unique:04x}"));
        let out = self.out.clone().unwrap_or_else(default);
        let quiet = self.quiet || self.json || !std::io::stderr().is_terminal();
        let variable = |name: &str| process.environment.get(name).filter(|value| !value.is_empty());
        let not_tried = || Isolated::NotTried { cause: "this program did not try".to_owned() };
        let colour = !quiet && variable("NO_COLOR").is_none();
        Ok(Options {
            out: absolute(&out),
            work_parent: self.work.as_ref().map_or_else(|| work_parent(process), absolute),
            executable,
            search_path: variable("PATH").cloned().unwrap_or_default(),
            build: BUILD.to_owned(),
            plan: None,
            isolation: self.isolation.into(),
            isolated: process.isolated.clone().unwrap_or_else(not_tried),
            scale: self.scale,
            seed: self.seed.unwrap_or_else(|| u64::from_le_bytes(process.sources.bytes())),
            keep: self.keep,
            pause_after: self.pause_after.clone(),
            objectives: Objectives { rto_s: f64::from(self.rto), rpo_s: f64::from(self.rpo) },
            metadata: Metadata { report_owner: self.owner.clone(), ..Metadata::default() },
            keeping: Keeping {
                signing_key: self.signing_key(process)?.map(Arc::new),
                findings: self.findings.as_ref().map(absolute),
                history: self.history.clone().or_else(|| self.out.is_none().then(reports)).as_ref().map(absolute),
            },
            mode: Mode { live: !quiet, colour },
            die_after_entry: self.die_after_entry,
        })
    }
}

impl Run {
    fn signing_key(&self, process: &Process) -> Result<Option<SigningKey>, Failure> {
        let reference = self.signing_key.as_ref();
        reference.map(|reference| key::read(reference, self.signing_key_id.as_deref(), process)).transpose()
    }
}

/// The variables that the plan's commands for roles get.
fn inherited(plan: &Plan, process: &Process) -> BTreeMap<String, String> {
    let Roles::Commands { inherit, .. } = &plan.roles else { return BTreeMap::new() };
    let known = |name: &Name| Some((name.as_str().to_owned(), process.environment.get(name.as_str())?.clone()));
    inherit.iter().filter_map(known).collect()
}

fn own_path() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::could_not("The program can't find itself.", error, "Start it by its path."))
}

fn work_parent(process: &Process) -> PathBuf {
    process.environment.get("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

fn tell(outcome: &Outcome, as_json: bool) {
    if as_json {
        print!("{}", json::render(&outcome.report));
    } else {
        ::drill::progress::Progress::new(Mode::PLAIN).table(&outcome.report, &outcome.out);
    }
    if let Some(kept) = &outcome.kept {
        eprintln!("the target was kept in {}", kept.folder.display());
        eprintln!("  look at it:  psql '{}'", kept.database_url);
        let kill = kept.postgres_pid.map_or_else(String::new, |pid| format!("kill -INT {pid} && "));
        eprintln!("  remove it:   {kill}rm -r {}", kept.folder.display());
    }
}

/// SIGINT and SIGTERM end the drill in order: what it made is removed, and a report says how far it came.
async fn cancel_on_signal(cancel: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    cancel.cancel();
}

impl From<DrillError> for Failure {
    fn from(error: DrillError) -> Self {
        let advice = error.advice().to_owned();
        Self::could_not("The drill could not begin.", error, advice)
    }
}
