//! The server process: started, found again, stopped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::endpoint::PORT;
use crate::error::{StartError, StopError, io_error};
use crate::home::Home;
use crate::options::Options;
use crate::process::{self, poll};

/// How a stop becomes more insistent: each signal, and how long it has.
/// `SIGINT` is Postgres' fast shutdown, `SIGQUIT` the immediate one.
const LADDER: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(60)),
    (Signal::SIGQUIT, Duration::from_secs(10)),
    (Signal::SIGKILL, Duration::from_secs(10)),
];

/// What a running server writes about itself (`postmaster.pid`).
#[derive(Debug)]
pub(crate) struct PidFile {
    pub(crate) pid: i32,
    pub(crate) sockets: PathBuf,
    pub(crate) ready: bool,
}

impl PidFile {
    pub(crate) fn path(data: &Path) -> PathBuf {
        data.join("postmaster.pid")
    }

    /// `None` if there is none, or it is still being written.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(Self::path(data)).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let sockets = lines.nth(3).unwrap_or_default().into();
        let ready = lines.nth(2).is_some_and(|status| status.trim() == "ready");
        Some(Self { pid, sockets, ready })
    }
}

/// A server that we started.
#[derive(Debug)]
pub(crate) struct Postmaster {
    child: Child,
}

impl Postmaster {
    /// Starts the server of `home` and waits until it takes connections.
    pub(crate) fn start(
        binaries: &Binaries,
        home: &Home,
        sockets: &Path,
        account: Account,
        options: Options,
    ) -> Result<Self, StartError> {
        let log = home.open_log().map_err(io_error("open", home.log()))?;
        let log_start = log.metadata().map_err(io_error("read", home.log()))?.len();
        let mut command = command(binaries, home, sockets, account, options, log)?;
        let child = command.spawn().map_err(io_error("run", binaries.tool("postgres")))?;
        let mut server = Self { child };
        if server.is_ready(&home.data(), options.start_limit) {
            return Ok(server);
        }
        let _ = server.stop(true);
        Err(StartError::Server { home: home.path().to_path_buf(), tail: tail(&home.log(), log_start) })
    }

    fn is_ready(&mut self, data: &Path, limit: Duration) -> bool {
        let pid = self.pid();
        let mut ready = false;
        poll(limit, || {
            ready = PidFile::read(data).is_some_and(|file| file.pid == pid && file.ready);
            ready || self.ended().is_some()
        });
        ready
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id is positive and fits")
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Stops it, and reaps it. `at_once` leaves out the orderly end: for data that is thrown away.
    pub(crate) fn stop(&mut self, at_once: bool) -> Result<(), StopError> {
        if self.ended().is_some() {
            return Ok(());
        }
        let pid = self.pid();
        stop_until(pid, at_once, || self.ended().is_some())
    }
}

/// Stops a server that somebody else started. It is gone when its process no longer serves `data`.
pub(crate) fn stop_leftover(data: &Path, at_once: bool) -> Result<(), StopError> {
    let Some(file) = PidFile::read(data) else { return Ok(()) };
    if process::serves(file.pid, data) {
        stop_until(file.pid, at_once, || !process::serves(file.pid, data))?;
    }
    // A stale file names an id that may by now be another process', and Postgres would refuse to start. That nobody
    // serves this folder is proven; Postgres itself still checks its shared memory for survivors.
    let _ = std::fs::remove_file(PidFile::path(data));
    Ok(())
}

fn stop_until(pid: i32, at_once: bool, mut gone: impl FnMut() -> bool) -> Result<(), StopError> {
    for (signal, limit) in &LADDER[usize::from(at_once)..] {
        process::send(pid, *signal);
        if poll(*limit, &mut gone) {
            return Ok(());
        }
    }
    Err(StopError { pid })
}

fn command(
    binaries: &Binaries,
    home: &Home,
    sockets: &Path,
    account: Account,
    options: Options,
    log: File,
) -> Result<Command, StartError> {
    let errors = log.try_clone().map_err(io_error("open", home.log()))?;
    let mut command = Command::new(binaries.tool("postgres"));
    command.arg("-D").arg(home.data()).arg("-k").arg(sockets).arg("-p").arg(PORT.to_string());
    for setting in options.settings() {
        command.arg("-c").arg(setting);
    }
    // Its own process group: an interrupt at the terminal is for us, who stop the roles before their database.
    account.run(&mut command).stdout(log).stderr(errors).process_group(0);
    Ok(command)
}

/// The last lines that were written to the log from byte `start` on.
fn tail(log: &Path, start: u64) -> String {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() || text.is_empty() {
        return "(nothing)".to_owned();
    }
    last_lines(&text)
}

pub(crate) fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
