//! Uploads: files that people send in parts, to a session or to be a project source.
//!
//! A part is a blob, durable before its row. When all are there and their content is what was declared, it is stored as one
//! object, and one transaction makes it an artifact and dooms the parts. What nobody completes is forgotten a day after it
//! began, parts and all.
//!
//! Not here: how a file is cut (`domain::upload`), storing and hashing (`web`).

use chrono::TimeDelta;
use clock::Timestamp;
use ids::{ArtifactId, OrgId, SessionId, UploadId};
use serde_json::json;
use sqlx::PgConnection;

use crate::artifact::{self, NewArtifact};
use crate::blob::{self, BlobRow};
use crate::{Store, StoreError, audit, blob_deletion, idempotency};

/// How long an upload is kept, complete or not.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// Uploads of an org that are not complete. Each may hold 256 MiB.
pub const OPEN_UPLOADS_MAX: i64 = 100;
/// Uploads that one sweep forgets.
const SWEEP: i64 = 100;

/// A file that somebody begins to send.
#[derive(Debug, Clone)]
pub struct NewUpload {
    pub org: OrgId,
    /// `None`: it is to be a project source.
    pub session: Option<SessionId>,
    pub name: String,
    pub media_type: String,
    /// Bytes of the whole.
    pub size: i64,
    /// 32 bytes.
    pub sha256: Vec<u8>,
}

/// An upload with the parts that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub upload_id: UploadId,
    /// `None`: it is to be a project source.
    pub session_id: Option<SessionId>,
    pub name: String,
    pub media_type: String,
    pub size: i64,
    pub sha256: Vec<u8>,
    /// `None`: it is not complete.
    pub artifact_id: Option<ArtifactId>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// In order.
    pub parts: Vec<UploadPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPart {
    /// From 1.
    pub part: i32,
    pub blob: BlobRow,
}

/// Why an upload stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the org has no such session")]
    NoSuchSession,
    #[error("the org has no such upload")]
    NoSuchUpload,
    #[error("the org has {OPEN_UPLOADS_MAX} uploads that are not complete")]
    TooMany,
    #[error("the upload is complete")]
    Complete,
    #[error("the upload belongs to no session")]
    NoSession,
    #[error("this part was sent with another content")]
    OtherContent,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Begins an upload to a session.
    pub async fn upload_create(&self, new: &NewUpload) -> Result<Upload, UploadError> {
        let during = || StoreError::during("upload_create");
        let now = self.sources.now();
        let upload: UploadId = self.sources.id();
        let mut tx = self.begin_of(new.org).await.map_err(during())?;
        if let Some(session) = new.session {
            lock_session(&mut tx, new.org, session).await.map_err(during())?.ok_or(UploadError::NoSuchSession)?;
        }
        // Uploads to one session come one after the other here; those of several may be a few more than allowed.
        if open(&mut tx, new.org).await.map_err(during())? >= OPEN_UPLOADS_MAX {
            return Err(UploadError::TooMany);
        }
        // No audit record does it for this one: it is no artifact yet.
        idempotency::mark(&mut tx).await.map_err(during())?;
        sqlx::query!(
            "-- upload_create
            INSERT INTO uploads (org_id, upload_id, session_id, name, media_type, size, sha256, created_at, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            new.org as OrgId,
            upload as UploadId,
            new.session as Option<SessionId>,
            new.name,
            new.media_type,
            new.size,
            new.sha256,
            now,
            now + KEPT,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Upload {
            upload_id: upload,
            session_id: new.session,
            name: new.name.clone(),
            media_type: new.media_type.clone(),
            size: new.size,
            sha256: new.sha256.clone(),
            artifact_id: None,
            created_at: now,
            expires_at: now + KEPT,
            parts: Vec::new(),
        })
    }

    pub async fn upload_get(&self, org: OrgId, upload: UploadId) -> Result<Option<Upload>, StoreError> {
        let during = || StoreError::during("upload_get");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let found = load(&mut tx, org, upload).await.map_err(during())?;
        let Some(mut found) = found else { return Ok(None) };
        found.parts = parts(&mut tx, org, upload).await.map_err(during())?;
        Ok(Some(found))
    }

    /// Notes a part whose blob is durable; its saving began at `since`. A repeat with the same content changes nothing.
    pub async fn upload_part_put(
        &self,
        org: OrgId,
        upload: UploadId,
        part: &UploadPart,
        since: Timestamp,
    ) -> Result<(), UploadError> {
        let during = || StoreError::during("upload_part_put");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        if load(&mut tx, org, upload).await.map_err(during())?.ok_or(UploadError::NoSuchUpload)?.artifact_id.is_some() {
            return Err(UploadError::Complete);
        }
        blob::record(&mut tx, org, vec![&part.blob], since, self.sources.now()).await.map_err(during())?;
        let key = sqlx::query_scalar!(
            "-- upload_part_put
            INSERT INTO upload_parts (org_id, upload_id, part, blob_key) VALUES ($1, $2, $3, $4)
            ON CONFLICT (org_id, upload_id, part) DO UPDATE SET blob_key = upload_parts.blob_key
            RETURNING blob_key",
            org as OrgId,
            upload as UploadId,
            part.part,
            part.blob.key,
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        if key != part.blob.key {
            return Err(UploadError::OtherContent);
        }
        Ok(tx.commit().await.map_err(during())?)
    }

    /// Makes an upload an artifact, whose blob is durable and has the declared size and hash. Gives back the artifact that it
    /// became: another one, if somebody was faster.
    pub async fn upload_complete(
        &self,
        org: OrgId,
        upload: UploadId,
        new: &NewArtifact,
        actor: &str,
    ) -> Result<ArtifactId, UploadError> {
        let during = || StoreError::during("upload_complete");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let found = load(&mut tx, org, upload).await.map_err(during())?.ok_or(UploadError::NoSuchUpload)?;
        if let Some(artifact) = found.artifact_id {
            return Ok(artifact);
        }
        let session = found.session_id.ok_or(UploadError::NoSession)?;
        artifact::insert(&mut tx, &self.sources, org, session, new).await.map_err(during())?;
        sqlx::query!(
            "-- upload_complete
            UPDATE uploads SET artifact_id = $3 WHERE org_id = $1 AND upload_id = $2",
            org as OrgId,
            upload as UploadId,
            new.artifact as ArtifactId,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        take_parts(&mut tx, org, &[upload], self.sources.now()).await.map_err(during())?;
        let (target, detail) = (format!("artifact:{}", new.artifact), json!({"session_id": session}));
        let recorded = audit::record(&mut tx, &self.sources, org, actor, "artifact.upload", &target, detail);
        recorded.await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(new.artifact)
    }

    /// Gives an upload up. An artifact that it became stays.
    pub async fn upload_delete(&self, org: OrgId, upload: UploadId) -> Result<(), UploadError> {
        let during = || StoreError::during("upload_delete");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        load(&mut tx, org, upload).await.map_err(during())?.ok_or(UploadError::NoSuchUpload)?;
        forget(&mut tx, org, &[upload], self.sources.now()).await.map_err(during())?;
        Ok(tx.commit().await.map_err(during())?)
    }

    /// Forgets uploads whose time is over, a bounded number of them. Gives back how many.
    pub async fn uploads_sweep(&self) -> Result<u64, StoreError> {
        let during = || StoreError::during("uploads_sweep");
        let now = self.sources.now();
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        let due = sqlx::query!(
            r#"-- uploads_sweep
            SELECT org_id AS "org: OrgId", upload_id AS "upload: UploadId" FROM uploads
            WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED"#,
            now,
            SWEEP,
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(during())?;
        for row in &due {
            forget(&mut tx, row.org, &[row.upload], now).await.map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        Ok(due.len() as u64)
    }
}

/// Those of a session that is erased, with its row locked. Gives back how many blobs went.
pub(crate) async fn erase(
    tx: &mut PgConnection,
    org: OrgId,
    session: SessionId,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let uploads = sqlx::query_scalar!(
        r#"-- upload_erase
        SELECT upload_id AS "upload_id: UploadId" FROM uploads WHERE org_id = $1 AND session_id = $2 FOR UPDATE"#,
        org as OrgId,
        session as SessionId,
    )
    .fetch_all(&mut *tx)
    .await?;
    forget(tx, org, &uploads, now).await
}

async fn lock_session(tx: &mut PgConnection, org: OrgId, session: SessionId) -> Result<Option<()>, sqlx::Error> {
    let found = sqlx::query!(
        "-- upload_create_lock
        SELECT 1 AS one FROM sessions WHERE org_id = $1 AND session_id = $2 FOR NO KEY UPDATE",
        org as OrgId,
        session as SessionId,
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.map(|_| ()))
}

/// Uploads of the org that are not complete.
async fn open(tx: &mut PgConnection, org: OrgId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- upload_count_open
        SELECT count(*) AS "open!" FROM uploads WHERE org_id = $1 AND artifact_id IS NULL"#,
        org as OrgId,
    )
    .fetch_one(tx)
    .await
}

/// The upload without its parts, locked against everybody who would change it.
pub(crate) async fn load(tx: &mut PgConnection, org: OrgId, upload: UploadId) -> Result<Option<Upload>, sqlx::Error> {
    let row = sqlx::query!(
        r#"-- upload_load
        SELECT session_id AS "session_id: SessionId", name, media_type, size, sha256,
            artifact_id AS "artifact_id: ArtifactId", created_at, expires_at
        FROM uploads WHERE org_id = $1 AND upload_id = $2 FOR UPDATE"#,
        org as OrgId,
        upload as UploadId,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| Upload {
        upload_id: upload,
        session_id: row.session_id,
        name: row.name,
        media_type: row.media_type,
        size: row.size,
        sha256: row.sha256,
        artifact_id: row.artifact_id,
        created_at: row.created_at,
        expires_at: row.expires_at,
        parts: Vec::new(),
    }))
}

async fn parts(tx: &mut PgConnection, org: OrgId, upload: UploadId) -> Result<Vec<UploadPart>, sqlx::Error> {
    let rows = sqlx::query!(
        "-- upload_parts
        SELECT part, blob_key, size, sha256 FROM upload_parts JOIN blobs USING (org_id, blob_key)
        WHERE org_id = $1 AND upload_id = $2 ORDER BY part",
        org as OrgId,
        upload as UploadId,
    )
    .fetch_all(tx)
    .await?;
    let part = |part, key, size, sha256| UploadPart { part, blob: BlobRow { key, size, sha256 } };
    Ok(rows.into_iter().map(|row| part(row.part, row.blob_key, row.size, row.sha256)).collect())
}

pub(crate) async fn forget(
    tx: &mut PgConnection,
    org: OrgId,
    uploads: &[UploadId],
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let blobs = take_parts(tx, org, uploads, now).await?;
    let uploads: Vec<uuid::Uuid> = uploads.iter().map(|upload| (*upload).into()).collect();
    sqlx::query!(
        "-- upload_forget
        DELETE FROM uploads WHERE org_id = $1 AND upload_id = ANY ($2)",
        org as OrgId,
        &uploads,
    )
    .execute(tx)
    .await?;
    Ok(blobs)
}

/// The parts of uploads that are locked: their rows, and their blobs when the grace is over.
async fn take_parts(
    tx: &mut PgConnection,
    org: OrgId,
    uploads: &[UploadId],
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let uploads: Vec<uuid::Uuid> = uploads.iter().map(|upload| (*upload).into()).collect();
    let keys = sqlx::query_scalar!(
        "-- upload_take_parts
        DELETE FROM upload_parts WHERE org_id = $1 AND upload_id = ANY ($2) RETURNING blob_key",
        org as OrgId,
        &uploads,
    )
    .fetch_all(&mut *tx)
    .await?;
    blob_deletion::doom(tx, org, &keys, now).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn part(part: i32, key: &str) -> UploadPart {
        UploadPart { part, blob: BlobRow { key: key.into(), size: 1, sha256: vec![7; 32] } }
    }

    async fn begun(world: &World) -> UploadId {
        let session = world.session().await;
        let (name, media_type) = ("a".to_owned(), "text/plain".to_owned());
        let new = NewUpload { org: world.org, session: Some(session), name, media_type, size: 1, sha256: vec![7; 32] };
        world.store.upload_create(&new).await.unwrap().upload_id
    }

    async fn doomed(world: &World) -> Vec<String> {
        world.clock.advance(blob_deletion::GRACE);
        let due = world.store.blob_deletions_take(10).await.unwrap().due;
        due.into_iter().map(|deletion| deletion.key).collect()
    }

    #[tokio::test]
    async fn a_part_is_taken_once_and_keeps_its_content() {
        let world = World::new().await;
        let (upload, now) = (begun(&world).await, world.store.sources().now());
        let put = async |key: &str| world.store.upload_part_put(world.org, upload, &part(1, key), now).await;
        put("one").await.unwrap();
        put("one").await.unwrap();
        assert!(matches!(put("other").await, Err(UploadError::OtherContent)));
        let found = world.store.upload_get(world.org, upload).await.unwrap().unwrap();
        assert_eq!(found.parts, [part(1, "one")]);
    }

    #[tokio::test]
    async fn a_complete_upload_is_one_artifact_however_often_and_its_parts_go() {
        let world = World::new().await;
        let (upload, now) = (begun(&world).await, world.store.sources().now());
        world.store.upload_part_put(world.org, upload, &part(1, "part"), now).await.unwrap();
        let complete = async |key: &str| {
            let blob = part(1, key).blob;
            let (name, media_type) = ("a".to_owned(), "text/plain".to_owned());
            let new = NewArtifact { artifact: world.store.sources().id(), name, media_type, blob };
            world.store.upload_complete(world.org, upload, &new, "account:1").await.unwrap()
        };
        let (first, second) = tokio::join!(complete("whole"), complete("whole too"));
        assert_eq!(first, second);
        let artifacts = world.store.artifacts_list(world.org, None, None, 10).await.unwrap();
        assert_eq!(artifacts.iter().map(|artifact| artifact.artifact_id).collect::<Vec<_>>(), [first]);
        let (told, _) = world.store.audit_list(world.org, &crate::AuditFilter::default(), 0, 10).await.unwrap();
        let told: Vec<_> = told.iter().filter(|told| told.action == "artifact.upload").collect();
        assert_eq!((told.len(), &*told[0].target), (1, &*format!("artifact:{first}")));
        let late = world.store.upload_part_put(world.org, upload, &part(1, "late"), now).await;
        assert!(matches!(late, Err(UploadError::Complete)));
        assert_eq!(doomed(&world).await, ["part"]);
    }

    #[tokio::test]
    async fn what_nobody_completes_is_forgotten_with_its_parts() {
        let world = World::new().await;
        let (upload, now) = (begun(&world).await, world.store.sources().now());
        world.store.upload_part_put(world.org, upload, &part(1, "part"), now).await.unwrap();
        assert_eq!(world.store.uploads_sweep().await.unwrap(), 0);
        world.clock.advance(KEPT);
        assert_eq!(world.store.uploads_sweep().await.unwrap(), 1);
        assert_eq!(world.store.upload_get(world.org, upload).await.unwrap(), None);
        assert_eq!(doomed(&world).await, ["part"]);
    }
}
