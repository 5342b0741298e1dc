//! What the recovery ledger costs, on a local folder that is synced.
//!
//! Load: 1,000 deliveries in flight, each an intent, a send that takes nothing or 100 ms, and an outcome. Rest: nothing.
//! Gateway: its own code with its database, the ledger on against off. Replay: 1,000,000 records, read, folded, and over SQL
//! into a database, against reading the same files and hashing their bytes; in a process of its own, for the memory. Each
//! ratio is within one run.
//!
//! `--only` measures some of the parts; their figures replace those that the results have of them. `fill FOLDER` makes a
//! replay's ledger, for a profiler.

mod database;
mod gateway;
mod load;
mod processor;
mod replay;
mod sql;

use anyhow::{Context as _, ensure};
use objects::Objects;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

const RESULTS: &str = "bench/results/ledger.json";
const PARTS: [&str; 4] = ["load", "rest", "gateway", "replay"];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => measure(&PARTS),
        ["--only", names] => measure(&names.split(',').collect::<Vec<_>>()),
        ["fill", folder] => fill(folder),
        ["replay", how, folder, system] => replay::child(how, folder.as_ref(), system.parse()?),
        _ => anyhow::bail!("usage: bench-ledger [--only NAME,...] | bench-ledger fill FOLDER"),
    }
}

/// A ledger for a profiler.
fn fill(folder: &str) -> anyhow::Result<()> {
    let objects = Objects::open_folder(folder.as_ref())?;
    println!("{}", Runtime::new()?.block_on(replay::fill(&objects))?);
    Ok(())
}

fn measure(names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        ensure!(PARTS.contains(name), "there is no {name}; there are {}", PARTS.join(", "));
    }
    let runtime = Runtime::new()?;
    let mut measured = Map::new();
    for name in PARTS.iter().filter(|name| names.contains(name)) {
        let part = part(name, &runtime).with_context(|| format!("measuring {name}"))?;
        measured.insert((*name).to_owned(), part);
    }
    print_tables(&measured);
    keep(measured)
}

fn part(name: &str, runtime: &Runtime) -> anyhow::Result<Value> {
    match name {
        "load" => {
            let [at_once, slow] = [0, 100].map(|send_ms| runtime.block_on(load::under_load(send_ms)));
            Ok(json!([at_once?, slow?]))
        }
        "rest" => runtime.block_on(load::at_rest()),
        "gateway" => runtime.block_on(gateway::measure()),
        _ => replay::measure(runtime),
    }
}

/// Parts that were not measured stay as they were.
fn keep(measured: Map<String, Value>) -> anyhow::Result<()> {
    let mut results: Map<String, Value> = match std::fs::read(RESULTS) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{RESULTS} can't be read"))?,
        Err(_) => Map::new(),
    };
    results.extend(measured);
    let text = format!("{:#}\n", Value::Object(results));
    std::fs::write(RESULTS, text).with_context(|| format!("{RESULTS} can't be written"))
}

fn print_tables(measured: &Map<String, Value>) {
    if let Some(loads) = measured.get("load") {
        print_load(loads);
    }
    if let Some(gateway) = measured.get("gateway") {
        gateway::print(gateway);
    }
    if let Some(rest) = measured.get("rest") {
        println!("\nAt rest: {} objects in {} s.\n", rest["objects"], rest["seconds"]);
    }
    if let Some(replays) = measured.get("replay") {
        print_replay(replays);
    }
}

fn print_load(loads: &Value) {
    println!("| 1,000 in flight, a send takes | deliveries/s | deliveries per object | call p50 ms | p99 ms |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for load in loads.as_array().into_iter().flatten() {
        let [send, rate, shared, middle, slowest] =
            ["send_ms", "deliveries_per_second", "deliveries_per_object", "call_p50_ms", "call_p99_ms"]
                .map(|name| number(&load[name]));
        println!("| {send:.0} ms | {rate:.0} | {shared:.0} | {middle:.1} | {slowest:.1} |");
    }
}

fn print_replay(replays: &Value) {
    println!(
        "| 1,000,000 records | objects | MiB | read and hash, s | read the ledger, s | x | with the fold, s | x | peak MiB, read | peak MiB, fold |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for replay in replays.as_array().into_iter().flatten() {
        let [objects, size, floor, read, ratio, fold, fold_ratio, peak, fold_peak] = [
            "objects",
            "mib",
            "floor_s",
            "read_s",
            "read_ratio",
            "fold_s",
            "fold_ratio",
            "read_peak_mib",
            "fold_peak_mib",
        ]
        .map(|name| number(&replay[name]));
        println!(
            "| {} | {objects:.0} | {size:.0} | {floor:.3} | {read:.3} | {ratio:.2} | {fold:.3} | {fold_ratio:.2} | {peak:.0} | {fold_peak:.0} |",
            replay["form"].as_str().unwrap_or_default(),
        );
        let [sql, sql_ratio, sql_peak] = ["sql_s", "sql_ratio", "sql_peak_mib"].map(|name| number(&replay[name]));
        println!("  over SQL: {sql:.1} s, {sql_ratio:.0} x, peak {sql_peak:.0} MiB");
    }
    println!(
        "\n| over SQL | records | s | x | of it reading, s | applying, s | processor, ours, s | Postgres, s | rows written | peak MiB, ours |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for replay in replays.as_array().into_iter().flatten() {
        let [records, took, ratio, read, apply, ours, postgres, rows, peak] = [
            "sql_records",
            "sql_s",
            "sql_ratio",
            "sql_read_s",
            "sql_apply_s",
            "sql_processor_s",
            "sql_postgres_processor_s",
            "sql_rows_written",
            "sql_peak_mib",
        ]
        .map(|name| number(&replay[name]));
        println!(
            "| {} | {records:.0} | {took:.2} | {ratio:.0} | {read:.2} | {apply:.2} | {ours:.2} | {postgres:.2} | {rows:.0} | {peak:.0} |",
            replay["form"].as_str().unwrap_or_default(),
        );
    }
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}
