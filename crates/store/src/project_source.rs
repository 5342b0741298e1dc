//! Project sources: what workspaces of sessions begin with.
//!
//! Made of an upload, in one transaction that also takes the upload away, or of what was fetched from a repository. A session names one for ever; it needs it until its
//! first checkpoint, and so long the source can't be deleted. An erasure of whoever made it deletes it all the same.
//!
//! Not here: reading and packing archives (crate `projects`), fetching (`repositories`), unpacking (`worker`).

use clock::{Sources, Timestamp};
use domain::quota::UsageKind;
use ids::{AccountId, OrgId, ProjectSourceId, SessionId, UploadId};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::blob::{self, BlobRow};
use crate::{Store, StoreError, audit, blob_deletion, upload, usage};

/// A project source whose blob is durable.
#[derive(Debug, Clone)]
pub struct NewProjectSource {
    pub project_source: ProjectSourceId,
    pub name: String,
    /// Of the archive that came in.
    pub format: String,
    pub files: i32,
    /// Of all files, unpacked.
    pub bytes: i64,
    /// Path and reason.
    pub left_out: Vec<(String, String)>,
    pub left_out_count: i32,
    pub blob: BlobRow,
}

/// Which files of which repository a project source has. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRepository {
    pub url: String,
    /// As it was asked for.
    pub reference: String,
    /// What that led to.
    pub commit: String,
}

/// What a project source is made of.
#[derive(Debug, Clone, Copy)]
pub enum SourceOrigin<'a> {
    /// It is gone then.
    Upload(UploadId),
    Repository(&'a SourceRepository),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectSource {
    pub project_source_id: ProjectSourceId,
    pub name: String,
    pub format: String,
    pub files: i32,
    pub bytes: i64,
    pub left_out: Vec<(String, String)>,
    pub left_out_count: i32,
    /// Bytes as they are stored.
    pub size: i64,
    /// 32 bytes, of the same.
    pub sha256: Vec<u8>,
    /// `None`: it was uploaded.
    pub repository: Option<SourceRepository>,
    pub created_at: Timestamp,
}

/// Why a project source stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ProjectSourceError {
    #[error("the org has no such project source")]
    NoSuch,
    #[error("the org has no such upload")]
    NoSuchUpload,
    /// It was made of something by somebody else meanwhile.
    #[error("the upload is complete")]
    Complete,
    #[error("a session that did not begin yet needs the project source")]
    Needed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Row {
    project_source_id: ProjectSourceId,
    name: String,
    format: String,
    files: i32,
    bytes: i64,
    left_out: Json<Vec<(String, String)>>,
    left_out_count: i32,
    size: i64,
    sha256: Vec<u8>,
    repository_url: Option<String>,
    repository_ref: Option<String>,
    repository_commit: Option<String>,
    created_at: Timestamp,
}

impl From<Row> for ProjectSource {
    fn from(row: Row) -> Self {
        let repository = row.repository_url.zip(row.repository_ref).zip(row.repository_commit);
        Self {
            repository: repository.map(|((url, reference), commit)| SourceRepository { url, reference, commit }),
            project_source_id: row.project_source_id,
            name: row.name,
            format: row.format,
            files: row.files,
            bytes: row.bytes,
            left_out: row.left_out.0,
            left_out_count: row.left_out_count,
            size: row.size,
            sha256: row.sha256,
            created_at: row.created_at,
        }
    }
}

impl Store {
    /// Makes a project source, in the place of its upload if it was one.
    pub async fn project_source_create(
        &self,
        org: OrgId,
        origin: SourceOrigin<'_>,
        new: &NewProjectSource,
        created_by: AccountId,
    ) -> Result<(), ProjectSourceError> {
        let during = || StoreError::during("project_source_create");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let now = self.sources.now();
        let mut detail = json!({"title": new.name, "files": new.files, "left_out": new.left_out_count});
        let repository = match origin {
            SourceOrigin::Upload(upload) => {
                let found = upload::load(&mut tx, org, upload).await.map_err(during())?;
                if found.ok_or(ProjectSourceError::NoSuchUpload)?.artifact_id.is_some() {
                    return Err(ProjectSourceError::Complete);
                }
                None
            }
            SourceOrigin::Repository(repository) => {
                detail["repository"] = json!(repository.url);
                detail["commit"] = json!(repository.commit);
                Some(repository)
            }
        };
        insert(&mut tx, &self.sources, org, new, repository, created_by).await.map_err(during())?;
        if let SourceOrigin::Upload(upload) = origin {
            upload::forget(&mut tx, org, &[upload], now).await.map_err(during())?;
        }
        let (actor, target) = (format!("account:{created_by}"), format!("project_source:{}", new.project_source));
        audit::record(&mut tx, &self.sources, org, &actor, "project_source.create", &target, detail)
            .await
            .map_err(during())?;
        Ok(tx.commit().await.map_err(during())?)
    }

    /// `None`: the org has no such project source.
    pub async fn project_source_get(
        &self,
        org: OrgId,
        source: ProjectSourceId,
    ) -> Result<Option<ProjectSource>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- project_source_get
            SELECT project_source_id AS "project_source_id: ProjectSourceId", name, format, files, bytes,
                left_out AS "left_out: Json<Vec<(String, String)>>", left_out_count, size, sha256, repository_url,
                repository_ref, repository_commit, project_sources.created_at
            FROM project_sources JOIN blobs USING (org_id, blob_key)
            WHERE org_id = $1 AND project_source_id = $2"#,
            org as OrgId,
            source as ProjectSourceId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("project_source_get"))?;
        Ok(row.map(ProjectSource::from))
    }

    /// In the order that they were made.
    pub async fn project_source_list(
        &self,
        org: OrgId,
        after: Option<ProjectSourceId>,
        limit: i64,
    ) -> Result<Vec<ProjectSource>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- project_source_list
            SELECT project_source_id AS "project_source_id: ProjectSourceId", name, format, files, bytes,
                left_out AS "left_out: Json<Vec<(String, String)>>", left_out_count, size, sha256, repository_url,
                repository_ref, repository_commit, project_sources.created_at
            FROM project_sources JOIN blobs USING (org_id, blob_key)
            WHERE org_id = $1 AND ($2::uuid IS NULL OR project_source_id > $2) ORDER BY project_source_id LIMIT $3"#,
            org as OrgId,
            after as Option<ProjectSourceId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("project_source_list"))?;
        Ok(rows.into_iter().map(ProjectSource::from).collect())
    }

    /// The object of a project source. `None`: it was deleted.
    pub async fn project_source_blob(
        &self,
        org: OrgId,
        source: ProjectSourceId,
    ) -> Result<Option<BlobRow>, StoreError> {
        sqlx::query_as!(
            BlobRow,
            "-- project_source_blob
            SELECT blob_key AS key, size, sha256 FROM project_sources JOIN blobs USING (org_id, blob_key)
            WHERE org_id = $1 AND project_source_id = $2",
            org as OrgId,
            source as ProjectSourceId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("project_source_blob"))
    }

    /// Deletes a project source that no session waits for; its object goes when the grace is over.
    pub async fn project_source_delete(
        &self,
        org: OrgId,
        source: ProjectSourceId,
        actor: &str,
    ) -> Result<(), ProjectSourceError> {
        let during = || StoreError::during("project_source_delete");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let key = sqlx::query_scalar!(
            "-- project_source_lock
            SELECT blob_key FROM project_sources WHERE org_id = $1 AND project_source_id = $2 FOR UPDATE",
            org as OrgId,
            source as ProjectSourceId,
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?
        .ok_or(ProjectSourceError::NoSuch)?;
        // A statement of its own: sessions that were begun while it waited for the lock are seen.
        let needed = sqlx::query_scalar!(
            r#"-- project_source_needed
            SELECT EXISTS (
                SELECT FROM sessions WHERE org_id = $1 AND project_source_id = $2 AND checkpoint_id IS NULL) AS "needed!""#,
            org as OrgId,
            source as ProjectSourceId,
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        if needed {
            return Err(ProjectSourceError::Needed);
        }
        delete(&mut tx, org, source, key, self.sources.now()).await.map_err(during())?;
        let target = format!("project_source:{source}");
        audit::record(&mut tx, &self.sources, org, actor, "project_source.delete", &target, json!({}))
            .await
            .map_err(during())?;
        Ok(tx.commit().await.map_err(during())?)
    }
}

async fn insert(
    tx: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    new: &NewProjectSource,
    repository: Option<&SourceRepository>,
    created_by: AccountId,
) -> Result<(), sqlx::Error> {
    let now = sources.now();
    // Its key is its own: nobody else ever stored it.
    blob::record(tx, org, vec![&new.blob], now, now).await?;
    sqlx::query!(
        "-- project_source_insert
        INSERT INTO project_sources (org_id, project_source_id, name, format, files, bytes, left_out, left_out_count,
            blob_key, created_by, created_at, repository_url, repository_ref, repository_commit)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        org as OrgId,
        new.project_source as ProjectSourceId,
        new.name,
        new.format,
        new.files,
        new.bytes,
        Json(&new.left_out) as Json<&Vec<(String, String)>>,
        new.left_out_count,
        new.blob.key,
        created_by as AccountId,
        now,
        repository.map(|repository| &repository.url),
        repository.map(|repository| &repository.reference),
        repository.map(|repository| &repository.commit),
    )
    .execute(&mut *tx)
    .await?;
    usage::record(tx, sources, org, new.project_source.into(), UsageKind::ArtifactBytes, new.blob.size).await
}

/// Keeps it from being deleted until the transaction ends. `false`: there is no such source.
pub(crate) async fn share(tx: &mut PgConnection, org: OrgId, source: ProjectSourceId) -> Result<bool, sqlx::Error> {
    let found = sqlx::query!(
        "-- project_source_share
        SELECT 1 AS one FROM project_sources WHERE org_id = $1 AND project_source_id = $2 FOR KEY SHARE",
        org as OrgId,
        source as ProjectSourceId,
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.is_some())
}

/// Has the workspace of a session that just began begin with it.
pub(crate) async fn put_under(
    tx: &mut PgConnection,
    org: OrgId,
    session: SessionId,
    source: ProjectSourceId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- project_source_put_under
            UPDATE sessions SET project_source_id = $3 WHERE org_id = $1 AND session_id = $2",
        org as OrgId,
        session as SessionId,
        source as ProjectSourceId,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn delete(
    tx: &mut PgConnection,
    org: OrgId,
    source: ProjectSourceId,
    key: String,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        "-- project_source_delete
        DELETE FROM project_sources WHERE org_id = $1 AND project_source_id = $2",
        org as OrgId,
        source as ProjectSourceId,
    )
    .execute(&mut *tx)
    .await?;
    blob_deletion::doom(tx, org, &[key], now).await
}

/// Those that a person made, wherever they are named. Gives back how many blobs went.
pub(crate) async fn erase(tx: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<u64, sqlx::Error> {
    let theirs = sqlx::query!(
        r#"-- project_source_erase
        SELECT org_id AS "org: OrgId", project_source_id AS "source: ProjectSourceId", blob_key FROM project_sources
        WHERE created_by = $1 ORDER BY org_id, project_source_id FOR UPDATE"#,
        account as AccountId,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut blobs = 0;
    for row in theirs {
        blobs += delete(tx, row.org, row.source, row.blob_key, now).await?;
    }
    Ok(blobs)
}

#[cfg(test)]
mod tests;
