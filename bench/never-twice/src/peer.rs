//! One of the others through a disaster: dump while jobs wait, work, restore the dump, work again.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clock::Sources;
use localpg::{Binaries, Cluster};
use tokio::process::{Child, Command};

use crate::JOBS;
use crate::sink::{Sink, Tally};

/// How to call it, in the folder in which it was installed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) folder: &'static str,
    program: &'static [&'static str],
}

pub(crate) const PEERS: [Peer; 3] = [
    Peer { name: "procrastinate 3.10.0", folder: "procrastinate", program: &["bin/python", "peer.py"] },
    Peer { name: "graphile-worker 0.16.6", folder: "graphile-worker", program: &["node", "peer.mjs"] },
    Peer { name: "pg-boss 10.4.2", folder: "pg-boss", program: &["node", "peer.mjs"] },
];

/// How long the others get to do again what they are going to do again.
const PATIENCE: Duration = Duration::from_secs(90);

impl Peer {
    pub(crate) async fn survive(self, installed: &Path, scratch: &Path) -> anyhow::Result<Tally> {
        let binaries = binaries()?;
        let (server, parent) = (binaries.clone(), scratch.to_owned());
        let cluster = tokio::task::spawn_blocking(move || Cluster::temporary(&server, &parent)).await??;
        cluster.create_database("before")?;
        cluster.create_database("after")?;
        let sink = Sink::start().await?;
        let folder = installed.join(self.folder);
        self.set_up(&folder, &cluster.url("before"), &sink).await?;
        let dump = scratch.join(format!("{}.dump", self.folder));
        run(Command::new(binaries.tool("pg_dump")).arg("-Fc").arg("-f").arg(&dump).arg(cluster.url("before"))).await?;
        early_in_a_minute().await;
        let worker = self.work(&folder, &cluster.url("before"), &sink)?;
        until(|| sink.told("message") >= JOBS && sink.told("tick") >= 1).await;
        ensure!(sink.told("message") >= JOBS, "{} did not send its {JOBS} messages", self.name);
        end(worker).await;
        run(Command::new(binaries.tool("pg_restore")).arg("-d").arg(cluster.url("after")).arg(&dump)).await?;
        let worker = self.work(&folder, &cluster.url("after"), &sink)?;
        until(|| sink.told("message") >= 2 * JOBS && sink.tally(JOBS).double_fired > 0).await;
        end(worker).await;
        Ok(sink.tally(JOBS))
    }

    async fn set_up(self, folder: &Path, database: &str, sink: &Sink) -> anyhow::Result<()> {
        run(self.command(folder, database, sink).arg("setup")).await
    }

    fn work(self, folder: &Path, database: &str, sink: &Sink) -> anyhow::Result<Child> {
        let mut command = self.command(folder, database, sink);
        command.arg("work").stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command.spawn().with_context(|| format!("{} can't be started", self.name))
    }

    fn command(self, folder: &Path, database: &str, sink: &Sink) -> Command {
        let beside = folder.join(self.program[0]);
        let mut command = Command::new(if beside.exists() { beside.as_os_str() } else { self.program[0].as_ref() });
        command.args(&self.program[1..]).current_dir(folder);
        command.env("DATABASE_URL", database).env("SINK", sink.url()).env("JOBS", JOBS.to_string());
        command
    }
}

#[expect(clippy::disallowed_methods, reason = "a program of its own finds Postgres' programs as a shell would")]
pub(crate) fn binaries() -> anyhow::Result<Binaries> {
    Ok(Binaries::find(std::env::var_os("PATH").as_deref())?)
}

/// As `kill -9` ends it: a disaster asks nobody.
async fn end(mut worker: Child) {
    let _ = worker.kill().await;
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().await.with_context(|| format!("{command:?} can't be started"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A tick of a minute is the same tick only as long as the minute lasts: begin while most of it is left.
pub(crate) async fn early_in_a_minute() {
    let sources = Sources::system();
    until(|| sources.now().timestamp().rem_euclid(60) < 30).await;
}

async fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() && start.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
