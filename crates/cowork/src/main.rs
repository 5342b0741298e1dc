//! The `cowork` binary: each role is a list of parts, each command a file.
//!
//! The environment, the working directory and the machine's clock and randomness are read here, once, and passed down.
//!
//! Not here: doing anything. What a command does is in the crates that its file names.

mod admin;
mod agent_sandbox;
mod archive;
mod audit;
mod backup;
mod billing;
mod cli;
mod deliveries;
mod doctor;
mod drill;
mod failure;
mod findings;
mod gate;
mod installation;
mod keys;
mod maintenance;
mod openapi;
mod process;
mod quotas;
mod replay;
mod restore;
mod scan;
mod serve;
mod subjects;
mod usage;
mod validate;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::{EXIT_USAGE, Failure};
use crate::process::Process;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing to be done if the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // Before anything has made a second thread.
    if let Command::AgentSandbox(sandbox) = cli.command {
        return sandbox.run();
    }
    let (json, role) = (cli.command.json(), cli.command.is_role());
    run(cli).unwrap_or_else(|failure| {
        failure.print(json, role && !std::io::stderr().is_terminal());
        failure.exit_code()
    })
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let mut process = Process::read()?;
    process.isolated = cli.command.isolate(&process);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::could_not("The program can't start.", error, "Look at this machine's limits on threads and files.")
    })?;
    runtime.block_on(cli.command.run(process))
}
