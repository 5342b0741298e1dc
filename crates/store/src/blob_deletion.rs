//! Objects that no row names any more, until they are gone.
//!
//! A backup copies the objects that its snapshot names, after the snapshot was let go; so an object outlives its last name by
//! [`GRACE`], which is longer than a backup takes. And a worker that saves the same content again finds the object there
//! and does not store it a second time; so whoever names an object (`blob::record`) looks here first: a deletion that has
//! not begun is called off, and one that began since the worker looked makes the worker save again.
//!
//! Not here: deleting the object (`objects`), doing so in time (crate `scheduler`).

use chrono::TimeDelta;
use clock::Timestamp;
use ids::OrgId;
use sqlx::postgres::PgTransaction;
use sqlx::{PgConnection, PgExecutor};

use crate::{Store, StoreError};

/// How long an object that no row names waits. Longer than a backup takes.
pub const GRACE: TimeDelta = TimeDelta::hours(24);
/// How long it stays known that an object was deleted. Longer than a worker takes to save.
const KNOWN_FOR: TimeDelta = TimeDelta::hours(24);

/// An object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDeletion {
    pub org: OrgId,
    pub key: String,
}

/// Takes those of the blobs that nothing names any more out of the rows. Gives back how many.
pub(crate) async fn doom(
    tx: &mut PgConnection,
    org: OrgId,
    keys: &[String],
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let doomed = sqlx::query!(
        "-- blob_doom
        WITH unnamed AS (
            DELETE FROM blobs WHERE org_id = $1 AND blob_key = ANY ($2)
                AND NOT EXISTS (SELECT FROM artifacts AS a WHERE a.org_id = $1 AND a.blob_key = blobs.blob_key)
                AND NOT EXISTS (SELECT FROM checkpoints AS c WHERE c.org_id = $1 AND c.manifest_key = blobs.blob_key)
                AND NOT EXISTS (SELECT FROM checkpoint_blobs AS f WHERE f.org_id = $1 AND f.blob_key = blobs.blob_key)
                AND NOT EXISTS (SELECT FROM project_sources AS s WHERE s.org_id = $1 AND s.blob_key = blobs.blob_key)
                AND NOT EXISTS (SELECT FROM upload_parts AS p WHERE p.org_id = $1 AND p.blob_key = blobs.blob_key)
            RETURNING blob_key
        )
        INSERT INTO blob_deletions (org_id, blob_key, state, due_at) SELECT $1, blob_key, 'waiting', $3 FROM unnamed
        ON CONFLICT (org_id, blob_key) DO UPDATE SET state = 'waiting', due_at = $3, deleted_at = NULL",
        org as OrgId,
        keys,
        now + GRACE,
    )
    .execute(tx)
    .await?;
    Ok(doomed.rows_affected())
}

/// Objects whose time has come. While this is held, nobody else deletes them, and nobody names them.
#[derive(Debug)]
pub struct Deletions {
    tx: PgTransaction<'static>,
    pub due: Vec<DueDeletion>,
    now: Timestamp,
}

impl Store {
    /// At most `limit` objects to delete now, those first whose deletion somebody began and did not finish.
    pub async fn blob_deletions_take(&self, limit: i64) -> Result<Deletions, StoreError> {
        let during = || StoreError::during("blob_deletions_take");
        let now = self.sources.now();
        // Committed before the first object goes: whoever dies in between leaves a trace that nobody names the object.
        begin(self.everywhere(), now, limit).await.map_err(during())?;
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        let due = sqlx::query_as!(
            DueDeletion,
            r#"-- blob_deletions_take
            SELECT org_id AS "org: OrgId", blob_key AS key FROM blob_deletions
            WHERE state = 'deleting' ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED"#,
            limit,
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(during())?;
        Ok(Deletions { tx, due, now })
    }

    /// Forgets deletions that no worker can have missed, and those that came to nothing.
    pub async fn blob_deletions_forget(&self) -> Result<(), StoreError> {
        sqlx::query!(
            "-- blob_deletions_forget
            DELETE FROM blob_deletions
            WHERE due_at <= $1 AND (state = 'deleted' OR state = 'waiting' AND EXISTS (SELECT FROM blobs
                WHERE blobs.org_id = blob_deletions.org_id AND blobs.blob_key = blob_deletions.blob_key))",
            self.sources.now(),
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("blob_deletions_forget"))?;
        Ok(())
    }
}

impl Deletions {
    /// The objects are gone.
    pub async fn done(mut self) -> Result<(), StoreError> {
        let during = || StoreError::during("blob_deletions_done");
        let orgs: Vec<uuid::Uuid> = self.due.iter().map(|deletion| deletion.org.into()).collect();
        let keys: Vec<String> = self.due.iter().map(|deletion| deletion.key.clone()).collect();
        sqlx::query!(
            "-- blob_deletions_done
            UPDATE blob_deletions AS deletions SET state = 'deleted', deleted_at = $3, due_at = $4
            FROM unnest($1::uuid[], $2::text[]) AS gone (org_id, blob_key)
            WHERE deletions.org_id = gone.org_id AND deletions.blob_key = gone.blob_key",
            &orgs,
            &keys,
            self.now,
            self.now + KNOWN_FOR,
        )
        .execute(&mut *self.tx)
        .await
        .map_err(during())?;
        self.tx.commit().await.map_err(during())
    }
}

async fn begin(executor: impl PgExecutor<'_>, now: Timestamp, limit: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- blob_deletions_begin
        WITH due AS (
            SELECT org_id, blob_key FROM blob_deletions
            WHERE due_at <= $1 AND state = 'waiting'
                -- A turn whose snapshot was older than this deletion has named the object since, and could not call it off.
                AND NOT EXISTS (SELECT FROM blobs WHERE blobs.org_id = blob_deletions.org_id
                    AND blobs.blob_key = blob_deletions.blob_key)
            ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        UPDATE blob_deletions AS deletions SET state = 'deleting' FROM due
        WHERE deletions.org_id = due.org_id AND deletions.blob_key = due.blob_key",
        now,
        limit,
    )
    .execute(executor)
    .await?;
    Ok(())
}
