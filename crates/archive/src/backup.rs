//! Making a backup: snapshot, dump and measurements of exactly that snapshot, the blobs that it names, the manifest.
//!
//! A backup exists or it does not: until its manifest is written and its folder renamed nobody sees it, and dropping
//! the future leaves nothing behind but blobs that are good (`layout`). The source is only read, and needs no pause.
//!
//! Not here: whether a restore of it works. A drill finds that out.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clock::Sources;
use futures::TryStreamExt;
use ids::BackupId;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::blobs::{self, BlobFaults};
use crate::layout::{self, Archive, ArchiveError, Incomplete};
use crate::manifest::{
    BlobEntry, Blobs, FORMAT, FileEntry, KeyVersion, Manifest, Prefix, Recorded, SecretVersion, Sequence, Snapshot,
    System, VERSION, Watermark,
};
use crate::measure::{self, Depth, Measured};
use crate::progress::{Progress, Step};
use crate::snapshot::{self, Held};
use crate::spec::BackupSpec;
use crate::tools::{self, ToolError, Tools};
use crate::{catalogue, probe};

/// What to back up, and where to.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// `postgres://...`.
    pub database_url: String,
    /// The folder of the object store.
    pub objects: PathBuf,
    /// The archive's folder; made if it isn't there.
    pub archive: PathBuf,
    pub spec: BackupSpec,
    pub tools: Tools,
    /// The secrets that the system is configured with. Names and versions only.
    pub secrets: Vec<SecretVersion>,
    /// This build's version.
    pub build: String,
    pub sources: Sources,
}

/// A finished backup.
#[derive(Debug, Clone)]
pub struct BackupDone {
    pub manifest: Manifest,
    /// How many blobs the archive did not have before.
    pub blobs_new: usize,
}

/// No backup was made. Nothing of the source was touched.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the archive can't be used")]
    Archive(#[source] ArchiveError),
    #[error("the database does not answer")]
    Unreachable(#[source] sqlx::Error),
    /// Another program's, or one that was never set up.
    #[error("the database is not one of Open Cowork")]
    NotOurs(#[source] Option<sqlx::Error>),
    #[error("the database has schema {database}, this build knows {build}")]
    Schema { database: i64, build: i64 },
    #[error("the database gave an error while {doing}")]
    Database {
        doing: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("the dump failed")]
    Dump(#[source] ToolError),
    #[error("{} of the objects that the database names can't be backed up: {faults}", .faults.count)]
    Blobs { faults: BlobFaults },
    #[error("the backup can't be written")]
    Write(#[source] std::io::Error),
}

impl BackupError {
    /// What the operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Archive(error) => error.advice(),
            Self::Unreachable(_) => "check that the server runs and the URL is right",
            Self::NotOurs(_) => "name the database of a system that was initialised, in the configuration's [database]",
            Self::Schema { .. } => "back up with the build that the system runs",
            Self::Database { .. } => "look at the server's log, then back up again",
            Self::Dump(ToolError::Start { .. }) => {
                "install Postgres' client programs, on Debian with `apt-get install postgresql-15`"
            }
            Self::Dump(_) => "see what pg_dump says; its version must not be older than the server's",
            Self::Blobs { .. } => "the source has lost objects: bring them back, or remove the rows that name them",
            Self::Write(_) => "check the permissions of the archive and the space on its disk",
        }
    }

    pub(crate) fn during(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Database { doing, source }
    }
}

/// Makes a backup. Dropping the future gives it up and cleans up.
///
/// # Errors
/// Then there is no backup, and no half of one.
pub async fn backup(request: BackupRequest, progress: Arc<dyn Progress>) -> Result<BackupDone, BackupError> {
    let started_at = request.sources.now();
    let backup_id: BackupId = request.sources.id();
    progress.begin(Step::Snapshot, 0);
    let mut held = Held::take(&request.database_url).await.map_err(BackupError::Unreachable)?;
    let system = system(&mut held.connection, &request.spec, &request.build).await?;
    let source = snapshot::source(&mut held.connection, &request.objects)
        .await
        .map_err(BackupError::during("telling about itself"))?;
    // Only now: a database that is not ours leaves no archive behind.
    let archive = Archive::open_or_create(&request.archive, &request.sources).map_err(BackupError::Archive)?;
    let incomplete = Incomplete::begin(&archive, backup_id).map_err(BackupError::Archive)?;
    progress.end(Step::Snapshot, &format!("generation {}, at {}", system.generation, held.wal_lsn));

    let read = read_snapshot(&mut held, &request, &system, incomplete.folder(), &progress).await?;
    let (taken_at, wal_lsn) = (held.taken_at, held.wal_lsn.clone());
    let held_ms = held.release().await.map_err(BackupError::during("letting the snapshot go"))?;

    let bytes = read.blobs.iter().map(|blob| blob.size).sum();
    let blobs = Arc::new(read.blobs);
    progress.begin(Step::CollectBlobs, bytes);
    let blobs_new = blobs::collect(&request.objects, &archive, &incomplete.incoming(), blobs.clone(), progress.clone())
        .await
        .map_err(|faults| BackupError::Blobs { faults })?;
    progress.end(Step::CollectBlobs, &format!("{} blobs, {blobs_new} of them new", blobs.len()));

    progress.begin(Step::Seal, 0);
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        backup_id,
        archive_id: archive.id(),
        system,
        source,
        snapshot: Snapshot { taken_at, wal_lsn, held_ms, started_at, finished_at: request.sources.now() },
        secrets: request.secrets,
        key_versions: read.key_versions,
        groups: request.spec.groups,
        tables: read.measured.tables,
        not_compared: read.measured.not_compared,
        sequences: read.sequences,
        catalogue: read.catalogue,
        watermarks: read.watermarks,
        probes: read.measured.probes,
        blobs: Blobs { sql: request.spec.blobs, count: blobs.len() as u64, bytes, prefixes: prefixes(&blobs) },
        files: files(incomplete.folder()).map_err(BackupError::Write)?,
    };
    let manifest = seal(incomplete, manifest).await.map_err(BackupError::Write)?;
    progress.end(Step::Seal, &format!("backup {backup_id}; the snapshot was held for {:.1} s", held_ms as f64 / 1e3));
    Ok(BackupDone { manifest, blobs_new })
}

pub(crate) async fn system(
    connection: &mut PgConnection,
    spec: &BackupSpec,
    build: &str,
) -> Result<System, BackupError> {
    let system = match snapshot::system(connection, &spec.system, build).await {
        Ok(system) => system.ok_or(BackupError::NotOurs(None))?,
        Err(error @ (sqlx::Error::Database(_) | sqlx::Error::ColumnNotFound(_))) => {
            return Err(BackupError::NotOurs(Some(error)));
        }
        Err(error) => return Err(BackupError::Unreachable(error)),
    };
    if system.schema_version == spec.schema_version {
        Ok(system)
    } else {
        Err(BackupError::Schema { database: system.schema_version, build: spec.schema_version })
    }
}

/// What is read while the snapshot is held.
struct Read {
    measured: Measured,
    catalogue: Vec<String>,
    sequences: Vec<Sequence>,
    key_versions: Vec<KeyVersion>,
    watermarks: Vec<Watermark>,
    blobs: Vec<BlobEntry>,
}

async fn read_snapshot(
    held: &mut Held,
    request: &BackupRequest,
    system: &System,
    folder: &Path,
    progress: &Arc<dyn Progress>,
) -> Result<Read, BackupError> {
    let catalogue =
        catalogue::lines(&mut held.connection).await.map_err(BackupError::during("its catalogue was read"))?;
    let key_versions = key_versions(&mut held.connection, &request.spec.key_versions).await?;
    let watermarks = watermarks(&mut held.connection, &request.spec.watermarks).await?;
    let blobs = list_blobs(&mut held.connection, &request.spec.blobs, folder).await?;
    let before = sequences(&mut held.connection).await?;
    let (measured, ()) = tokio::try_join!(
        measure::measure(held, (&request.database_url, &request.spec), system, folder, Depth::Rows, progress.clone()),
        dump(request, &held.name, folder, progress.as_ref()),
    )?;
    let after = sequences(&mut held.connection).await?;
    Ok(Read { measured, catalogue, sequences: bounds(before, after), key_versions, watermarks, blobs })
}

/// `pg_dump` of exactly the snapshot. Level 1: higher ones cost more time than their bytes are worth.
async fn dump(
    request: &BackupRequest,
    snapshot: &str,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<(), BackupError> {
    progress.begin(Step::Dump, 0);
    let file = folder.join(layout::DUMP);
    let mut command = tools::command(&request.tools.pg_dump, &request.database_url);
    command.args(["--format=custom", "--compress=1", "--no-owner", "--no-unlogged-table-data", "--verbose"]);
    command.arg(format!("--snapshot={snapshot}")).arg(format!("--file={}", file.display()));
    let mut seen = 0;
    let mut look = || {
        let size = std::fs::metadata(&file).map_or(0, |facts| facts.len());
        progress.advance(Step::Dump, size - std::mem::replace(&mut seen, size));
    };
    tools::run("pg_dump", command, |_| look()).await.map_err(BackupError::Dump)?;
    look();
    progress.end(Step::Dump, "dumped");
    Ok(())
}

pub(crate) async fn key_versions(connection: &mut PgConnection, sql: &str) -> Result<Vec<KeyVersion>, BackupError> {
    let during = || BackupError::during("its key versions were read");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.map_err(during())?;
    let read = |row: sqlx::postgres::PgRow| {
        Ok(KeyVersion { version: row.try_get("version")?, ciphertexts: row.try_get("ciphertexts")? })
    };
    rows.into_iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(during())
}

pub(crate) async fn watermarks(connection: &mut PgConnection, sql: &str) -> Result<Vec<Watermark>, BackupError> {
    let during = || BackupError::during("its watermarks were read");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.map_err(during())?;
    let read = |row: sqlx::postgres::PgRow| Ok(Watermark { name: row.try_get("name")?, value: row.try_get("value")? });
    rows.into_iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(during())
}

/// Writes `blobs.jsonl`, and gives what is in it.
pub(crate) async fn list_blobs(
    connection: &mut PgConnection,
    sql: &str,
    folder: &Path,
) -> Result<Vec<BlobEntry>, BackupError> {
    let file = File::create_new(folder.join(layout::BLOBS)).map_err(BackupError::Write)?;
    let mut file = BufWriter::new(file);
    let mut blobs = Vec::new();
    let mut rows = probe::stream(connection, sql).await.map_err(BackupError::during("its blobs were listed"))?;
    while let Some(row) = rows.try_next().await.map_err(BackupError::during("its blobs were listed"))? {
        let blob: BlobEntry = serde_json::from_str(&row)
            .map_err(|error| BackupError::during("its blobs were listed")(sqlx::Error::Decode(error.into())))?;
        serde_json::to_writer(&mut file, &blob).map_err(|error| BackupError::Write(error.into()))?;
        file.write_all(b"\n").map_err(BackupError::Write)?;
        blobs.push(blob);
    }
    file.flush().map_err(BackupError::Write)?;
    Ok(blobs)
}

pub(crate) async fn sequences(connection: &mut PgConnection) -> Result<Vec<catalogue::SequencePosition>, BackupError> {
    catalogue::sequences(connection).await.map_err(BackupError::during("its sequences were read"))
}

/// A sequence may count downwards, so the two readings are put in order.
pub(crate) fn bounds(
    before: Vec<catalogue::SequencePosition>,
    after: Vec<catalogue::SequencePosition>,
) -> Vec<Sequence> {
    let pair = |(before, after): (catalogue::SequencePosition, catalogue::SequencePosition)| Sequence {
        schema: before.schema,
        name: before.name,
        next_at_least: before.next.min(after.next),
        next_at_most: before.next.max(after.next),
    };
    // Both were listed in one snapshot, so they pair up.
    before.into_iter().zip(after).map(pair).collect()
}

/// The first four parts of a key: org, generation, kind.
pub(crate) fn prefixes(blobs: &[BlobEntry]) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> = Vec::new();
    let mut sorted: Vec<(String, u64)> = blobs.iter().map(|blob| (prefix(&blob.key), blob.size)).collect();
    sorted.sort_unstable();
    for (prefix, size) in sorted {
        match prefixes.last_mut().filter(|last| last.prefix == prefix) {
            Some(last) => {
                last.count += 1;
                last.bytes += size;
            }
            None => prefixes.push(Prefix { prefix, count: 1, bytes: size }),
        }
    }
    prefixes
}

fn prefix(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    parts[..parts.len().saturating_sub(1).min(4)].join("/")
}

/// Size and SHA-256 of every file that is in the folder so far.
pub(crate) fn files(folder: &Path) -> std::io::Result<Vec<FileEntry>> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(folder).expect("it lies below").to_string_lossy().into_owned();
            let (size, sha256) = blobs::hash_through(&mut File::open(entry.path())?, &mut std::io::sink())?;
            files.push(FileEntry { path, size, sha256 });
        }
    }
    Ok(files)
}

async fn seal(incomplete: Incomplete, manifest: Manifest) -> std::io::Result<Manifest> {
    let dropped = Dropped::default();
    let given_up = dropped.0.clone();
    let work = move || {
        let text = layout::pretty(&manifest);
        let (_, sha256) = blobs::hash_through(&mut text.as_slice(), &mut std::io::sink())?;
        incomplete.finish(&text, &format!("{sha256}  {}\n", layout::MANIFEST), &given_up)?;
        Ok(manifest)
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Tells a thread that nobody waits for it any more.
#[derive(Default)]
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// For `measure`: what a probe's answer is called.
pub(crate) fn recorded(name: &str, rows: u64, sha256: String) -> Recorded {
    Recorded { file: format!("probes/{name}.jsonl"), rows, sha256 }
}
