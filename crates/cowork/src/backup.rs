//! `cowork backup`: one restorable state of a running system, into an archive.
//!
//! Afterwards it is noted in the database which backup was taken, and how old the archive's oldest is, and looked whether the recovery
//! ledger still reaches that one; if not, that is told on standard error, and the exit code stays that of the backup.
//!
//! Not here: how (crate `archive`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use archive::{BackupDone, BackupError, BackupRequest, Manifest};
use clap::Args;
use serde_json::json;

use crate::archive::progress::Reporter;
use crate::archive::{dump_bytes, oldest, secrets, sentence, spec, tools, unless_interrupted, unusable};
use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;
use crate::serve::BUILD;

#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    config: ConfigArgs,
    /// The archive's folder; a new or empty one becomes an archive
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
    /// Answer with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Backup {
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let start = Instant::now();
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let request = BackupRequest {
            database_url: installation.database.url().to_owned(),
            objects: installation.config.objects.folder.clone(),
            archive: process.working_directory.join(&self.archive),
            spec: spec(),
            tools: tools(&process),
            secrets: secrets(&installation.config),
            build: BUILD.to_owned(),
            sources: process.sources.clone(),
        };
        let folder = request.archive.clone();
        let done = unless_interrupted("backup", archive::backup(request, Reporter::new())).await;
        if let Ok(Ok(done)) = &done
            && let Err(warning) = note(&installation, &folder, &done.manifest).await
        {
            warning.print(self.json, false);
        }
        installation.close().await;
        let done = done?.map_err(failed)?;
        tell(&done, start, self.json);
        Ok(ExitCode::SUCCESS)
    }
}

/// The backup stands, whatever comes of this.
async fn note(installation: &Installation, archive: &Path, taken: &Manifest) -> Result<(), Failure> {
    oldest::note(installation, archive, taken).await?;
    oldest::covered(installation, taken.system.system_id).await.map(drop)
}

fn tell(done: &BackupDone, start: Instant, as_json: bool) {
    let manifest = &done.manifest;
    if !as_json {
        return println!("{}", manifest.backup_id);
    }
    let answer = json!({
        "backup_id": manifest.backup_id,
        "archive_id": manifest.archive_id,
        "generation": manifest.system.generation,
        "taken_at": manifest.snapshot.taken_at,
        "wal_lsn": manifest.snapshot.wal_lsn,
        "snapshot_held_ms": manifest.snapshot.held_ms,
        "duration_ms": u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        "tables": manifest.tables.len(),
        "rows": manifest.tables.iter().map(|table| table.rows).sum::<u64>(),
        "dump_bytes": dump_bytes(manifest),
        "blobs": manifest.blobs.count,
        "blobs_new": done.blobs_new,
        "blob_bytes": manifest.blobs.bytes,
    });
    println!("{answer}");
}

fn failed(error: BackupError) -> Failure {
    match error {
        BackupError::Archive(error) => unusable(error),
        error => {
            let advice = sentence(error.advice());
            Failure::could_not("No backup was made.", error, advice)
        }
    }
}
