//! Bringing an older database up to this program's schema. Safe to run twice, and from several machines at once.

use std::process::ExitCode;

use clap::Args;
use store::Store;

use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Migrate {
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let migrated = installation.store.migrate().await;
        installation.close().await;
        migrated.map_err(|error| {
            Failure::could_not(
                "The schema can't be brought up to date.",
                error,
                "Use the program that the database was last migrated with, or restore a backup.",
            )
        })?;
        println!("The schema is at {}.", Store::schema_version());
        Ok(ExitCode::SUCCESS)
    }
}
