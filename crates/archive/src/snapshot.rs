//! The consistency point: one exported Postgres snapshot that the dump, the digests and the probes share.
//!
//! While it is held, vacuum on the source can't clean up after queues, so a backup lets it go as soon as the rows are
//! read and says how long that took. Not here: blobs. Those that the snapshot names are copied afterwards, for a blob
//! outlives every row that names it by more than a backup takes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Instant, UNIX_EPOCH};

use clock::Timestamp;
use ids::SystemId;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use crate::digest;
use crate::manifest::{Source, System};

const FACTS: &str = include_str!("snapshot/facts.sql");

/// A read-only transaction, and the name under which others can share what it sees.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) connection: PgConnection,
    pub(crate) name: String,
    pub(crate) taken_at: Timestamp,
    pub(crate) wal_lsn: String,
    since: Instant,
}

impl Held {
    /// Takes the snapshot.
    pub(crate) async fn take(url: &str) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect(url).await?;
        digest::pin(&mut connection).await?;
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let since = Instant::now();
        let row = sqlx::query(
            "-- snapshot_take
            SELECT pg_export_snapshot() AS name, statement_timestamp() AS taken_at,
                   (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text
                       AS wal_lsn",
        )
        .fetch_one(&mut connection)
        .await?;
        let (name, taken_at, wal_lsn) = (row.try_get("name")?, row.try_get("taken_at")?, row.try_get("wal_lsn")?);
        Ok(Self { connection, name, taken_at, wal_lsn, since })
    }

    /// Another connection that sees the same.
    pub(crate) async fn share(&self, url: &str) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect(url).await?;
        digest::pin(&mut connection).await?;
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let adopt = format!("SET TRANSACTION SNAPSHOT '{}'", self.name);
        connection.execute(AssertSqlSafe(adopt)).await?;
        Ok(connection)
    }

    /// Lets it go, and says for how many milliseconds it was held.
    pub(crate) async fn release(mut self) -> Result<u64, sqlx::Error> {
        self.connection.execute("COMMIT").await?;
        let held = self.since.elapsed();
        self.connection.close().await?;
        Ok(u64::try_from(held.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What a server says of itself and of the database.
pub(crate) async fn source(connection: &mut PgConnection, objects: &Path) -> Result<Source, sqlx::Error> {
    let row = sqlx::query(FACTS).fetch_one(connection).await?;
    let oid: i64 = row.try_get("database_oid")?;
    Ok(Source {
        postgres_version: row.try_get("postgres_version")?,
        postgres_version_num: row.try_get("postgres_version_num")?,
        system_identifier: row.try_get("system_identifier")?,
        database: row.try_get("database")?,
        database_oid: u32::try_from(oid).map_err(|error| sqlx::Error::Decode(error.into()))?,
        encoding: row.try_get("encoding")?,
        collation: row.try_get("collation")?,
        objects_id: objects_id(objects),
    })
}

/// The row that `sql` of the spec gives; `None`: the system was never initialised.
pub(crate) async fn system(
    connection: &mut PgConnection,
    sql: &str,
    build: &str,
) -> Result<Option<System>, sqlx::Error> {
    let Some(row) = sqlx::query(AssertSqlSafe(sql)).fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(System {
        system_id: SystemId::from(row.try_get::<Uuid, _>("system_id")?),
        generation: row.try_get("generation")?,
        environment: row.try_get("environment")?,
        schema_version: row.try_get("schema_version")?,
        build: build.to_owned(),
    }))
}

/// Tells one folder from another without naming its path: a digest of its device, number and time of birth. A folder
/// that was removed and made anew is another one. Empty for a folder that isn't there.
pub(crate) fn objects_id(folder: &Path) -> String {
    let Ok(facts) = std::fs::metadata(folder) else { return String::new() };
    let born = facts.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let text = format!("cowork objects folder {} {} {}", facts.dev(), facts.ino(), born.as_nanos());
    hex::encode(&Sha256::digest(text)[..16])
}
