//! `cowork openapi`: the API's description, as the web role serves it.

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct OpenApi {}

impl OpenApi {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        print!("{}", web::openapi());
        Ok(ExitCode::SUCCESS)
    }
}
