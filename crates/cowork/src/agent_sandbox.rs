//! `cowork agent-sandbox`: what a worker starts to be an agent's supervisor, and then the agent. Nobody types it.
//!
//! Not here: what it does (`agents::sandbox`).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

/// This program, also where it was replaced by a newer one since it began.
const THIS_PROGRAM: &str = "/proc/self/exe";
const NAME: &str = "agent-sandbox";

#[derive(Debug, Args)]
pub(crate) struct AgentSandbox {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// What starts this command, before its arguments.
pub(crate) fn launcher() -> Vec<OsString> {
    vec![THIS_PROGRAM.into(), NAME.into()]
}

impl AgentSandbox {
    /// Must be called while the process has one thread.
    pub(crate) fn run(self) -> ExitCode {
        agents::sandbox::main(&launcher(), self.arguments)
    }
}
