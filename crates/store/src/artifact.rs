//! Artifacts: files that a session produced for people.
//!
//! Not here: their bytes (crate `objects`), the event that announces one (`turn`).

use clock::{Sources, Timestamp};
use domain::quota::UsageKind;
use ids::{ArtifactId, OrgId, SessionId};
use sqlx::PgConnection;

use crate::blob::{self, BlobRow};
use crate::{Store, StoreError, usage};

/// An artifact whose blob is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArtifact {
    pub artifact: ArtifactId,
    pub name: String,
    pub media_type: String,
    pub blob: BlobRow,
}

/// A recorded artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    pub artifact_id: ArtifactId,
    pub session_id: SessionId,
    pub name: String,
    pub media_type: String,
    pub blob_key: String,
    /// Bytes.
    pub size: i64,
    /// 32 bytes.
    pub sha256: Vec<u8>,
    pub created_at: Timestamp,
}

/// Records an artifact and meters its bytes, in the transaction of its event.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    session: SessionId,
    new: &NewArtifact,
) -> Result<(), sqlx::Error> {
    let now = sources.now();
    // An artifact's key is its own: nobody else ever stored it.
    blob::record(connection, org, vec![&new.blob], now, now).await?;
    sqlx::query!(
        "-- artifact_insert
        INSERT INTO artifacts (org_id, artifact_id, session_id, name, media_type, blob_key, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)",
        org as OrgId,
        new.artifact as ArtifactId,
        session as SessionId,
        new.name,
        new.media_type,
        new.blob.key,
        now,
    )
    .execute(&mut *connection)
    .await?;
    usage::record(connection, sources, org, new.artifact.into(), UsageKind::ArtifactBytes, new.blob.size).await
}

impl Store {
    pub async fn artifact_by_id(&self, org: OrgId, artifact: ArtifactId) -> Result<Option<Artifact>, StoreError> {
        sqlx::query_as!(
            Artifact,
            r#"-- artifact_by_id
            SELECT artifact_id AS "artifact_id: ArtifactId", session_id AS "session_id: SessionId", name, media_type,
                blob_key, size, sha256, artifacts.created_at
            FROM artifacts JOIN blobs USING (org_id, blob_key)
            WHERE org_id = $1 AND artifact_id = $2"#,
            org as OrgId,
            artifact as ArtifactId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("artifact_by_id"))
    }

    /// An org's artifacts past `after`, oldest first; of one session, if it is named.
    pub async fn artifacts_list(
        &self,
        org: OrgId,
        session: Option<SessionId>,
        after: Option<ArtifactId>,
        limit: i64,
    ) -> Result<Vec<Artifact>, StoreError> {
        let after = after.unwrap_or(uuid::Uuid::nil().into());
        let listed = match session {
            Some(session) => self.artifacts_of_session(org, session, after, limit).await,
            None => self.artifacts_of_org(org, after, limit).await,
        };
        listed.map_err(StoreError::during("artifacts_list"))
    }

    async fn artifacts_of_org(&self, org: OrgId, after: ArtifactId, limit: i64) -> Result<Vec<Artifact>, sqlx::Error> {
        sqlx::query_as!(
            Artifact,
            r#"-- artifacts_of_org
            SELECT artifact_id AS "artifact_id: ArtifactId", session_id AS "session_id: SessionId", name, media_type,
                blob_key, size, sha256, artifacts.created_at
            FROM artifacts JOIN blobs USING (org_id, blob_key)
            WHERE org_id = $1 AND artifact_id > $2 ORDER BY artifact_id LIMIT $3"#,
            org as OrgId,
            after as ArtifactId,
            limit.clamp(1, 1_000),
        )
        .fetch_all(self.of(org))
        .await
    }

    async fn artifacts_of_session(
        &self,
        org: OrgId,
        session: SessionId,
        after: ArtifactId,
        limit: i64,
    ) -> Result<Vec<Artifact>, sqlx::Error> {
        sqlx::query_as!(
            Artifact,
            r#"-- artifacts_of_session
            SELECT artifact_id AS "artifact_id: ArtifactId", session_id AS "session_id: SessionId", name, media_type,
                blob_key, size, sha256, artifacts.created_at
            FROM artifacts JOIN blobs USING (org_id, blob_key)
            WHERE org_id = $1 AND session_id = $2 AND artifact_id > $3 ORDER BY artifact_id LIMIT $4"#,
            org as OrgId,
            session as SessionId,
            after as ArtifactId,
            limit.clamp(1, 1_000),
        )
        .fetch_all(self.of(org))
        .await
    }
}
