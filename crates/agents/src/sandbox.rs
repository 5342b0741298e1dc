//! What an agent's process is kept in: a supervisor, which sees to it that nothing of the agent is left, and below it the agent,
//! which has given up what it does not need before its program begins.
//!
//! Both are this program, started again (decision 0095): nothing may be done between `fork` and `exec` of a process with threads, so
//! a process without threads does it to itself and then becomes the agent.
//!
//! What holds: the agent's files are those of its cage (Landlock), it gains no privileges by `exec`, its processes, file sizes and
//! memory are limited as far as the operator said, it connects by TCP to the ports of its cage only, and when the worker ends,
//! however it does, so do the agent and all that descends from it.
//!
//! Not promised: that UDP and Unix sockets are closed to it; that a connection to a permitted port leads to this machine;
//! limits per session where the kernel counts per user (processes).
//!
//! Not here: talking to the agent (`acp`).

mod cage;
mod enter;
mod supervise;
mod tree;

pub use self::cage::Cage;
pub(crate) use self::tree::{proceed, stop};

use std::ffi::OsString;
use std::process::ExitCode;

/// The line by which the agent's process tells that it is in its cage and will be the agent next.
pub(crate) const READY: &str = "cowork-agent-sandbox: ready";
/// What a line begins with that tells why there is no agent.
pub(crate) const REFUSED: &str = "cowork-agent-sandbox: refused: ";

/// What a program does that was started to be a supervisor or an agent: `STAGE CAGE COMMAND...`. `program` is what starts the next
/// stage, with `STAGE CAGE COMMAND...` after it. Must be called before the process has a second thread.
#[must_use]
pub fn main(program: &[OsString], arguments: Vec<OsString>) -> ExitCode {
    let done = Stage::read(arguments).and_then(|stage| match stage {
        Stage::Supervise(cage, command) => supervise::run(program, &cage, &command),
        Stage::Enter(cage, command) => Err(enter::run(&cage, &command)),
    });
    match done {
        Ok(code) => code,
        Err(why) => {
            // Whoever reads standard output is the worker; nobody else can be told.
            println!("{REFUSED}{}", why.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// The arguments that make a program a supervisor.
pub(crate) fn arguments(cage: &Cage, command: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    [SUPERVISE.into(), cage.to_text().into()].into_iter().chain(command).collect()
}

const SUPERVISE: &str = "supervise";
const ENTER: &str = "enter";

enum Stage {
    Supervise(Cage, Vec<OsString>),
    Enter(Cage, Vec<OsString>),
}

impl Stage {
    fn read(arguments: Vec<OsString>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let stage = arguments.next().unwrap_or_default();
        let cage = arguments.next().ok_or("it was started without a cage")?;
        let cage = Cage::from_text(cage.to_str().unwrap_or_default())?;
        let command: Vec<OsString> = arguments.collect();
        match stage.to_str() {
            Some(SUPERVISE) if !command.is_empty() => Ok(Self::Supervise(cage, command)),
            Some(ENTER) if !command.is_empty() => Ok(Self::Enter(cage, command)),
            _ => Err("it is started by workers only".into()),
        }
    }
}
