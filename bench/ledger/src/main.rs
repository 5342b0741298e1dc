//! What the recovery ledger costs, on a local folder that is synced.
//!
//! Load: 1,000 deliveries in flight, each an intent, a send that takes nothing or 100 ms, and an outcome. Rest: nothing.
//! Gateway: its own code with its database, the ledger on against off. Replay: 1,000,000 records, read, folded, and over SQL
//! into a database, against reading the same files and hashing their bytes; in a process of its own, for the memory. Each
//! ratio is within one run. `replay` measures that part alone; `fill FOLDER` makes its ledger, for a profiler.

mod database;
mod gateway;
mod load;
mod processor;
mod replay;
mod sql;

use anyhow::Context as _;
use objects::Objects;
use serde_json::{Value, json};

const RESULTS: &str = "bench/results/ledger.json";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => all(),
        ["gateway"] => {
            println!("{:#}", tokio::runtime::Runtime::new()?.block_on(gateway::measure())?);
            Ok(())
        }
        ["replay"] => {
            let replays = replay::measure(&tokio::runtime::Runtime::new()?)?;
            print_replays(replays.as_array().context("there are two forms")?);
            let mut results: Value = serde_json::from_slice(&std::fs::read(RESULTS).unwrap_or_else(|_| b"{}".into()))?;
            results["replay"] = replays;
            keep(&results)
        }
        ["fill", folder] => {
            println!(
                "{}",
                tokio::runtime::Runtime::new()?.block_on(replay::fill(&Objects::open_folder(folder.as_ref())?))?
            );
            Ok(())
        }
        ["replay", how, folder, system] => replay::child(how, folder.as_ref(), system.parse()?),
        _ => anyhow::bail!("usage: bench-ledger [gateway | replay | fill FOLDER]"),
    }
}

fn all() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let loads = [0, 100].map(|send_ms| runtime.block_on(load::under_load(send_ms)));
    let [at_once, slow] = loads;
    let rest = runtime.block_on(load::at_rest())?;
    let through = runtime.block_on(gateway::measure())?;
    let replayed = replay::measure(&runtime)?;
    let results = json!({ "load": [at_once?, slow?], "rest": rest, "gateway": through, "replay": replayed });
    print_tables(&results);
    keep(&results)
}

fn keep(results: &Value) -> anyhow::Result<()> {
    std::fs::write(RESULTS, format!("{results:#}\n")).with_context(|| format!("{RESULTS} can't be written"))
}

fn print_tables(results: &Value) {
    println!("| 1,000 in flight, a send takes | deliveries/s | deliveries per object | call p50 ms | p99 ms |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for load in results["load"].as_array().into_iter().flatten() {
        let [send, rate, shared, middle, slowest] =
            ["send_ms", "deliveries_per_second", "deliveries_per_object", "call_p50_ms", "call_p99_ms"]
                .map(|name| number(&load[name]));
        println!("| {send:.0} ms | {rate:.0} | {shared:.0} | {middle:.1} | {slowest:.1} |");
    }
    let [on, off, ratio, shared] = ["on_per_second", "off_per_second", "ratio", "deliveries_per_object"]
        .map(|name| number(&results["gateway"][name]));
    println!(
        "\nThrough the gateway: {on:.0}/s with the ledger, {off:.0}/s without, {ratio:.2}; {shared:.0} per object."
    );
    println!("\nAt rest: {} objects in {} s.\n", results["rest"]["objects"], results["rest"]["seconds"]);
    let replays: Vec<Value> = results["replay"].as_array().cloned().unwrap_or_default();
    print_replays(&replays);
}

fn print_replays(replays: &[Value]) {
    println!(
        "| 1,000,000 records | objects | MiB | read and hash, s | read the ledger, s | x | with the fold, s | x | peak MiB, read | peak MiB, fold |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for replay in replays {
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
    }
    println!(
        "\n| over SQL | records | s | x | of it reading, s | applying, s | processor, ours, s | Postgres, s | rows written | peak MiB, ours |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for replay in replays {
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

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}
