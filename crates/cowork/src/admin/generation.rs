//! Beginning a new generation of a restored system: what the recovery ledger remembers is put over its rows, and from then on
//! every lease and claim of the lost one is void.
//!
//! Not here: the replay itself (`replay`).

use std::process::ExitCode;

use clap::{Args, Subcommand};
use ids::BackupId;
use recovery::Begun;
use serde_json::json;

use crate::archive::unless_interrupted;
use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;
use crate::replay::{LedgerArgs, Wanted, lines, tell};
use crate::restore::Environment;

#[derive(Debug, Subcommand)]
pub(crate) enum Generation {
    /// Begin the generation of a system that was restored with --no-start-generation, or whose restore was interrupted
    Start(Start),
    /// Tell what the restore that began this generation remembered
    Report(Report),
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    config: ConfigArgs,
    /// What the restored system is
    #[arg(long, value_enum)]
    environment: Environment,
    /// What it was restored from
    #[arg(long, value_name = "ID")]
    backup: BackupId,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

impl Generation {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Start(start) => start.json,
            Self::Report(report) => report.json,
        }
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        match self {
            Self::Start(start) => start.run(process).await,
            Self::Report(report) => report.run(process).await,
        }
    }
}

impl Start {
    async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let begun = self.begin(&installation, &process).await;
        installation.close().await;
        let begun = begun?;
        if self.json {
            let (life, report) = (&begun.generation, &begun.report);
            let environment = life.environment.as_str();
            println!(
                "{}",
                json!({"generation": life.generation, "environment": environment, "started_at": life.started_at,
                    "replay": report})
            );
        } else {
            println!("This system is in {}", tell(&begun));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn begin(&self, installation: &Installation, process: &Process) -> Result<Begun, Failure> {
        let system = installation.generation().await?.system_id;
        let wanted = Wanted { environment: self.environment, backup: self.backup, ledger: &self.ledger };
        wanted.check(&installation.config, process, system).await?;
        unless_interrupted("replay", wanted.begin(installation, process)).await?
    }
}

impl Report {
    async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let found = self.find(&installation).await;
        installation.close().await;
        let (generation, report) = found?;
        if self.json {
            println!("{}", json!({"generation": generation, "replay": report}));
        } else {
            println!("Generation {generation}.{}", lines(&report));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn find(&self, installation: &Installation) -> Result<(i64, serde_json::Value), Failure> {
        let generation = installation.generation().await?.generation;
        let report = installation.store.restore_report(generation).await?;
        let report = report.ok_or_else(|| {
            Failure::failed(
                "There is no report of a restore.",
                format!("generation {generation} was not begun by a restore that kept one"),
                "Nothing: a system that was never restored has nothing to remember.",
            )
        })?;
        Ok((generation, report))
    }
}
