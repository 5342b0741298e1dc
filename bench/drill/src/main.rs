//! What a drill costs over the bare work.
//!
//! Runs a drill with `--keep`, then times the bare work alone on the same data, in the same run: `pg_restore` of the same
//! dump into an empty cluster of the same settings, `cp` of the same blobs and a `sync`, hashing them, booting web. The
//! sum of the four is the floor. Against it stand the drill's stages from the restore to the scan; stages in which the
//! drill waits on purpose are told apart.
//!
//! Not here: absolute targets. The machine is noisy; what counts is the difference within one run.

mod floor;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A drill's report, and where its target was kept.
struct Drilled {
    report: Value,
    kept: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let scale = scale()?;
    let cowork = sibling("cowork")?;
    let scratch = Scratch::make()?;
    let drilled = drill(&cowork, &scratch.0, scale)?;
    let floor = floor::measure(&cowork, &drilled.kept, &scratch.0)?;
    println!("{}", table::render(scale, &drilled.report, &floor));
    end_kept(&drilled.kept);
    Ok(())
}

/// The only argument: `--scale N`, 20 if absent.
fn scale() -> anyhow::Result<u32> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(20),
        ["--scale", scale] => scale.parse().context("--scale takes a whole number"),
        _ => bail!("usage: bench-drill [--scale N]"),
    }
}

fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(path.exists(), "{name} is not built: `cargo build --release --package cowork`");
    Ok(path)
}

/// A folder that Postgres' user may enter. Removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("cowork-bench-{}", std::process::id()));
        std::fs::create_dir(&path).context("the scratch folder can't be made")?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn drill(cowork: &Path, scratch: &Path, scale: u32) -> anyhow::Result<Drilled> {
    let (out, work) = (scratch.join("report"), scratch.join("work"));
    std::fs::create_dir(&work)?;
    let status = Command::new(cowork)
        .args(["drill", "run", "--keep", "--quiet", "--seed", "1", "--scale", &scale.to_string()])
        .arg("--out")
        .arg(&out)
        .arg("--work")
        .arg(&work)
        .status()
        .context("the drill can't be started")?;
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json"))?)?;
    let kept = std::fs::read_dir(&work)?.flatten().map(|entry| entry.path());
    let kept = kept.filter(|path| path.join("archive").exists()).max().context("the drill kept no target")?;
    if !status.success() {
        end_kept(&kept);
        bail!("the drill did not pass; what it costs says nothing");
    }
    Ok(Drilled { report, kept })
}

/// Stops the Postgres of the kept target; its folder goes with the scratch folder.
fn end_kept(kept: &Path) {
    let pid_file = kept.join("postgres/data/postmaster.pid");
    let pid = std::fs::read_to_string(pid_file).ok().and_then(|text| text.lines().next().map(str::to_owned));
    if let Some(pid) = pid {
        let _ = Command::new("kill").args(["-INT", &pid]).status();
    }
}
