//! Giving a backup back to an empty database and an empty object folder.
//!
//! Order: the manifest is read, the target is looked at, every file and blob of the archive is hashed; only then is
//! anything written. The dump is loaded in one transaction, while the blobs are copied beside it. If either fails the
//! blobs are taken away again; a database that was already loaded by then says so in the error, for emptying databases
//! is not a restore's business.
//!
//! Not here: a new generation (`store`), which must be started before any role is; and whether what was restored is
//! right, which a drill judges against the manifest. Blobs were hashed in the archive and are copied by the kernel;
//! the copies are not read again here.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::blobs::{self, BlobFaults};
use crate::layout::ArchiveError;
use crate::manifest::{BlobEntry, Source, Table};
use crate::progress::{Progress, Step};
use crate::tools::{self, ToolError, Tools};
use crate::verify::{Backup, VerifyError, verify};
use crate::{catalogue, digest, snapshot};

const OCCUPANTS: &str = include_str!("restore/occupants.sql");

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    pub backup: Backup,
    /// `postgres://...`: an empty database.
    pub database_url: String,
    /// An empty folder; made if it isn't there.
    pub objects: PathBuf,
    pub tools: Tools,
}

/// What a restore took.
#[derive(Debug, Clone)]
pub struct RestoreDone {
    pub blobs: u64,
    pub blob_bytes: u64,
    /// The archive was hashed for this long, before anything was written.
    pub verify: Duration,
    /// The database took this long, and meanwhile
    pub database: Duration,
    /// the objects this long.
    pub objects: Duration,
    pub total: Duration,
}

/// Nothing was restored, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the backup is not whole")]
    Backup(#[source] VerifyError),
    #[error("the target database does not answer")]
    Unreachable(#[source] sqlx::Error),
    #[error("the target {0} is the source of the backup")]
    IsSource(&'static str),
    #[error("the target database is not empty: it has {0}")]
    DatabaseNotEmpty(String),
    #[error("the target's object folder is not empty")]
    ObjectsNotEmpty,
    #[error("the target's Postgres {target} is older than the source's {source_version}")]
    OlderPostgres { target: String, source_version: String },
    #[error("the target database has encoding {target}, the source had {source_encoding}")]
    Encoding { target: String, source_encoding: String },
    #[error("the object folder can't be used")]
    Objects(#[source] std::io::Error),
    /// Grants of the backup name a role that the target's server does not have, and this login may not make it.
    #[error("the role {role} can't be made")]
    Role {
        role: String,
        #[source]
        source: sqlx::Error,
    },
    /// The database is as empty as before: its restore is one transaction.
    #[error("the dump can't be loaded")]
    Load(#[source] ToolError),
    /// The objects are taken away again. The database stays as it is.
    #[error("{} objects can't be restored{}: {faults}", .faults.count, after(*.database_loaded))]
    Blobs { faults: BlobFaults, database_loaded: bool },
    #[error("the restored database can't be settled")]
    Settle(#[source] sqlx::Error),
}

impl RestoreError {
    /// What the operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Backup(error) => error.advice(),
            Self::Unreachable(_) => "check that the server runs and the URL is right",
            Self::IsSource(_) => "restore into a new database and a new folder; the source is never overwritten",
            Self::DatabaseNotEmpty(_) => "create a new database and name it in the target's configuration",
            Self::ObjectsNotEmpty => "name a new folder in the target's configuration",
            Self::OlderPostgres { .. } => "restore into the source's version of Postgres, or a later one",
            Self::Encoding { .. } => "create the target database with the source's encoding",
            Self::Objects(_) => "check the path, its permissions and the space on its disk",
            Self::Role { .. } => "let a superuser of the target's server run CREATE ROLE with its name, without login",
            Self::Load(ToolError::Start { .. }) => {
                "install Postgres' client programs, on Debian with `apt-get install postgresql-15`"
            }
            Self::Load(_) => "see what pg_restore says; the target database is empty as before",
            Self::Blobs { .. } => "check the space on the disk; restore again into a new database",
            Self::Settle(_) => "look at the server's log; restore again into a new database",
        }
    }
}

fn after(database_loaded: bool) -> &'static str {
    if database_loaded { " after the database was loaded" } else { "" }
}

/// The setting that a restored database carries until its generation is begun: the backup's id.
const GENERATION_PENDING: &str = "cowork.generation_pending";
/// And the instant of its snapshot: what happened since, the rows don't know.
const RESTORED_AS_OF: &str = "cowork.restored_as_of";

/// Restores. Dropping the future gives it up, and takes away what it had copied.
///
/// # Errors
/// Before anything was written, if the backup is not whole or the target not fit.
pub async fn restore(request: RestoreRequest, progress: Arc<dyn Progress>) -> Result<RestoreDone, RestoreError> {
    let start = Instant::now();
    check_target(&request).await?;
    let blobs = Arc::new(verify(&request.backup, progress.clone()).await.map_err(RestoreError::Backup)?);
    let verified = start.elapsed();

    let mut placing = Placing::begin(&request.objects, blobs.clone()).map_err(RestoreError::Objects)?;
    let loaded = AtomicBool::new(false);
    let database = async {
        let start = Instant::now();
        forbid_roles(&request).await.map_err(RestoreError::Settle)?;
        make_roles(&request).await?;
        load(&request, progress.as_ref()).await?;
        loaded.store(true, Ordering::Relaxed);
        settle(&request.database_url).await.map_err(RestoreError::Settle)?;
        Ok::<_, RestoreError>(start.elapsed())
    };
    let objects = async {
        let start = Instant::now();
        progress.begin(Step::PlaceBlobs, request.backup.manifest.blobs.bytes);
        let placed = blobs::place(request.backup.archive(), &request.objects, blobs.clone(), progress.clone()).await;
        placed.map_err(|faults| RestoreError::Blobs { faults, database_loaded: loaded.load(Ordering::Relaxed) })?;
        flush(&request.objects).await.map_err(RestoreError::Objects)?;
        progress.end(Step::PlaceBlobs, &format!("{} blobs", blobs.len()));
        Ok::<_, RestoreError>(start.elapsed())
    };
    let (database, objects) = tokio::try_join!(database, objects)?;
    placing.keep();
    let blob_bytes = request.backup.manifest.blobs.bytes;
    let blobs = blobs.len() as u64;
    Ok(RestoreDone { blobs, blob_bytes, verify: verified, database, objects, total: start.elapsed() })
}

/// Looks only.
async fn check_target(request: &RestoreRequest) -> Result<(), RestoreError> {
    let source = &request.backup.manifest.source;
    let mut connection = PgConnection::connect(&request.database_url).await.map_err(RestoreError::Unreachable)?;
    digest::pin(&mut connection).await.map_err(RestoreError::Unreachable)?;
    let target = snapshot::source(&mut connection, &request.objects).await.map_err(RestoreError::Unreachable)?;
    let occupants: Option<String> =
        sqlx::query_scalar(OCCUPANTS).fetch_one(&mut connection).await.map_err(RestoreError::Unreachable)?;
    connection.close().await.map_err(RestoreError::Unreachable)?;
    check_apart(source, &target)?;
    if let Some(occupants) = occupants {
        return Err(RestoreError::DatabaseNotEmpty(occupants));
    }
    match std::fs::read_dir(&request.objects).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(RestoreError::ObjectsNotEmpty),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(RestoreError::Objects(error)),
    }
}

fn check_apart(source: &Source, target: &Source) -> Result<(), RestoreError> {
    let database = |place: &Source| (place.system_identifier.clone(), place.database_oid);
    if database(source) == database(target) {
        return Err(RestoreError::IsSource("database"));
    }
    if !target.objects_id.is_empty() && source.objects_id == target.objects_id {
        return Err(RestoreError::IsSource("object folder"));
    }
    if target.postgres_version_num / 10_000 < source.postgres_version_num / 10_000 {
        let (target, source_version) = (target.postgres_version.clone(), source.postgres_version.clone());
        return Err(RestoreError::OlderPostgres { target, source_version });
    }
    if target.encoding != source.encoding {
        let (target, source_encoding) = (target.encoding.clone(), source.encoding.clone());
        return Err(RestoreError::Encoding { target, source_encoding });
    }
    Ok(())
}

/// Marks the database, before it holds a single row, as one that no role may serve until a generation is begun: a
/// restore that dies half way, or is left without its last step, must not wake up as the system that it is a copy of.
/// A setting of the database, so that no table differs from the backup.
async fn forbid_roles(request: &RestoreRequest) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(&request.database_url).await?;
    let set = |name: &str, value: &str| {
        format!("EXECUTE format('ALTER DATABASE %I SET {name} = %L', current_database(), '{value}');")
    };
    let pending = set(GENERATION_PENDING, &request.backup.id().to_string());
    let as_of = set(RESTORED_AS_OF, &request.backup.manifest.snapshot.taken_at.to_rfc3339());
    let sql = format!("-- restore_forbid_roles\nDO $$ BEGIN {pending} {as_of} END $$");
    connection.execute(AssertSqlSafe(sql)).await?;
    connection.close().await
}

/// Makes the roles that grants of the backup name, where the server lacks them: without login and without a password, so that they
/// open nothing by themselves. One that is there stays as it is.
async fn make_roles(request: &RestoreRequest) -> Result<(), RestoreError> {
    let mut connection = PgConnection::connect(&request.database_url).await.map_err(RestoreError::Unreachable)?;
    for role in catalogue::grantees(&request.backup.manifest.catalogue) {
        let sql = "-- restore_role
            SELECT CASE WHEN to_regrole(quote_ident($1)) IS NULL THEN format('CREATE ROLE %I NOLOGIN', $1) END";
        let make: Option<String> =
            sqlx::query_scalar(sql).bind(role).fetch_one(&mut connection).await.map_err(RestoreError::Unreachable)?;
        let Some(make) = make else { continue };
        match connection.execute(AssertSqlSafe(make)).await {
            // Another restore on the same server was quicker.
            Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42710" | "23505")) => {}
            made => {
                made.map_err(|source| RestoreError::Role { role: role.to_owned(), source })?;
            }
        }
    }
    connection.close().await.map_err(RestoreError::Unreachable)
}

/// `pg_restore` in one transaction. Serial: two jobs on two cores were slower, and can't share a transaction.
async fn load(request: &RestoreRequest, progress: &dyn Progress) -> Result<(), RestoreError> {
    let tables = &request.backup.manifest.tables;
    progress.begin(Step::Database, tables.iter().fold(0, |sum, table| table.bytes.saturating_add(sum)));
    let mut command = tools::command(&request.tools.pg_restore, &request.database_url);
    command.args(["--exit-on-error", "--single-transaction", "--no-owner", "--verbose"]).arg(request.backup.dump());
    let mut current = 0;
    let mut on_line = |line: &str| {
        if let Some(bytes) = table_of(line, tables) {
            progress.advance(Step::Database, std::mem::replace(&mut current, bytes));
        }
    };
    tools::run("pg_restore", command, &mut on_line).await.map_err(RestoreError::Load)?;
    progress.advance(Step::Database, current);
    progress.end(Step::Database, &format!("{} tables", tables.len()));
    Ok(())
}

/// The size of the table that a line of `pg_restore --verbose` begins with.
fn table_of(line: &str, tables: &[Table]) -> Option<u64> {
    let (_, name) = line.split_once("processing data for table \"")?;
    let name = name.trim_end_matches('"');
    let found = tables.iter().find(|table| name.strip_prefix(&table.schema) == Some(&format!(".{}", table.name)));
    Some(found.map_or(0, |table| table.bytes))
}

/// A freshly loaded database knows nothing of its own sizes, and would plan badly until it notices.
async fn settle(url: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("-- restore_settle\nANALYZE").await?;
    connection.close().await
}

/// One flush of the file system instead of one per object.
async fn flush(folder: &Path) -> std::io::Result<()> {
    let folder = folder.to_owned();
    let work = move || nix::unistd::syncfs(File::open(folder)?).map_err(std::io::Error::from);
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Takes away what was placed, unless it is kept.
struct Placing {
    folder: PathBuf,
    /// Whether the folder was there before.
    existed: bool,
    blobs: Arc<Vec<BlobEntry>>,
    kept: bool,
}

impl Placing {
    fn begin(folder: &Path, blobs: Arc<Vec<BlobEntry>>) -> std::io::Result<Self> {
        let existed = folder.exists();
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), existed, blobs, kept: false })
    }

    fn keep(&mut self) {
        self.kept = true;
    }

    /// Files first, then the folders that this leaves empty: what is not ours stays.
    fn clear(&self) {
        for blob in self.blobs.iter() {
            let Ok(path) = blobs::object_path(&self.folder, &blob.key) else { continue };
            let _ = std::fs::remove_file(&path);
            for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.folder) {
                if std::fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        if !self.existed {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

impl Drop for Placing {
    fn drop(&mut self) {
        if !self.kept {
            self.clear();
        }
    }
}

impl From<ArchiveError> for RestoreError {
    fn from(error: ArchiveError) -> Self {
        Self::Backup(VerifyError::Archive(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_pg_restore_names_its_table() {
        let table = Table {
            schema: "public".to_owned(),
            name: "events".to_owned(),
            rows: 1,
            bytes: 7,
            digest: String::new(),
            columns: Vec::new(),
            sql: String::new(),
            filter_reason: None,
        };
        let line = "pg_restore: processing data for table \"public.events\"";
        assert_eq!(table_of(line, std::slice::from_ref(&table)), Some(7));
        assert_eq!(table_of("pg_restore: creating INDEX \"public.events_idx\"", &[table]), None);
    }
}
