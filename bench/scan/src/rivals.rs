//! detect-secrets and ripsecrets: installed into a folder of their own, asked the same.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use super::patterns::Place;

const DETECT_SECRETS: &str = "detect-secrets==1.5.0";
const RIPSECRETS: &str = "0.1.11";
/// They take minutes for a hundred megabytes of long lines.
const SLOW_BYTES: u64 = 400_000;

pub(crate) struct Rivals {
    detect_secrets: PathBuf,
    ripsecrets: PathBuf,
}

impl Rivals {
    pub(crate) fn install(folder: &Path) -> anyhow::Result<Self> {
        let python = folder.join("python");
        run(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
        run(Command::new(python.join("bin/pip")).args(["install", "--quiet", DETECT_SECRETS]))?;
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--quiet", "--locked", "ripsecrets", "--version", RIPSECRETS, "--root"]);
        run(cargo.arg(folder).env("CARGO_TARGET_DIR", folder.join("target")))?;
        Ok(Self::installed(folder))
    }

    pub(crate) fn installed(folder: &Path) -> Self {
        let (detect_secrets, ripsecrets) = ("python/bin/detect-secrets", "bin/ripsecrets");
        Self { detect_secrets: folder.join(detect_secrets), ripsecrets: folder.join(ripsecrets) }
    }

    /// The places that each of them tells of in `folder`.
    pub(crate) fn find(&self, folder: &Path) -> anyhow::Result<[(&'static str, BTreeSet<Place>); 2]> {
        let told = run(&mut self.detect_secrets(folder))?;
        let told: Value = serde_json::from_slice(&told.stdout).context("detect-secrets gave no JSON")?;
        let mut slow = BTreeSet::new();
        for (file, found) in told["results"].as_object().into_iter().flatten() {
            for one in found.as_array().into_iter().flatten() {
                let line = usize::try_from(one["line_number"].as_u64().context("a line has a number")?)?;
                slow.insert((PathBuf::from(file.trim_start_matches("./")), line));
            }
        }
        // Its exit code says whether there was anything.
        let told = self.ripsecrets(folder).output()?;
        let quick = String::from_utf8_lossy(&told.stdout).lines().filter_map(place).collect();
        Ok([("detect_secrets", slow), ("ripsecrets", quick)])
    }

    /// How fast each is, in megabytes a second of a processor, with the beginning of the corpus. What it takes them to start is
    /// left out.
    pub(crate) fn throughput(&self, folder: &Path) -> anyhow::Result<Value> {
        let (part, bytes) = part_of(folder, SLOW_BYTES)?;
        let (nothing, _) = part_of(folder, 0)?;
        let mb_s = |command: &dyn Fn(&Path) -> Command| -> anyhow::Result<f64> {
            let (idle, taken) = (spent(&mut command(&nothing))?, spent(&mut command(&part))?);
            Ok(bytes as f64 / 1e6 / taken.saturating_sub(idle).as_secs_f64())
        };
        let quick = mb_s(&|folder| self.ripsecrets(folder))?;
        let slow = mb_s(&|folder| self.detect_secrets(folder))?;
        Ok(json!({"mb": bytes as f64 / 1e6, "ripsecrets_mb_s": quick, "detect_secrets_mb_s": slow}))
    }

    fn detect_secrets(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.detect_secrets);
        command.args(["scan", "--all-files", "--no-verify", "."]).current_dir(folder);
        command
    }

    fn ripsecrets(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.ripsecrets);
        command.arg(".").current_dir(folder);
        command
    }
}

/// What a program takes of all processors together.
fn spent(command: &mut Command) -> anyhow::Result<Duration> {
    let all = || -> anyhow::Result<Duration> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let micros = [usage.user_time(), usage.system_time()].map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
        Ok(Duration::from_micros(u64::try_from(micros.iter().sum::<i64>())?))
    };
    let before = all()?;
    // The exit code says whether there was anything.
    command.output().with_context(|| format!("{command:?} can't be started"))?;
    Ok(all()? - before)
}

/// `./FILE:LINE:TEXT`
fn place(line: &str) -> Option<Place> {
    let (file, rest) = line.split_once(':')?;
    let number = rest.split(':').next()?.parse().ok()?;
    Some((PathBuf::from(file.trim_start_matches("./")), number))
}

/// The beginning of each file of the corpus, beside it: so many bytes in all.
fn part_of(folder: &Path, all: u64) -> anyhow::Result<(PathBuf, u64)> {
    let (part, files) = (folder.with_file_name(format!("part-{all}")), super::files_below(folder));
    std::fs::create_dir_all(&part)?;
    let (mut bytes, each) = (0, all / files.len().max(1) as u64);
    for (number, file) in files.iter().enumerate() {
        let mut beginning = std::fs::File::open(file)?.take(each);
        bytes += std::io::copy(&mut beginning, &mut std::fs::File::create(part.join(format!("{number}.log")))?)?;
    }
    Ok((part, bytes))
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("{command:?} can't be started"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}
