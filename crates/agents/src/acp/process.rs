//! An agent's process: started in its cage, spoken to line by line, stopped between turns, ended with whoever holds it.
//!
//! Not here: what is said (`wire`, `talk`), the cage (`sandbox`).

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, mpsc as threads};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redact::Redactor;
use serde_json::Value;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::lines::{self, Line};
use super::settings::{AcpSettings, Places};
use crate::ModelDoor;
use crate::sandbox;

/// How long the cage may take. No program of the agent runs before it stands.
const CAGE: Duration = Duration::from_secs(20);
/// How long an agent may leave what it is told unread.
const WRITE: Duration = Duration::from_secs(20);
/// How long an ending is waited for. It goes on without being waited for.
const END: Duration = Duration::from_secs(2);
/// How long what it left behind may hold its last words back.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Lines that wait to be looked at. What is beyond them waits in the pipe, and then the agent does.
const WAITING: usize = 16;
/// Of what it says on standard error, lines and their length.
const COMPLAINTS: usize = 5;
const COMPLAINT_BYTES: usize = 400;
/// A line of standard error that is longer is not looked at to its end.
const ERROR_LINE_BYTES: usize = 1 << 20;

/// Starts processes, in a thread that lives as long as it does: the kernel ties a process to the thread that started it, and those of
/// a runtime come and go.
#[derive(Debug)]
pub(super) struct Starter(threads::Sender<Order>);

#[derive(Debug)]
struct Order {
    command: Command,
    runtime: Handle,
    done: oneshot::Sender<std::io::Result<Child>>,
}

impl Starter {
    pub(super) fn new() -> Self {
        let (sender, orders) = threads::channel::<Order>();
        std::thread::spawn(move || {
            for mut order in orders {
                let _context = order.runtime.enter();
                let _ = order.done.send(order.command.spawn());
            }
        });
        Self(sender)
    }

    async fn start(&self, command: Command) -> std::io::Result<Child> {
        let (done, started) = oneshot::channel();
        let gone = || std::io::Error::other("the thread that starts processes is gone");
        self.0.send(Order { command, runtime: Handle::current(), done }).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }
}

/// Ended when it is dropped, with all that descends from it.
#[derive(Debug)]
pub(super) struct Process {
    /// The supervisor.
    child: Child,
    stdin: ChildStdin,
    heard: mpsc::Receiver<Line>,
    complaints: Arc<Mutex<VecDeque<String>>>,
    complaining: JoinHandle<()>,
    /// To its provider. Closed with it.
    pub(super) door: Option<Arc<dyn ModelDoor>>,
}

impl Process {
    /// Starts the agent in its cage.
    ///
    /// # Errors
    /// Why it does not run, for people.
    pub(super) async fn start(
        starter: &Starter,
        settings: &AcpSettings,
        places: &Places,
        door: Option<Arc<dyn ModelDoor>>,
    ) -> Result<Self, String> {
        let Some((program, before)) = settings.launcher.split_first() else { return Err("nothing starts it".into()) };
        let mut command = Command::new(program);
        command
            .args(before)
            .args(sandbox::arguments(&settings.cage(places), settings.command(places)))
            .env_clear()
            .envs(settings.environment(places))
            .current_dir(&places.workspace)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = starter.start(command).await.map_err(|error| format!("it can't be started: {error}"))?;
        let taken = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = taken else { return Err("it has no pipes".into()) };
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let complaining = tokio::spawn(complain(settings.name.clone(), stderr, complaints.clone()));
        let (told, heard) = mpsc::channel(WAITING);
        tokio::spawn(listen(stdout, settings.limits.line_bytes, told));
        let mut process = Self { child, stdin, heard, complaints, complaining, door };
        process.caged().await?;
        Ok(process)
    }

    async fn caged(&mut self) -> Result<(), String> {
        match tokio::time::timeout(CAGE, self.heard.recv()).await {
            Ok(Some(Line::Text(line))) if line == sandbox::READY.as_bytes() => Ok(()),
            Ok(Some(Line::Text(line))) => {
                let said = String::from_utf8_lossy(&line);
                let why = said.strip_prefix(sandbox::REFUSED).unwrap_or("its sandbox said something else");
                Err(format!("its sandbox could not be set up: {why}"))
            }
            Ok(_) => Err(format!("its sandbox ended{}", self.last_words().await)),
            Err(_) => Err("its sandbox took too long".into()),
        }
    }

    /// The next line, or the end. Nothing is lost if the wait is given up.
    pub(super) async fn next(&mut self) -> Line {
        self.heard.recv().await.unwrap_or(Line::End)
    }

    pub(super) async fn say(&mut self, message: &Value) -> Result<(), String> {
        let line = format!("{message}\n");
        let write = async {
            self.stdin.write_all(line.as_bytes()).await?;
            self.stdin.flush().await
        };
        match tokio::time::timeout(WRITE, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(format!("it does not listen any more{}", self.complaints())),
            Err(_) => Err("it did not read what it was told".into()),
        }
    }

    /// As [`Self::complaints`], of one that has ended: what it said at its end is waited for.
    pub(super) async fn last_words(&mut self) -> String {
        if !self.complaining.is_finished() {
            let _ = tokio::time::timeout(LAST_WORDS, &mut self.complaining).await;
        }
        self.complaints()
    }

    /// What it said last where it complains; empty if it did not.
    pub(super) fn complaints(&self) -> String {
        let complaints = self.complaints.lock().expect("no holder of this lock can panic");
        if complaints.is_empty() {
            return String::new();
        }
        format!("; it said: {}", complaints.iter().map(String::as_str).collect::<Vec<_>>().join(" | "))
    }

    /// Stops it and all that descends from it, so that nothing changes what it works on. `false`: not all stopped.
    pub(super) async fn rest(&self) -> bool {
        match self.pid() {
            Some(pid) => sandbox::stop(pid).await,
            None => false,
        }
    }

    pub(super) fn wake(&self) {
        if let Some(pid) = self.pid() {
            sandbox::proceed(pid);
        }
    }

    /// `None`: it was waited for.
    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
    }

    /// Ends it, and waits until nothing of it is left.
    pub(super) async fn end(mut self) {
        self.ask_to_end();
        let _ = tokio::time::timeout(END, self.child.wait()).await;
    }

    fn ask_to_end(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGTERM);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.ask_to_end();
    }
}

async fn listen(stdout: ChildStdout, max: usize, told: mpsc::Sender<Line>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let line = lines::next(&mut reader, max).await;
        let over = line == Line::End || line == Line::TooLong;
        if told.send(line).await.is_err() || over {
            return;
        }
    }
}

/// Keeps the last of what it complains about. Whatever looks like a secret is taken out before anybody sees it.
async fn complain(agent: String, stderr: ChildStderr, complaints: Arc<Mutex<VecDeque<String>>>) {
    let (mut reader, redactor) = (BufReader::new(stderr), Redactor::new());
    loop {
        let mut line = match lines::next(&mut reader, ERROR_LINE_BYTES).await {
            Line::Text(line) => line,
            Line::TooLong => continue,
            Line::End => return,
        };
        line.truncate(COMPLAINT_BYTES);
        let line = redactor.redact(String::from_utf8_lossy(&line).trim()).into_owned();
        if line.is_empty() {
            continue;
        }
        tracing::debug!(agent, line, "an agent complains");
        let mut complaints = complaints.lock().expect("no holder of this lock can panic");
        complaints.push_back(line);
        if complaints.len() > COMPLAINTS {
            complaints.pop_front();
        }
    }
}
