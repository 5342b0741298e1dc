//! Starts the agent and waits until it ends, or the worker does. Then ends whatever descends from it, also what left its group.
//!
//! Not here: the cage (`enter`).

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};

use super::{Cage, ENTER, tree};

/// Between two looks for what is left.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

pub(super) fn run(program: &[OsString], cage: &Cage, command: &[OsString]) -> Result<ExitCode, String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: Errno| format!("{what}: {error}")
    };
    let mut signals = SigSet::empty();
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().for_each(|it| signals.add(it));
    signals.thread_block().map_err(failed("its signals could not be held back"))?;
    // What the agent starts and leaves behind becomes ours.
    prctl::set_child_subreaper(true).map_err(failed("it could not be made to see to its descendants"))?;
    prctl::set_pdeathsig(Signal::SIGTERM).map_err(failed("it could not be tied to its worker"))?;
    if getppid().as_raw() != cage.parent {
        return Err("its worker is gone".into());
    }
    let agent = start(program, cage, command)?;
    let code = wait(agent, &signals);
    end_all();
    Ok(code)
}

fn start(program: &[OsString], cage: &Cage, command: &[OsString]) -> Result<Pid, String> {
    let (first, rest) = program.split_first().ok_or("it does not know itself")?;
    let child = Command::new(first)
        .args(rest)
        .arg(ENTER)
        .arg(cage.to_text())
        .args(command)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("it can't be started: {error}"))?;
    Ok(Pid::from_raw(i32::try_from(child.id()).expect("a process id is small")))
}

/// Until the agent has ended, or the worker wants it to.
fn wait(agent: Pid, signals: &SigSet) -> ExitCode {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {}
            _ => return ExitCode::FAILURE,
        }
        // One signal may tell of several.
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == agent => return ExitCode::from(code.to_le_bytes()[0]),
                Ok(WaitStatus::Signaled(pid, ..)) if pid == agent => return ExitCode::FAILURE,
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
}

/// Whoever is killed leaves its children to us, so this ends when there are none.
#[expect(clippy::disallowed_methods, reason = "what was made while the look went on is found by another one")]
fn end_all() {
    loop {
        for descendant in tree::descendants(getpid()) {
            let _ = kill(descendant.pid, Signal::SIGKILL);
        }
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) | Err(_) => std::thread::sleep(LOOK_AGAIN),
            Ok(_) => {}
        }
    }
}
