//! Preparing and inspecting an installation.

mod generation;
pub(crate) mod init;
mod migrate;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;
use crate::process::Process;

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Make a new system: schema, first generation, an org with its owner and the owner's token
    Init(init::Init),
    /// Bring an older database up to this program's schema
    Migrate(migrate::Migrate),
    /// Say which life of the system this is
    #[command(subcommand)]
    Generation(generation::Generation),
    /// Open every secret, every stored ciphertext and every checkpoint
    Verify(verify::Verify),
}

impl Admin {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Init(init) => init.json,
            Self::Migrate(_) => false,
            Self::Generation(generation) => generation.json(),
            Self::Verify(verify) => verify.json,
        }
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        match self {
            Self::Init(init) => init.run(process).await,
            Self::Migrate(migrate) => migrate.run(process).await,
            Self::Generation(generation) => generation.run(process).await,
            Self::Verify(verify) => verify.run(process).await,
        }
    }
}
