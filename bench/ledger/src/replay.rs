//! Reading a million records, as segments and as bundles.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta};
use clock::Sources;
use ids::{DeliveryId, OrgId, SystemId};
use ledger::{Compaction, Outcome, Reader, Record, Summary, compact};
use objects::Objects;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

const RECORDS: usize = 1_000_000;
/// As many as lie in one segment under load.
const TOGETHER: usize = 256;
const ROUNDS: usize = 5;
/// Each in a Postgres of its own.
const SQL_ROUNDS: usize = 3;

pub(crate) fn measure(runtime: &tokio::runtime::Runtime) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    let objects = Objects::open_folder(folder.path())?;
    let system = runtime.block_on(fill(&objects))?;
    let segments = compare("segments", folder.path(), system)?;
    let later = Sources::system().now() + TimeDelta::hours(12);
    runtime.block_on(compact(&objects, system, later, Compaction::keeping(TimeDelta::days(30))))?;
    Ok(json!([segments, compare("bundles", folder.path(), system)?]))
}

/// A million records; the name of the system whose ledger they are.
pub(crate) async fn fill(objects: &Objects) -> anyhow::Result<SystemId> {
    let (ledger, sources) = crate::load::open(objects);
    let org: OrgId = sources.id();
    for _ in 0..RECORDS / TOGETHER + 1 {
        let deliveries = (0..TOGETHER / 2).map(|_| sources.id::<DeliveryId>());
        let both = deliveries.flat_map(|delivery| {
            let outcome = Outcome::Sent { message: None };
            let intent = Record::DeliveryIntent { org, delivery, attempt: 1, deduplicates: true };
            [intent, Record::DeliveryOutcome { org, delivery, attempt: 1, outcome }]
        });
        ledger.record(both.collect()).await?;
    }
    ledger.close().await;
    Ok(ledger.identity().system)
}

/// Medians, the three ways in turn, so that a noisy moment hits all of them.
fn compare(form: &str, folder: &Path, system: SystemId) -> anyhow::Result<Value> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push([run("floor", folder, system)?, run("read", folder, system)?, run("fold", folder, system)?]);
    }
    let median = |way: usize, name: &str| middle(rounds.iter().map(|round| &round[way][name]));
    let [floor, read, fold] = [0, 1, 2].map(|way| median(way, "seconds"));
    let mut replays = Vec::new();
    for _ in 0..SQL_ROUNDS {
        replays.push(run("sql", folder, system)?);
    }
    let of_sql = |name: &str| middle(replays.iter().map(|replay| &replay[name]));
    Ok(json!({
        "form": form,
        "records": median(1, "records"),
        "objects": median(0, "objects"),
        "mib": median(0, "bytes") / f64::from(1 << 20),
        "floor_s": floor,
        "read_s": read,
        "read_ratio": read / floor,
        "fold_s": fold,
        "fold_ratio": fold / floor,
        "sql_s": of_sql("seconds"),
        "sql_ratio": of_sql("seconds") / floor,
        "sql_records": of_sql("records"),
        "sql_read_s": of_sql("read_ms") / 1_000.0,
        "sql_apply_s": of_sql("apply_ms") / 1_000.0,
        "sql_processor_s": of_sql("processor_s"),
        "sql_postgres_processor_s": of_sql("postgres_processor_s"),
        "sql_rows_written": of_sql("rows_written"),
        "sql_peak_mib": of_sql("peak_mib"),
        "read_peak_mib": median(1, "peak_mib"),
        "fold_peak_mib": median(2, "peak_mib"),
    }))
}

fn middle<'a>(found: impl Iterator<Item = &'a Value>) -> f64 {
    let mut found: Vec<f64> = found.map(|value| value.as_f64().unwrap_or_default()).collect();
    found.sort_by(f64::total_cmp);
    found[found.len() / 2]
}

fn run(how: &str, folder: &Path, system: SystemId) -> anyhow::Result<Value> {
    let own = std::env::current_exe()?;
    let child = Command::new(own).args(["replay", how]).arg(folder).arg(system.to_string()).output()?;
    anyhow::ensure!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    Ok(serde_json::from_slice(&child.stdout)?)
}

/// One way, in a process of its own; prints what it took.
pub(crate) fn child(how: &str, folder: &Path, system: SystemId) -> anyhow::Result<()> {
    let mut took = match how {
        "floor" => floor(folder)?,
        "sql" => tokio::runtime::Runtime::new()?.block_on(crate::sql::replay(folder, system))?,
        _ => tokio::runtime::Runtime::new()?.block_on(replay(folder, system, how == "fold"))?,
    };
    took["peak_mib"] = peak_mib()?.into();
    println!("{took}");
    Ok(())
}

fn floor(folder: &Path) -> anyhow::Result<Value> {
    let began = Instant::now();
    let (mut objects, mut bytes) = (0, 0);
    for file in WalkDir::new(folder.join("segments")) {
        let file = file?;
        if file.file_type().is_file() {
            let content = std::fs::read(file.path())?;
            std::hint::black_box(Sha256::digest(&content));
            (objects, bytes) = (objects + 1, bytes + content.len());
        }
    }
    Ok(json!({ "seconds": began.elapsed().as_secs_f64(), "objects": objects, "bytes": bytes }))
}

async fn replay(folder: &Path, system: SystemId, fold: bool) -> anyhow::Result<Value> {
    let began = Instant::now();
    let reader = Reader::open(Objects::open_folder(folder)?, system, Sources::system().now()).await?;
    let mut entries = reader.entries(DateTime::UNIX_EPOCH);
    let mut summary = Summary::default();
    while let Some(many) = entries.next_many().await? {
        if fold {
            many.iter().for_each(|entry| summary.add(entry));
        } else {
            std::hint::black_box(many);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    anyhow::ensure!(entries.findings().faults().next().is_none(), "{:?}", entries.findings());
    anyhow::ensure!(entries.tally().records >= RECORDS as u64, "{:?}", entries.tally());
    Ok(json!({ "seconds": seconds, "records": entries.tally().records, "deliveries": summary.deliveries.len() }))
}

/// The most memory that this process ever held.
fn peak_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells no peak")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1_024.0)
}
