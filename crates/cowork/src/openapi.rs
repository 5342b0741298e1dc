//! `cowork openapi`: the API's description, as the web role serves it, or the gateway's own.

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct OpenApi {
    /// What the gateway takes, in the place of the API
    #[arg(long)]
    gateway: bool,
}

impl OpenApi {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        print!("{}", if self.gateway { gateway::openapi() } else { web::openapi() });
        Ok(ExitCode::SUCCESS)
    }
}
