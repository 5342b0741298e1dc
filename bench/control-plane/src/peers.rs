//! What the same work costs in other programs, in the same run on the same Postgres.
//!
//! Each has a database of its own, installs its schema, makes its jobs, and prints `RATE n`: from the first claim to the
//! last acknowledgement.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::world::World;

/// How to call it, in the folder in which it was installed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    folder: &'static str,
    program: &'static [&'static str],
}

pub(crate) const GRAPHILE_WORKER: Peer =
    Peer { name: "graphile-worker 0.16.6 (Node)", folder: "graphile-worker", program: &["node", "peer.mjs"] };
pub(crate) const GRAPHILE_WORKER_RS: Peer =
    Peer { name: "graphile_worker 0.14.1 (Rust)", folder: "graphile-worker-rs", program: &["peer"] };
pub(crate) const PG_BOSS: Peer =
    Peer { name: "pg-boss 10.4.2 (Node)", folder: "pg-boss", program: &["node", "peer.mjs"] };
pub(crate) const PROCRASTINATE: Peer =
    Peer { name: "procrastinate 3.10.0 (Python)", folder: "procrastinate", program: &["bin/python", "peer.py"] };
pub(crate) const DBOS: Peer = Peer { name: "DBOS 3.4.0 (Python)", folder: "dbos", program: &["bin/python", "peer.py"] };

/// The others, installed into a folder that is removed at the end.
#[derive(Debug)]
pub(crate) struct Peers(TempDir);

impl Peers {
    pub(crate) async fn install() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("cowork-peers-").tempdir()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install");
        eprintln!("  installing what to compare with, into a temporary folder");
        let status =
            Command::new(script).arg(folder.path()).status().await.context("the installer can't be started")?;
        ensure!(
            status.success(),
            "what to compare with could not be installed: python3 with venv, node, npm and cargo it takes"
        );
        Ok(Self(folder))
    }

    /// Jobs per second.
    pub(crate) async fn rate(&self, peer: Peer, world: &World, jobs: usize) -> anyhow::Result<f64> {
        let database = format!("peer_{}", peer.folder.replace('-', "_"));
        world.cluster.create_database(&database)?;
        let folder = self.0.path().join(peer.folder);
        let beside: PathBuf = folder.join(peer.program[0]);
        let mut command = Command::new(if beside.exists() { beside.as_os_str() } else { peer.program[0].as_ref() });
        command.args(&peer.program[1..]).current_dir(&folder).kill_on_drop(true);
        command.env("DATABASE_URL", world.cluster.url(&database)).env("JOBS", jobs.to_string());
        let output = command.output().await.with_context(|| format!("{} can't be started", peer.name))?;
        rate_said(&output).with_context(|| peer.name)
    }
}

/// What a program measured of itself.
pub(crate) fn rate_said(output: &Output) -> anyhow::Result<f64> {
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.lines().find_map(|line| line.strip_prefix("RATE ")?.trim().parse().ok());
    rate.with_context(|| format!("it said {said} {}", String::from_utf8_lossy(&output.stderr)))
}
