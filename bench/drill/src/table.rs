//! The result, as a table for `bench/README.md`.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::floor::Floor;

/// Stages before the restore begins, and after the last check.
const NOT_RECOVERY: [&str; 8] = ["preflight", "source", "busy", "backup", "life", "disaster", "prepare", "tear-down"];

pub(crate) fn render(scale: u32, report: &Value, floor: &Floor) -> String {
    let stages = report["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let recovery: Vec<&Value> =
        stages.iter().filter(|stage| !NOT_RECOVERY.contains(&stage["id"].as_str().unwrap_or_default())).collect();
    let sum = |waiting: bool| -> Duration {
        let chosen = recovery.iter().filter(|stage| stage["waiting"].as_bool() == Some(waiting));
        Duration::from_millis(chosen.filter_map(|stage| stage["duration_ms"].as_u64()).sum())
    };
    let bare = floor.restore + floor.copy + floor.hash + floor.boot;
    let (work, waiting) = (sum(false), sum(true));
    let mut text = heading(scale, report, floor);
    text += "| part | seconds |\n| --- | ---: |\n";
    row(&mut text, "raw `pg_restore`", floor.restore);
    row(&mut text, "raw copy of the blobs, synced", floor.copy);
    row(&mut text, "hashing them", floor.hash);
    row(&mut text, "booting web", floor.boot);
    row(&mut text, "**floor**", bare);
    for stage in &recovery {
        let kind = if stage["waiting"] == true { " (waits on purpose)" } else { "" };
        let title = format!("drill: {}{kind}", stage["title"].as_str().unwrap_or_default());
        row(&mut text, &title, Duration::from_millis(stage["duration_ms"].as_u64().unwrap_or(0)));
    }
    row(&mut text, "**drill's restore and checks**", work);
    row(&mut text, "drill's waits on purpose, apart", waiting);
    let over = work.as_secs_f64() - bare.as_secs_f64();
    let _ = writeln!(text, "| **over the floor** | **{over:+.1}** |");
    text
}

fn heading(scale: u32, report: &Value, floor: &Floor) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let environment = &report["environment"];
    format!(
        "Scale {scale}: {} rows of {} MiB, {} MiB of dump, {} blobs of {} MiB. {} cores, {}, Postgres {}.\n\n",
        report["backup"]["rows"],
        mib(floor.row_bytes),
        mib(floor.dump_bytes),
        floor.blobs,
        mib(floor.blob_bytes),
        environment["cores"],
        environment["os"].as_str().unwrap_or("unknown system"),
        environment["postgres_version"].as_str().unwrap_or_default(),
    )
}

fn row(text: &mut String, part: &str, took: Duration) {
    let _ = writeln!(text, "| {part} | {:.1} |", took.as_secs_f64());
}
