//! Beginning a new generation of a restored system: from then on every lease and claim of the lost one is void.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use ids::BackupId;
use serde_json::json;

use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;
use crate::restore::Environment;

#[derive(Debug, Subcommand)]
pub(crate) enum Generation {
    /// Begin the generation of a system that was restored with --no-start-generation
    Start(Start),
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
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

impl Generation {
    pub(crate) fn json(&self) -> bool {
        let Self::Start(start) = self;
        start.json
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let Self::Start(start) = self;
        let installation = Installation::open(start.config.load(&process)?, &process).await?;
        let begun = begin(&installation, &start).await;
        installation.close().await;
        let begun = begun?;
        let (generation, environment) = (begun.generation, begun.environment.as_str());
        if start.json {
            println!(
                "{}",
                json!({"generation": generation, "environment": environment, "started_at": begun.started_at})
            );
        } else {
            println!("This system is in generation {generation}, as {environment}.");
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn begin(installation: &Installation, start: &Start) -> Result<store::Generation, Failure> {
    installation.generation().await?;
    Ok(installation.store.generation_start(start.backup, start.environment.into()).await?)
}
