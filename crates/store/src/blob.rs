//! Blobs: the objects that rows name.
//!
//! Not here: the objects themselves (crate `objects`). A blob is durable there before it is recorded here.

use chrono::TimeDelta;
use clock::Timestamp;
use ids::OrgId;
use sqlx::PgConnection;

/// An object as a row names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRow {
    pub key: String,
    /// Bytes as stored.
    pub size: i64,
    /// 32 bytes.
    pub sha256: Vec<u8>,
}

/// How far the clocks of those who save and those who delete may be apart.
pub(crate) const SKEW: TimeDelta = TimeDelta::seconds(10);

/// Records `blobs`, those that are not yet. Sorted by key, so that two checkpoints with common files can't deadlock.
///
/// `since` is when their saving began. An object whose deletion (`blob_deletion`) began after that may have been seen there
/// and be gone by now: it is not recorded, and the row that would name it is refused. Who saves again, stores it anew.
pub(crate) async fn record(
    connection: &mut PgConnection,
    org: OrgId,
    mut blobs: Vec<&BlobRow>,
    since: Timestamp,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    blobs.sort_by(|a, b| a.key.cmp(&b.key));
    let keys: Vec<String> = blobs.iter().map(|blob| blob.key.clone()).collect();
    let sizes: Vec<i64> = blobs.iter().map(|blob| blob.size).collect();
    let hashes: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.sha256.clone()).collect();
    sqlx::query!(
        "-- blob_record
        WITH doomed AS (
            SELECT blob_key, state, deleted_at FROM blob_deletions
            WHERE org_id = $1 AND blob_key = ANY ($2) ORDER BY blob_key FOR UPDATE
        ), spared AS (
            DELETE FROM blob_deletions USING doomed
            WHERE org_id = $1 AND blob_deletions.blob_key = doomed.blob_key AND doomed.state = 'waiting'
        )
        INSERT INTO blobs (org_id, blob_key, size, sha256, created_at)
        SELECT $1, blob.key, blob.size, blob.sha256, $5
        FROM unnest($2::text[], $3::bigint[], $4::bytea[]) AS blob (key, size, sha256)
        WHERE NOT EXISTS (
            SELECT FROM doomed
            WHERE doomed.blob_key = blob.key AND (state = 'deleting' OR deleted_at >= $6))
        ON CONFLICT (org_id, blob_key) DO NOTHING",
        org as OrgId,
        &keys,
        &sizes,
        &hashes,
        now,
        since - SKEW,
    )
    .execute(connection)
    .await?;
    Ok(())
}
