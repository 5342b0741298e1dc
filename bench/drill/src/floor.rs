//! The bare work, each part timed alone.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use localpg::{Binaries, Cluster, Options};
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

/// How long the bare work took.
pub(crate) struct Floor {
    pub(crate) restore: Duration,
    pub(crate) copy: Duration,
    pub(crate) hash: Duration,
    pub(crate) boot: Duration,
    pub(crate) blobs: usize,
    pub(crate) blob_bytes: u64,
    pub(crate) dump_bytes: u64,
    /// Length of all rows' text.
    pub(crate) row_bytes: u64,
}

pub(crate) fn measure(cowork: &Path, kept: &Path, scratch: &Path) -> anyhow::Result<Floor> {
    let archive = kept.join("archive");
    let backup = std::fs::read_dir(archive.join("backups"))?.flatten().next().context("the archive is empty")?.path();
    let dump = backup.join("database.dump");
    let copied = scratch.join("copied");
    let restore = pg_restore(&dump, scratch)?;
    let copy = copy(&archive.join("blobs"), &copied)?;
    let files = files_below(&copied);
    let (hash, blob_bytes) = hash(&files)?;
    let boot = boot_web(cowork, &kept.join("target"), scratch)?;
    let dump_bytes = std::fs::metadata(dump)?.len();
    let row_bytes = row_bytes(&backup)?;
    Ok(Floor { restore, copy, hash, boot, blobs: files.len(), blob_bytes, dump_bytes, row_bytes })
}

fn row_bytes(backup: &Path) -> anyhow::Result<u64> {
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(backup.join("manifest.json"))?)?;
    let tables = manifest["tables"].as_array().context("the manifest has no tables")?;
    Ok(tables.iter().filter_map(|table| table["bytes"].as_u64()).sum())
}

fn pg_restore(dump: &Path, scratch: &Path) -> anyhow::Result<Duration> {
    #[expect(clippy::disallowed_methods, reason = "this is a binary: the one place that reads it")]
    let path = std::env::var_os("PATH");
    let binaries = Binaries::find(path.as_deref())?;
    let cluster = Cluster::temporary_with(&binaries, scratch, Options::safe())?;
    cluster.create_database("floor")?;
    let mut command = Command::new(binaries.tool("pg_restore"));
    command.args(["--exit-on-error", "--single-transaction", "--no-owner", "--dbname", &cluster.url("floor")]);
    timed(command.arg(dump))
}

/// `cp`, and the data on the disk, as a restore must have it.
fn copy(from: &Path, to: &Path) -> anyhow::Result<Duration> {
    let copied = timed(Command::new("cp").arg("--recursive").arg(from).arg(to))?;
    let synced = timed(Command::new("sync").arg("--file-system").arg(to))?;
    Ok(copied + synced)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let files = WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    files.map(walkdir::DirEntry::into_path).collect()
}

/// On all cores, as the drill does: the floor is to be low, not comfortable.
fn hash(files: &[PathBuf]) -> anyhow::Result<(Duration, u64)> {
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<u64> {
        let (mut buffer, mut bytes) = (vec![0; 256 * 1024], 0);
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
            std::hint::black_box(hasher.finalize());
        }
        Ok(bytes)
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let sums: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("hashing does not panic")).collect()
    });
    let bytes = sums.into_iter().sum::<anyhow::Result<u64>>()?;
    Ok((begun.elapsed(), bytes))
}

/// From the start of the process until it says that it is ready.
fn boot_web(cowork: &Path, target: &Path, scratch: &Path) -> anyhow::Result<Duration> {
    let ready = scratch.join("ready");
    let log = File::create(scratch.join("web.log"))?;
    let begun = Instant::now();
    let mut command = Command::new(cowork);
    command.args(["serve", "--roles", "web", "--config"]).arg(target.join("cowork.toml"));
    command.arg("--ready-file").arg(&ready).stdout(Stdio::null()).stderr(log);
    // The drill keeps three of the five secrets in the environment; web only looks whether they are there.
    for name in ["OIDC_CLIENT", "COOKIE", "GATEWAY"] {
        command.env(format!("SECRET_{name}"), "bench");
    }
    let mut web = Ended(command.spawn()?);
    while !ready.exists() {
        if let Some(status) = web.0.try_wait()? {
            bail!("web ended before it was ready: {status}");
        }
        std::thread::yield_now();
    }
    Ok(begun.elapsed())
}

/// A child that is ended when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn timed(command: &mut Command) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let status = command.status().with_context(|| format!("{command:?} can't be started"))?;
    anyhow::ensure!(status.success(), "{command:?} failed");
    Ok(begun.elapsed())
}
