//! The end of a drill: what it was asked to do is written down at its beginning, and all of it is sealed at its end.
//!
//! Not here: what a seal is (`attest`), what of the report is signed (`report::attested`).

use std::path::Path;

use anyhow::Context as _;
use attest::bundle;
use attest::statement::{BUILD, Digest, PLAN, Subject};
use attest::{Head, SigningKey};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::options::Options;
use crate::out::{self, Out};
use crate::report::{Metadata, Objectives, Report};

/// What the seal says besides the files: digests of what was drilled, and of what it was asked to do.
#[derive(Debug, Clone)]
pub(crate) struct Subjects {
    pub(crate) build: String,
    pub(crate) plan: String,
}

/// A plan, in what is sealed: its text holds paths of the machine and stays outside.
#[derive(Serialize)]
struct Drilled<'a> {
    name: &'a str,
    sha256: &'a str,
}

/// What a drill was asked to do.
#[derive(Serialize)]
struct Rehearsal<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Drilled<'a>>,
    scale: u32,
    seed: u64,
    keep: bool,
    pause_after: Option<&'a str>,
    objectives: Objectives,
    metadata: &'a Metadata,
}

/// Hashes the program, and writes what it is asked to do into the report's folder.
pub(crate) fn begin(options: &Options, out: &Out) -> anyhow::Result<Subjects> {
    let build = file_digest(&options.executable).context("the program that is to be drilled can't be read")?;
    let rehearsal = Rehearsal {
        kind: if options.plan.is_some() { "plan" } else { "rehearsal" },
        plan: options.plan.as_ref().map(|run| Drilled { name: run.plan.name.as_str(), sha256: &run.sha256 }),
        scale: options.scale,
        seed: options.seed,
        keep: options.keep,
        pause_after: options.pause_after.as_deref(),
        objectives: options.objectives,
        metadata: &options.metadata,
    };
    let mut plan = serde_json::to_vec_pretty(&rehearsal)?;
    plan.push(b'\n');
    std::fs::write(out.path().join(out::PLAN), &plan).context("the drill's parameters can't be written")?;
    Ok(Subjects { build, plan: attest::sha256_hex(&plan) })
}

/// Seals the folder, if there is a key.
pub(crate) fn end(
    out: &Out,
    options: &Options,
    report: &Report,
    subjects: Subjects,
    backup: Vec<Subject>,
    journal: Head,
) -> anyhow::Result<()> {
    let Some(key) = &options.keeping.signing_key else { return Ok(()) };
    let named = [(BUILD, subjects.build), (PLAN, subjects.plan)];
    let subject = |(name, sha256): (&str, String)| Subject { name: name.to_owned(), digest: Digest { sha256 } };
    let named = named.map(subject).into_iter().chain(backup).collect();
    seal(out.path(), named, report, journal, key, options.keep)
}

fn seal(
    folder: &Path,
    named: Vec<Subject>,
    report: &Report,
    journal: Head,
    key: &SigningKey,
    kept: bool,
) -> anyhow::Result<()> {
    bundle::seal(folder, named, report.predicate(journal, key.id(), kept), key).context("it can't be sealed")?;
    Ok(())
}

/// The SHA-256 of a file, in hex.
///
/// # Errors
/// If it can't be read.
pub fn file_digest(path: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut HashWriter(&mut hash))?;
    Ok(hex::encode(hash.finalize()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
