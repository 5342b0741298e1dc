//! Checkpoints: which objects hold an agent's saved workspace and state.
//!
//! Not here: their content (`objects::checkpoint`).

use clock::Timestamp;
use ids::{CheckpointId, OrgId, SessionId};

use crate::blob::BlobRow;
use crate::{Store, StoreError};

/// A checkpoint whose objects are durable, to be recorded when its turn ends.
#[derive(Debug, Clone)]
pub struct NewCheckpoint {
    pub checkpoint: CheckpointId,
    pub manifest: BlobRow,
    pub files: Vec<BlobRow>,
    /// When its saving began.
    pub since: Timestamp,
}

/// A recorded checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub org: OrgId,
    pub checkpoint: CheckpointId,
    pub session: SessionId,
    /// The newest event that it covers.
    pub sequence: i64,
    pub manifest: BlobRow,
}

/// A row of every statement here that gives out checkpoints.
struct CheckpointRow {
    org_id: OrgId,
    checkpoint_id: CheckpointId,
    session_id: SessionId,
    sequence: i64,
    manifest_key: String,
    size: i64,
    sha256: Vec<u8>,
}

impl From<CheckpointRow> for Checkpoint {
    fn from(row: CheckpointRow) -> Self {
        Self {
            org: row.org_id,
            checkpoint: row.checkpoint_id,
            session: row.session_id,
            sequence: row.sequence,
            manifest: BlobRow { key: row.manifest_key, size: row.size, sha256: row.sha256 },
        }
    }
}

impl Store {
    /// The checkpoint that a session goes on from.
    pub async fn checkpoint_by_id(
        &self,
        org: OrgId,
        checkpoint: CheckpointId,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let row = sqlx::query_as!(
            CheckpointRow,
            r#"-- checkpoint_by_id
            SELECT checkpoints.org_id AS "org_id: OrgId", checkpoint_id AS "checkpoint_id: CheckpointId",
                session_id AS "session_id: SessionId", sequence, manifest_key, size, sha256
            FROM checkpoints JOIN blobs ON blobs.org_id = checkpoints.org_id AND blob_key = manifest_key
            WHERE checkpoints.org_id = $1 AND checkpoint_id = $2"#,
            org as OrgId,
            checkpoint as CheckpointId,
        )
        .fetch_optional(self.of(org))
        .await;
        Ok(row.map_err(StoreError::during("checkpoint_by_id"))?.map(Checkpoint::from))
    }

    /// All checkpoints of all orgs, a page at a time: those past `after`, at most `limit`.
    pub async fn checkpoints_all(
        &self,
        after: Option<(OrgId, CheckpointId)>,
        limit: i64,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let (org, checkpoint) = after.unwrap_or((uuid::Uuid::nil().into(), uuid::Uuid::nil().into()));
        let rows = sqlx::query_as!(
            CheckpointRow,
            r#"-- checkpoints_all
            SELECT checkpoints.org_id AS "org_id: OrgId", checkpoint_id AS "checkpoint_id: CheckpointId",
                session_id AS "session_id: SessionId", sequence, manifest_key, size, sha256
            FROM checkpoints JOIN blobs ON blobs.org_id = checkpoints.org_id AND blob_key = manifest_key
            WHERE (checkpoints.org_id, checkpoint_id) > ($1, $2)
            ORDER BY checkpoints.org_id, checkpoint_id LIMIT $3"#,
            org as OrgId,
            checkpoint as CheckpointId,
            limit,
        )
        .fetch_all(self.everywhere())
        .await;
        Ok(rows.map_err(StoreError::during("checkpoints_all"))?.into_iter().map(Checkpoint::from).collect())
    }
}
