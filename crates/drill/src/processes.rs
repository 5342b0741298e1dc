//! Role processes: the roles are started, watched and stopped as an operator would, as processes of the binary; or by the
//! operator's own commands.
//!
//! A process is known by its pid and the moment it started, so a pid that was given out again is never signalled.
//! Every child carries the drill's work folder in its environment (`DRILL_WORK_FOLDER`): after `kill -9` of a drill the
//! next one finds and ends what was left (`work::sweep`).
//!
//! Not here: which roles run when (`run`), whether they are well (`checks`), running commands (`operated`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::operated::{Commands, Operated};
use crate::said::{Heard, Name, Sentence, say};

/// The variable that marks a process as a drill's.
pub(crate) const WORK_FOLDER_VARIABLE: &str = "DRILL_WORK_FOLDER";
/// How long a role may take until it is ready, and to stop once it is asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a role was started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Web,
    Worker,
    Scheduler,
    Gateway,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
            Self::Gateway => "gateway",
        }
    }
}

/// Starts processes of the binary against one configuration.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    pub(crate) executable: PathBuf,
    pub(crate) config: PathBuf,
    /// One file per process, appended to.
    pub(crate) logs: PathBuf,
    /// The whole environment of a child; nothing is inherited.
    pub(crate) environment: BTreeMap<String, String>,
}

/// A role did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{name} could not be started")]
    Spawn { name: String, source: io::Error },
    #[error("{name} ended before it was ready ({status}): {last_words}")]
    Ended { name: String, status: String, last_words: String },
    #[error("{name} was not ready within {} s: {last_words}", PATIENCE.as_secs())]
    NotReady { name: String, last_words: String },
    #[error("{name} did not come up by the operator's commands: {cause}")]
    Commands { name: String, cause: String },
}

impl StartError {
    /// As a report tells it.
    pub(crate) fn sentence(&self) -> Sentence {
        match self {
            Self::Spawn { name, source } => say!("{} could not be started: {}", Name::given(name), Heard::of(source)),
            Self::Ended { name, status, last_words } => say!(
                "{} ended before it was ready ({}): {}",
                Name::given(name),
                Heard::of(status),
                Heard::of(last_words)
            ),
            Self::NotReady { name, last_words } => {
                say!("{} was not ready within {} s: {}", Name::given(name), PATIENCE.as_secs(), Heard::of(last_words))
            }
            Self::Commands { name, cause } => {
                say!("{} did not come up by the operator's commands: {}", Name::given(name), Heard::of(cause))
            }
        }
    }
}

/// A command of the binary that ran to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `None` if a signal ended it.
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The last line that it said, for a sentence.
    pub(crate) fn last_words(&self) -> &str {
        self.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing")
    }
}

/// A role's process. Ended when dropped.
#[derive(Debug)]
pub(crate) struct RoleProcess {
    pub(crate) name: String,
    /// 0 if it is not a process of the drill's.
    pub(crate) pid: u32,
    /// Where each of its roles listens.
    pub(crate) addresses: BTreeMap<String, SocketAddr>,
    hold: Hold,
}

/// How a role is got hold of.
#[derive(Debug)]
enum Hold {
    Child(Child),
    Operated { instance: Operated, role: Role, url: String },
}

#[derive(Deserialize)]
struct ReadyFile {
    roles: BTreeMap<String, SocketAddr>,
}

impl Launcher {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(arguments).arg("--config").arg(&self.config).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).kill_on_drop(true).process_group(0);
        command
    }

    /// Runs a command of the binary (`["admin", "verify", "--json"]`) to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<Finished, StartError> {
        let spawn = |source| StartError::Spawn { name: arguments.join(" "), source };
        let output = self.command(arguments).output().await.map_err(spawn)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Finished { exit_code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Starts `role` as the process `name` and waits until it says that it is ready.
    ///
    /// `extra` settings, such as `("COWORK_WEB__LISTEN", "127.0.0.1:4000")`, go to this process only.
    pub(crate) async fn start(
        &self,
        name: &str,
        role: Role,
        extra: &[(&str, String)],
    ) -> Result<RoleProcess, StartError> {
        let spawn = |source| StartError::Spawn { name: name.to_owned(), source };
        let log_path = self.logs.join(format!("{name}.log"));
        let log = OpenOptions::new().create(true).append(true).open(&log_path).map_err(spawn)?;
        let ready_path = self.logs.join(format!("{name}.ready"));
        remove_if_present(&ready_path).map_err(spawn)?;
        let mut command = self.command(&["serve", "--roles", role.as_str()]);
        command.arg("--ready-file").arg(&ready_path).envs(extra.iter().map(|(key, value)| (key, value)));
        command.stdout(log.try_clone().map_err(spawn)?).stderr(log);
        let mut child = command.spawn().map_err(spawn)?;
        let pid = child.id().expect("a child that was not waited for has a pid");
        let addresses = wait_until_ready(name, &mut child, &ready_path, &log_path).await?;
        Ok(RoleProcess { name: name.to_owned(), pid, addresses, hold: Hold::Child(child) })
    }
}

async fn wait_until_ready(
    name: &str,
    child: &mut Child,
    ready_path: &Path,
    log_path: &Path,
) -> Result<BTreeMap<String, SocketAddr>, StartError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(ready) = std::fs::read(ready_path).ok().and_then(|json| parse_ready(&json)) {
            return Ok(ready.roles);
        }
        let (name, last_words) = (name.to_owned(), || last_line(log_path));
        if let Ok(Some(status)) = child.try_wait() {
            return Err(StartError::Ended { name, status: status.to_string(), last_words: last_words() });
        }
        if tokio::time::Instant::now() > deadline {
            return Err(StartError::NotReady { name, last_words: last_words() });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn parse_ready(json: &[u8]) -> Option<ReadyFile> {
    serde_json::from_slice(json).ok()
}

fn last_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").chars().take(500).collect()
}

fn remove_if_present(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl RoleProcess {
    /// Starts `role` as the instance `name` by the operator's commands, and waits until it is ready.
    pub(crate) async fn by_commands(commands: &Commands, name: &str, role: Role) -> Result<Self, StartError> {
        let failed = |cause: String| StartError::Commands { name: name.to_owned(), cause };
        let instance = commands.instance(name, role.as_str());
        let mut instance = instance.ok_or_else(|| failed("the plan has none".to_owned()))?;
        let url = instance.start().await.map_err(|error| failed(format!("{error:#}")))?;
        let hold = Hold::Operated { instance, role, url };
        Ok(Self { name: name.to_owned(), pid: 0, addresses: BTreeMap::new(), hold })
    }

    /// Where the role answers: `http://ADDRESS`. Empty if it does not serve the role.
    pub(crate) fn url(&self, role: Role) -> String {
        match &self.hold {
            Hold::Operated { role: own, url, .. } if *own == role => url.clone(),
            _ => self.addresses.get(role.as_str()).map_or_else(String::new, |address| format!("http://{address}")),
        }
    }

    pub(crate) fn serves(&self, role: Role) -> bool {
        !self.url(role).is_empty()
    }

    /// Whether it can be made to sleep.
    pub(crate) fn can_sleep(&self) -> bool {
        match &self.hold {
            Hold::Child(_) => true,
            Hold::Operated { instance, .. } => instance.can_sleep(),
        }
    }

    /// Makes it sleep as it stands, or wakes it.
    pub(crate) async fn suspend(&self, sleep: bool) -> anyhow::Result<()> {
        match &self.hold {
            Hold::Child(_) => self.signal(if sleep { Signal::SIGSTOP } else { Signal::SIGCONT }),
            Hold::Operated { instance, .. } => instance.suspend(sleep).await?,
        }
        Ok(())
    }

    /// Has its log put beside the others, if it is not there anyway.
    pub(crate) async fn fetch_log(&self) -> anyhow::Result<()> {
        match &self.hold {
            Hold::Child(_) => Ok(()),
            Hold::Operated { instance, .. } => instance.fetch_log().await,
        }
    }

    /// Sends a signal to a process of the drill's own. Nobody else gets one.
    pub(crate) fn signal(&self, signal: Signal) {
        if let (Hold::Child(_), Ok(pid)) = (&self.hold, i32::try_from(self.pid)) {
            // A process that is gone needs no signal.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Asks it to stop, and ends it if it does not. `true` if it stopped by itself, without an error.
    pub(crate) async fn stop(self) -> bool {
        self.signal(Signal::SIGCONT);
        self.signal(Signal::SIGTERM);
        let mut child = match self.hold {
            Hold::Child(child) => child,
            Hold::Operated { instance, .. } => return instance.stop().await,
        };
        if let Ok(Ok(status)) = tokio::time::timeout(PATIENCE, child.wait()).await {
            return status.success();
        }
        let _ = child.kill().await;
        false
    }

    /// `kill -9`, as a disaster would. An instance of the operator's is stopped.
    pub(crate) async fn kill(self) {
        match self.hold {
            Hold::Child(mut child) => drop(child.kill().await),
            Hold::Operated { instance, .. } => drop(instance.stop().await),
        }
    }

    /// Waits until the process ends, for whatever reason.
    pub(crate) async fn ended(&mut self) {
        match &mut self.hold {
            Hold::Child(child) => drop(child.wait().await),
            Hold::Operated { .. } => std::future::pending().await,
        }
    }

    /// Whether it is still there.
    pub(crate) async fn alive(&mut self) -> bool {
        match &mut self.hold {
            Hold::Child(child) => matches!(child.try_wait(), Ok(None)),
            Hold::Operated { instance, .. } => instance.alive().await,
        }
    }
}

/// Whether a process with this pid is alive and started at `start_ticks` (field 22 of `/proc/PID/stat`).
pub(crate) fn is_alive(pid: u32, start_ticks: u64) -> bool {
    start_ticks_of(pid) == Some(start_ticks)
}

/// When the process started, in clock ticks since boot; `None` if there is no such process.
pub(crate) fn start_ticks_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may hold anything, so count from the last one.
    let after_name = &stat[stat.rfind(')')? + 2..];
    after_name.split(' ').nth(19)?.parse().ok()
}

/// What a process was called with, for people.
pub(crate) fn command_line(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim_end().chars().take(300).collect()
}

/// The pids of all processes that carry `work_folder`, or a work folder below it, in their environment.
pub(crate) fn marked_with(work_folder: &Path) -> Vec<u32> {
    let prefix = format!("{WORK_FOLDER_VARIABLE}=").into_bytes();
    let is_mark = |variable: &[u8]| {
        let folder = variable.strip_prefix(prefix.as_slice()).map(OsStr::from_bytes);
        folder.is_some_and(|folder| Path::new(folder).starts_with(work_folder))
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(is_mark)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_pid_and_its_start() {
        let own = std::process::id();
        let started = start_ticks_of(own).unwrap();
        assert!(is_alive(own, started));
        assert!(!is_alive(own, started + 1));
    }
}
