//! The roles as processes of the binary, each looked after by a keeper that starts it again whenever it has ended.
//!
//! A keeper is the only one who signals its process, so a pid that was given out again never gets a signal. A role that was
//! ready ends when it is killed or told to stop; one that ends by itself is a surprise. Before it is ready it may give up,
//! for want of a database, and is tried again.
//!
//! Not here: when something is killed (`mishaps`).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::told::Told;
use crate::wire::{End, Wire};

/// Each of them runs twice.
pub(crate) const ROLES: [&str; 4] = ["web", "worker", "scheduler", "gateway"];
const REPLICAS: usize = 2;
/// Between two looks at the file that says that a role is ready, and between two starts.
const PAUSE: Duration = Duration::from_millis(25);
/// How long a role may take to stop when it is asked to: more than its own limit.
const STOP: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
enum Order {
    Kill,
    Sleep,
    Wake,
    Stop,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Roles(Vec<Keeper>);

/// Whoever looks after one process. Ended when dropped, and the process with it.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    orders: mpsc::UnboundedSender<Order>,
    task: AbortHandle,
    ended: CancellationToken,
}

/// What a keeper has to know.
struct Kept {
    name: String,
    role: &'static str,
    folder: PathBuf,
    logs: PathBuf,
    /// Where the role is reached by others, if it is.
    wire: Option<Wire>,
    told: Told,
}

impl Roles {
    /// Starts them in `folder`, where their configuration is. `wires` are by role.
    pub(crate) fn start(folder: &Path, logs: &Path, wires: &BTreeMap<&'static str, Wire>, told: &Told) -> Self {
        let names = ROLES.into_iter().flat_map(|role| (1..=REPLICAS).map(move |number| (role, number)));
        let keeper = |(role, number)| {
            let name = format!("{role}-{number}");
            let (orders, taken) = mpsc::unbounded_channel();
            let (folder, logs, wire) = (folder.to_owned(), logs.to_owned(), wires.get(role).cloned());
            let kept = Kept { name: name.clone(), role, folder, logs, wire, told: told.clone() };
            let ended = CancellationToken::new();
            let end = ended.clone().drop_guard();
            let task = tokio::spawn(async move {
                let _end = end;
                kept.keep(taken).await;
            });
            Keeper { name, role, orders, task: task.abort_handle(), ended }
        };
        Self(names.map(keeper).collect())
    }

    pub(crate) fn all(&self) -> &[Keeper] {
        &self.0
    }

    /// Asks all to stop, and waits until they have. Who does not is a surprise, and is killed.
    pub(crate) async fn stop(&self, told: &Told) {
        self.0.iter().for_each(|keeper| keeper.order(Order::Stop));
        for keeper in &self.0 {
            if tokio::time::timeout(STOP, keeper.ended.cancelled()).await.is_err() {
                told.surprise(format!("{} did not stop within {} s", keeper.name, STOP.as_secs()));
                keeper.task.abort();
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    pub(crate) fn kill(&self) {
        self.order(Order::Kill);
    }

    /// Makes it sleep as it stands.
    pub(crate) fn suspend(&self) {
        self.order(Order::Sleep);
    }

    pub(crate) fn resume(&self) {
        self.order(Order::Wake);
    }

    fn order(&self, order: Order) {
        // A keeper that has ended has no process.
        let _ = self.orders.send(order);
    }
}

impl Kept {
    async fn keep(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            match self.live(&mut orders).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => self.told.surprise(format!("{} could not be started: {error:#}", self.name)),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One process from its start to its end. `true`: it was told to stop.
    async fn live(&self, orders: &mut mpsc::UnboundedReceiver<Order>) -> anyhow::Result<bool> {
        let ready_file = self.logs.join(format!("{}.ready", self.name));
        // What a killed one left would be taken for the new one's.
        let _ = std::fs::remove_file(&ready_file);
        let mut child = self.spawn(&ready_file)?;
        let pid = Pid::from_raw(i32::try_from(child.id().context("a child that was not waited for has a pid")?)?);
        let (mut ready, mut killed, mut stopping) = (false, false, false);
        let mut looks = tokio::time::interval(PAUSE);
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                order = orders.recv() => match order.unwrap_or(Order::Stop) {
                    Order::Kill => {
                        killed = true;
                        child.start_kill()?;
                    }
                    Order::Sleep => kill(pid, Signal::SIGSTOP)?,
                    Order::Wake => kill(pid, Signal::SIGCONT)?,
                    Order::Stop => {
                        stopping = true;
                        kill(pid, Signal::SIGCONT)?;
                        kill(pid, Signal::SIGTERM)?;
                    }
                },
                _ = looks.tick(), if !ready => ready = self.is_ready(&ready_file),
            }
        };
        if let Some(wire) = &self.wire {
            wire.take_away(&self.name);
        }
        self.judge(status, ready, killed, stopping);
        Ok(stopping)
    }

    fn spawn(&self, ready_file: &Path) -> anyhow::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::from(e2e::cowork(&["serve", "--roles", self.role, "--ready-file"]));
        command.arg(ready_file).current_dir(&self.folder).stdin(Stdio::null());
        // An interrupt at the terminal is for us, who stop them before their database.
        command.stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
        command.spawn().context("cowork can't be started")
    }

    fn log(&self) -> PathBuf {
        self.logs.join(format!("{}.log", self.name))
    }

    /// Has others reach it from then on.
    fn is_ready(&self, file: &Path) -> bool {
        let Some(said) = std::fs::read(file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok()) else {
            return false;
        };
        let address = said["roles"][self.role].as_str().and_then(|address| address.parse::<SocketAddr>().ok());
        if let (Some(wire), Some(address)) = (&self.wire, address) {
            wire.put(&self.name, End::Tcp(address));
        }
        true
    }

    fn judge(&self, status: ExitStatus, ready: bool, killed: bool, stopping: bool) {
        let by_itself = ready && !killed && !stopping;
        if by_itself || (stopping && ready && !killed && !status.success()) {
            self.told.surprise(format!("{} ended with {status}: {}", self.name, last_line(&self.log())));
        }
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").chars().take(500).collect()
}
