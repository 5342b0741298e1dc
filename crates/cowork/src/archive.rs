//! `cowork archive`: looking at what an archive holds. The shared parts of every command that works on one.
//!
//! Not here: making a backup (`backup`), giving one back (`restore`), what the files are (crate `archive`).

pub(crate) mod oldest;
pub(crate) mod progress;
pub(crate) mod spec;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use ::archive::{Archive as Folder, ArchiveError, Backup, VerifyError, verify};
use clap::{Args, Subcommand};
use clock::Timestamp;
use ids::BackupId;
use serde::Serialize;
use serde_json::json;

pub(crate) use self::spec::{secrets, spec};
pub(crate) use self::work::{tools, unless_interrupted};
use crate::archive::progress::Reporter;
use crate::failure::{EXIT_FAILED, Failure, chain};
use crate::process::Process;

#[derive(Debug, Subcommand)]
pub(crate) enum Archive {
    /// List the backups of an archive, oldest first
    List(List),
    /// Hash every file and every blob of a backup, or of all
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// The archive's folder
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The archive's folder
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
    /// Which backup: an id, or `latest`; all, if none is named
    #[arg(long, value_name = "ID")]
    backup: Option<String>,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

/// A backup, in one line.
#[derive(Debug, Serialize)]
struct Entry {
    backup_id: BackupId,
    #[serde(flatten)]
    facts: Option<Facts>,
    /// Why it can't be used; `None`: nothing was found.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Facts {
    taken_at: Timestamp,
    generation: i64,
    schema_version: i64,
    build: String,
    rows: u64,
    blobs: u64,
    blob_bytes: u64,
    dump_bytes: u64,
}

impl Archive {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::List(list) => list.json,
            Self::Verify(verify) => verify.json,
        }
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => {
                let archive = open(&process.working_directory.join(&list.archive))?;
                let ids = archive.backups().map_err(unusable)?;
                let entries: Vec<Entry> = ids.into_iter().map(|id| Entry::read(&archive, id).0).collect();
                Ok(tell(&archive, &entries, list.json))
            }
            Self::Verify(verify) => verify.run(process).await,
        }
    }
}

impl Verify {
    async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let archive = open(&process.working_directory.join(&self.archive))?;
        let ids = match &self.backup {
            Some(name) => vec![archive.resolve(name).map_err(unusable)?],
            None => archive.backups().map_err(unusable)?,
        };
        let reporter = Reporter::new();
        let mut entries = Vec::new();
        for id in ids {
            let (mut entry, backup) = Entry::read(&archive, id);
            if let Some(backup) = backup {
                let found = unless_interrupted("verification", verify(&backup, reporter.clone())).await?;
                entry.error = found.err().map(|error| chain(&error));
            }
            entries.push(entry);
        }
        Ok(tell(&archive, &entries, self.json))
    }
}

impl Entry {
    fn read(archive: &Folder, id: BackupId) -> (Self, Option<Backup>) {
        match archive.read(id) {
            Err(error) => (Self { backup_id: id, facts: None, error: Some(chain(&error)) }, None),
            Ok(backup) => (Self { backup_id: id, facts: Some(Facts::of(&backup)), error: None }, Some(backup)),
        }
    }

    fn line(&self) -> String {
        let facts = self.facts.as_ref().map_or_else(String::new, Facts::line);
        let error = self.error.as_ref().map_or_else(String::new, |error| format!("  NOT WHOLE: {error}"));
        format!("{}{facts}{error}", self.backup_id)
    }
}

impl Facts {
    fn of(backup: &Backup) -> Self {
        let manifest = &backup.manifest;
        Self {
            taken_at: manifest.snapshot.taken_at,
            generation: manifest.system.generation,
            schema_version: manifest.system.schema_version,
            build: manifest.system.build.clone(),
            rows: manifest.rows(),
            blobs: manifest.blobs.count,
            blob_bytes: manifest.blobs.bytes,
            dump_bytes: dump_bytes(manifest),
        }
    }

    fn line(&self) -> String {
        format!(
            "  {}  generation {}  {} rows  {} blobs, {}",
            self.taken_at.format("%Y-%m-%d %H:%M:%S UTC"),
            self.generation,
            self.rows,
            self.blobs,
            indicatif::HumanBytes(self.blob_bytes),
        )
    }
}

pub(crate) fn dump_bytes(manifest: &::archive::Manifest) -> u64 {
    manifest.files.iter().find(|file| file.path == "database.dump").map_or(0, |file| file.size)
}

fn tell(archive: &Folder, entries: &[Entry], as_json: bool) -> ExitCode {
    if as_json {
        println!("{}", json!({"archive_id": archive.id(), "backups": entries}));
    } else if entries.is_empty() {
        println!("The archive holds no backup.");
    } else {
        entries.iter().for_each(|entry| println!("{}", entry.line()));
    }
    let whole = entries.iter().all(|entry| entry.error.is_none());
    if whole { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

pub(crate) fn open(folder: &std::path::Path) -> Result<Folder, Failure> {
    Folder::open(folder).map_err(unusable)
}

pub(crate) fn unusable(error: ArchiveError) -> Failure {
    let advice = sentence(error.advice());
    // What it looked at is not as it should be: that is an answer, not an inability.
    if matches!(error, ArchiveError::Damaged { .. }) {
        return Failure::failed("The backup is not whole.", error, advice);
    }
    Failure::could_not("The archive can't be used.", error, advice)
}

pub(crate) fn not_whole(error: VerifyError) -> Failure {
    match error {
        VerifyError::Archive(error) => unusable(error),
        error @ VerifyError::Blobs { .. } => {
            let advice = sentence(error.advice());
            Failure::failed("The backup is not whole.", error, advice)
        }
    }
}

/// The library's phrases are lower case without a full stop; people are told sentences.
pub(crate) fn sentence(phrase: &str) -> String {
    let mut chars = phrase.chars();
    let first = chars.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(chars).chain(['.']).collect()
}
