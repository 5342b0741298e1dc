//! `cowork scan`: looks for secrets in files, folders and streams.
//!
//! Values come by reference, never on the command line, and no output repeats what was found.
//!
//! Not here: how values are found (crate `redact`), what a SARIF file is made of (`scan::sarif`).

mod sarif;

use std::fs::File;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::redact::{Findings, Needle, Scanner};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use secrets::{SecretReader, SecretReference};
use serde_json::{Value, json};

use crate::failure::{EXIT_COULD_NOT, EXIT_FAILED, EXIT_USAGE, Failure};
use crate::process::Process;

#[derive(Debug, Args)]
#[command(
    after_long_help = "Exit codes: 0 nothing found, 1 found, 2 not everything could be looked at, 64 called wrongly."
)]
pub(crate) struct Scan {
    /// A file, a folder with all that is in it, or `-` for standard input
    #[arg(value_name = "PATH|-", required = true)]
    paths: Vec<PathBuf>,
    /// A secret to look for, in every encoding: `env:NAME` or `file:PATH`. May be given more than once
    #[arg(long = "value-from", value_name = "REF")]
    values: Vec<SecretReference>,
    /// Also tell of what looks like a secret: tokens of common vendors, keys, signed URLs, emails, host paths
    #[arg(long)]
    patterns: bool,
    /// Answer with one line of JSON
    #[arg(long, conflicts_with = "sarif")]
    pub(crate) json: bool,
    /// Answer as SARIF 2.1.0
    #[arg(long)]
    sarif: bool,
}

/// What was told of one input.
struct Looked {
    name: String,
    result: Result<Findings, std::io::Error>,
}

impl Scan {
    #[expect(clippy::unused_async, reason = "the signature of a command")]
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        if self.values.is_empty() && !self.patterns {
            eprintln!(
                "cowork: There is nothing to look for.\n  detail: neither --value-from nor --patterns was given\n  what to do: Name a secret, or ask for patterns."
            );
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        let scanner = self.scanner(&process)?;
        let bar = progress();
        let mut looked = Vec::new();
        for path in &self.paths {
            look(&scanner, &process.working_directory, path, &bar, &mut looked);
        }
        bar.finish_and_clear();
        self.tell(&looked);
        Ok(exit_code(&looked))
    }

    fn scanner(&self, process: &Process) -> Result<Scanner, Failure> {
        let reader = SecretReader::new(&process.working_directory, process.environment.clone());
        let advice = "Correct the reference; nothing was scanned.";
        let mut needles = Vec::new();
        for reference in &self.values {
            let value = reader.resolve(reference);
            let value =
                value.map_err(|error| Failure::could_not("A secret to look for can't be read.", error, advice))?;
            needles.push(Needle::new(None, reference.public(), value.expose()));
        }
        let scanner = Scanner::new(needles);
        let scanner =
            scanner.map_err(|error| Failure::could_not("A secret is too short to look for.", error, advice))?;
        Ok(if self.patterns { scanner.by_pattern() } else { scanner })
    }

    fn tell(&self, looked: &[Looked]) {
        if self.sarif {
            println!("{}", sarif::render(looked));
        } else if self.json {
            println!("{}", as_json(looked));
        } else {
            looked.iter().flat_map(Looked::lines).for_each(|line| println!("{line}"));
            println!("{}", summary(looked));
        }
    }
}

impl Looked {
    fn lines(&self) -> Vec<String> {
        let name = &self.name;
        let found = match &self.result {
            Ok(found) => found,
            Err(error) => return vec![format!("{name}: could not be read: {error}")],
        };
        let hits = found
            .hits
            .iter()
            .map(|hit| format!("{name}: byte {}: {}, written as {}", hit.offset, hit.what.label(), hit.written()));
        let unseen = found.unseen.iter().map(|unseen| {
            format!("{name}: byte {}: could not look inside: {}", unseen.offset, unseen.reason.sentence())
        });
        hits.chain(unseen).collect()
    }

    fn json(&self) -> Value {
        match &self.result {
            Ok(found) => json!({"input": self.name, "bytes": found.bytes, "hits": found.hits, "unseen": found.unseen}),
            Err(error) => json!({"input": self.name, "error": error.to_string()}),
        }
    }

    fn is_clean(&self) -> bool {
        self.result.as_ref().is_ok_and(Findings::is_clean)
    }
}

fn look(scanner: &Scanner, base: &Path, path: &Path, bar: &ProgressBar, looked: &mut Vec<Looked>) {
    if path == Path::new("-") {
        let result = scanner.scan_reader(std::io::stdin().lock());
        looked.push(Looked { name: "-".to_owned(), result });
        return;
    }
    for entry in walkdir::WalkDir::new(base.join(path)).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) if entry.file_type().is_dir() => continue,
            Ok(entry) => entry,
            Err(error) => {
                let name = error.path().unwrap_or(path).display().to_string();
                looked.push(Looked { name, result: Err(error.into()) });
                continue;
            }
        };
        let below = entry.path().strip_prefix(base.join(path)).unwrap_or(entry.path());
        let name = if below.as_os_str().is_empty() { path.to_owned() } else { path.join(below) };
        // A link is followed if it was named, and not if it was met: what it points to has a place of its own.
        if !entry.file_type().is_file() && entry.depth() > 0 {
            continue;
        }
        let result = File::open(entry.path()).and_then(|file| scanner.scan_reader(file));
        if let Ok(found) = &result {
            bar.inc(found.bytes);
        }
        looked.push(Looked { name: name.display().to_string(), result });
    }
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {bytes} looked at, {bytes_per_sec}");
    ProgressBar::new_spinner().with_style(style.expect("the template is a constant"))
}

fn exit_code(looked: &[Looked]) -> ExitCode {
    let found = looked.iter().any(|input| input.result.as_ref().is_ok_and(|found| !found.hits.is_empty()));
    let all_seen = looked.iter().all(|input| input.result.as_ref().is_ok_and(|found| found.unseen.is_empty()));
    match (found, all_seen && !looked.is_empty()) {
        (true, _) => ExitCode::from(EXIT_FAILED),
        (false, false) => ExitCode::from(EXIT_COULD_NOT),
        (false, true) => ExitCode::SUCCESS,
    }
}

fn as_json(looked: &[Looked]) -> Value {
    let told: Vec<Value> = looked.iter().filter(|input| !input.is_clean()).map(Looked::json).collect();
    json!({"inputs": looked.len(), "bytes": bytes(looked), "told": told})
}

fn bytes(looked: &[Looked]) -> u64 {
    looked.iter().filter_map(|input| input.result.as_ref().ok()).map(|found| found.bytes).sum()
}

fn summary(looked: &[Looked]) -> String {
    let results = || looked.iter().filter_map(|input| input.result.as_ref().ok());
    let hits: usize = results().map(|found| found.hits.len()).sum();
    let unseen: usize = results().map(|found| found.unseen.len()).sum();
    let unread = looked.len() - results().count();
    let size = indicatif::HumanBytes(bytes(looked));
    format!("{} inputs, {size}: {hits} found, {unseen} places not looked into, {unread} not read", looked.len())
}
