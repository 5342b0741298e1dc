//! What the scanner finds, what it takes for a secret, and how fast it is; beside detect-secrets and ripsecrets.
//!
//! Known values: 12 kinds in every encoding, and in every encoding of every encoding. Nothing may be found in 100 MB of our own
//! logs and sources. Patterns: recall and false alarms on the same files for all three. Throughput: megabytes for each second
//! of a processor, so that what else the machine does does not count.
//!
//! Called as `bench-scan [COWORK [OTHERS]]`: the program, and a folder in which the others are installed already; or as
//! `bench-scan patterns OTHERS` or `bench-scan throughput OTHERS CORPUS` for these alone. `bench-scan speed CORPUS` prints how
//! fast we are and writes nothing: for a profiler.
//!
//! Not here: the encoders and the kinds of known values, which are the scanner's own tests' (`crates/redact/tests`).

mod clean;
#[path = "../../../crates/redact/tests/encoders/mod.rs"]
mod encoders;
mod patterns;
mod rivals;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use nix::time::{ClockId, clock_gettime};
use redact::{Needle, Scanner};
use serde_json::{Value, json};

use self::encoders::{ENCODERS, secrets};
use self::rivals::Rivals;

const RESULTS: &str = "bench/results/scan.json";
/// How often a throughput is measured; the best counts, for the machine does other things too.
const TRIES: usize = 5;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["patterns", others] => {
            let work = tempfile::tempdir()?;
            return replace("patterns", patterns::compare(work.path(), &Rivals::installed(others.as_ref()))?);
        }
        ["throughput", others, corpus] => {
            let corpus = clean::Corpus::of(corpus.as_ref());
            return replace("throughput", throughput(&corpus, &Rivals::installed(others.as_ref()))?);
        }
        ["speed", corpus] => {
            println!("{}", speed(&clean::Corpus::of(corpus.as_ref()))?);
            return Ok(());
        }
        _ => {}
    }
    let binary = std::env::args_os().nth(1).unwrap_or_else(|| "target/release/cowork".into());
    let binary = std::path::absolute(binary)?;
    let work = tempfile::tempdir()?;
    let known = known_values()?;
    println!("known values: {known}");
    let corpus = clean::corpus(work.path(), &binary)?;
    let clean = scan_clean(&corpus)?;
    println!("clean corpus: {clean}");
    let rivals = rivals(std::env::args_os().nth(2).as_deref(), work.path())?;
    let patterns = patterns::compare(work.path(), &rivals)?;
    println!("patterns: {patterns:#}");
    let throughput = throughput(&corpus, &rivals)?;
    println!("throughput: {throughput:#}");
    let results = json!({"known_values": known, "clean": clean, "patterns": patterns, "throughput": throughput});
    std::fs::write(RESULTS, format!("{results:#}\n")).with_context(|| format!("{RESULTS} can't be written"))
}

fn rivals(installed: Option<&OsStr>, work: &Path) -> anyhow::Result<Rivals> {
    installed.map_or_else(|| Rivals::install(&work.join("others")), |folder| Ok(Rivals::installed(Path::new(folder))))
}

/// Puts figures in the place of those of an earlier run.
fn replace(part: &str, figures: Value) -> anyhow::Result<()> {
    println!("{part}: {figures:#}");
    let mut results: Value = serde_json::from_slice(&std::fs::read(RESULTS)?)?;
    results[part] = figures;
    std::fs::write(RESULTS, format!("{results:#}\n")).with_context(|| format!("{RESULTS} can't be written"))
}

fn scanner(secrets: &[(&'static str, String)]) -> anyhow::Result<Scanner> {
    let needles = secrets.iter().map(|(kind, value)| Needle::new(None, *kind, value.as_bytes()));
    Ok(Scanner::new(needles.collect())?)
}

/// How many of all kinds are found, in each encoding and in each of an encoding.
fn known_values() -> anyhow::Result<Value> {
    let secrets = secrets(20_261_123);
    let scanner = scanner(&secrets)?;
    let (mut once, mut twice, mut missed) = (0, 0, Vec::new());
    let is_found = |written: &[u8], kind: &str| {
        let line = [b"2026-11-23T10:00:00Z INFO value: ", written, b" - done\n"].concat();
        scanner.scan(&line).hits.iter().any(|hit| hit.what.label() == kind)
    };
    for (kind, value) in &secrets {
        for (outer, encode) in ENCODERS {
            match is_found(&encode(value.as_bytes()), kind) {
                true => once += 1,
                false => missed.push(format!("{kind}: {outer}")),
            }
            for (inner, encode_inner) in ENCODERS {
                let within = [b"{\"a\":\"", encode_inner(value.as_bytes()).as_slice(), b"\"}"].concat();
                match is_found(&encode(&within), kind) {
                    true => twice += 1,
                    false => missed.push(format!("{kind}: {outer} of {inner}")),
                }
            }
        }
    }
    let (kinds, encodings) = (secrets.len(), ENCODERS.len());
    Ok(json!({"kinds": kinds, "encodings": encodings, "found": once, "of": kinds * encodings,
        "found_nested_twice": twice, "of_nested_twice": kinds * encodings * encodings, "missed": missed}))
}

/// The same kinds, and the installation's own secrets, in what it said and in what it is made of.
fn scan_clean(corpus: &clean::Corpus) -> anyhow::Result<Value> {
    let mut values = secrets(1_123);
    values.extend(corpus.secrets.iter().cloned());
    let scanner = scanner(&values)?;
    let (mut bytes, mut found) = (0, Vec::new());
    for file in &corpus.files {
        let findings = scanner.scan_reader(std::fs::File::open(file)?)?;
        bytes += findings.bytes;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        found.extend(findings.hits.iter().map(|hit| format!("{name}: {}", hit.what.label())));
    }
    Ok(json!({"mb": bytes / 1_000_000, "log_mb": corpus.log_bytes / 1_000_000, "values": values.len(),
        "found": found.len(), "what": found}))
}

fn throughput(corpus: &clean::Corpus, rivals: &Rivals) -> anyhow::Result<Value> {
    let (mut figures, theirs) = (speed(corpus)?, rivals.throughput(corpus.folder())?);
    figures["with_patterns_mb_s"] = speed_with_patterns(corpus)?;
    figures["others"] = theirs;
    Ok(figures)
}

/// How fast known values are looked for.
fn speed(corpus: &clean::Corpus) -> anyhow::Result<Value> {
    let (text, values) = (corpus.text()?, scanner(&secrets(1_123))?);
    let known = best(|| drop(values.scan_reader(text.as_slice())))?;
    let mb = text.len() as f64 / 1e6;
    Ok(json!({"mb": mb.round(), "known_values_mb_s": (mb / known).round()}))
}

fn speed_with_patterns(corpus: &clean::Corpus) -> anyhow::Result<Value> {
    let (text, both) = (corpus.text()?, scanner(&secrets(1_123))?.by_pattern());
    let taken = best(|| drop(both.scan_reader(text.as_slice())))?;
    Ok(json!((text.len() as f64 / 1e6 / taken).round()))
}

/// Seconds of a processor.
fn best(mut work: impl FnMut()) -> anyhow::Result<f64> {
    let spent = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let mut least = Duration::MAX;
    for _ in 0..TRIES {
        let before = spent()?;
        work();
        least = least.min(spent()? - before);
    }
    Ok(least.as_secs_f64())
}

/// Files below `folder`, sorted.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}
