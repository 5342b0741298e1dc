//! Blobs: the objects that rows name.
//!
//! Not here: the objects themselves (crate `objects`). A blob is durable there before it is recorded here.

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

/// Records `blobs`, those that are not yet. Sorted by key, so that two checkpoints with common files can't deadlock.
pub(crate) async fn record(
    connection: &mut PgConnection,
    org: OrgId,
    mut blobs: Vec<&BlobRow>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    blobs.sort_by(|a, b| a.key.cmp(&b.key));
    let keys: Vec<String> = blobs.iter().map(|blob| blob.key.clone()).collect();
    let sizes: Vec<i64> = blobs.iter().map(|blob| blob.size).collect();
    let hashes: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.sha256.clone()).collect();
    sqlx::query!(
        "-- blob_record
        INSERT INTO blobs (org_id, blob_key, size, sha256, created_at)
        SELECT $1, blob.key, blob.size, blob.sha256, $5
        FROM unnest($2::text[], $3::bigint[], $4::bytea[]) AS blob (key, size, sha256)
        ON CONFLICT (org_id, blob_key) DO NOTHING",
        org as OrgId,
        &keys,
        &sizes,
        &hashes,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}
