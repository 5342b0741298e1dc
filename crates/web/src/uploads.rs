//! Uploads: files that people send in parts, to a session until they are artifacts, or by themselves until they are project sources.
//!
//! Whoever begins says how large the file is and which SHA-256 it has. Parts of 1 MiB may come in any order, several at once, and
//! again; what is there is asked for by who resumes. The hash is compared before the file becomes an artifact.
//!
//! Not promised: that the session's agent sees it. An upload is no event and is in no workspace.
//!
//! Not here: forgetting what nobody completes (`scheduler`).

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::upload::{PART_SIZE, SIZE_MAX, part_size, parts};
use futures::stream;
use ids::{ArtifactId, OrgId, SessionId, UploadId};
use objects::{Blob, ObjectKeys, ObjectsError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{BlobRow, NewArtifact, NewUpload, OPEN_UPLOADS_MAX, Upload, UploadError, UploadPart};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::artifacts::{self, ArtifactView};
use crate::auth::Caller;
use crate::extract::{Json, Path};
use crate::problem::Problem;
use crate::text::{MediaType, Name};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(create_alone))
        .routes(routes!(view, delete))
        .routes(routes!(put_part))
        .routes(routes!(complete))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
struct UploadView {
    upload_id: UploadId,
    /// `null`: it is to be a project source.
    session_id: Option<SessionId>,
    name: String,
    media_type: String,
    /// Bytes.
    size: i64,
    /// Lower-case hex.
    sha256: String,
    /// Bytes of every part but the last.
    part_size: i64,
    /// How many parts there are when all are there, numbered from 1.
    part_count: i32,
    /// The numbers of those that are there.
    parts: Vec<i32>,
    /// What it became. `null`: it is not complete.
    artifact_id: Option<ArtifactId>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it is forgotten. An artifact stays.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<Upload> for UploadView {
    fn from(upload: Upload) -> Self {
        Self {
            upload_id: upload.upload_id,
            session_id: upload.session_id,
            name: upload.name,
            media_type: upload.media_type,
            size: upload.size,
            sha256: hex::encode(upload.sha256),
            part_size: PART_SIZE,
            part_count: parts(upload.size),
            parts: upload.parts.into_iter().map(|part| part.part).collect(),
            artifact_id: upload.artifact_id,
            created_at: upload.created_at,
            expires_at: upload.expires_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewUpload, example = json!({
    "name": "a table.csv",
    "media_type": "text/csv",
    "size": 8,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
}))]
#[serde(deny_unknown_fields)]
struct Create {
    #[schema(inline)]
    name: Name,
    #[schema(inline)]
    media_type: MediaType,
    /// Bytes.
    #[schema(minimum = 0, maximum = 268_435_456)]
    #[serde(deserialize_with = "crate::number::whole")]
    size: i64,
    /// Hex.
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-fA-F]{64}$")]
    sha256: String,
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::NoSuchSession => Self::not_found("session"),
            UploadError::NoSuchUpload => Self::not_found("upload"),
            UploadError::TooMany => Self::conflict(format!(
                "the org has {OPEN_UPLOADS_MAX} uploads that are not complete: complete or delete some first"
            )),
            UploadError::Complete => Self::conflict("the upload is complete: begin another one"),
            UploadError::NoSession => {
                Self::conflict("the upload belongs to no session and becomes no artifact: make a project source of it")
            }
            UploadError::OtherContent => Self::other_content(),
            UploadError::Store(error) => error.into(),
        }
    }
}

impl Problem {
    fn other_content() -> Self {
        Self::conflict("this part was sent with another content: delete the upload and begin again")
    }
}

/// Begins an upload to a session.
#[utoipa::path(
    post,
    path = "/api/sessions/{session_id}/uploads",
    operation_id = "upload_create",
    tag = "artifacts",
    request_body = Create,
    responses((status = 201, description = "Its parts can come.", body = UploadView), (status = 409, description = "The org has too many uploads that are not complete.")),
    security(("token" = ["artifacts.write"])),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<UploadView>), Problem> {
    begin(&app, &caller, Some(session), new).await
}

/// Begins an upload that is to be a project source.
#[utoipa::path(
    post,
    path = "/api/uploads",
    operation_id = "upload_create_alone",
    tag = "artifacts",
    request_body = Create,
    responses((status = 201, description = "Its parts can come.", body = UploadView), (status = 409, description = "The org has too many uploads that are not complete.")),
    security(("token" = ["artifacts.write"])),
)]
async fn create_alone(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<UploadView>), Problem> {
    begin(&app, &caller, None, new).await
}

async fn begin(
    app: &App,
    caller: &Caller,
    session: Option<SessionId>,
    new: Create,
) -> Result<(StatusCode, Json<UploadView>), Problem> {
    let name = new.name.trimmed();
    let media_type = new.media_type.0;
    if !(0..=SIZE_MAX).contains(&new.size) {
        return Err(Problem::invalid(format!("size is 0 to {SIZE_MAX} bytes")));
    }
    let sha256 = hex::decode(&new.sha256).ok().filter(|hash| hash.len() == 32);
    let sha256 = sha256.ok_or_else(|| Problem::invalid("sha256 has 64 hex digits"))?;
    let new = NewUpload { org: caller.org, session, name, media_type, size: new.size, sha256 };
    let upload = app.store.upload_create(&new).await?;
    Ok((StatusCode::CREATED, Json(upload.into())))
}

pub(crate) async fn find(app: &App, org: OrgId, upload: UploadId) -> Result<Upload, Problem> {
    app.store.upload_get(org, upload).await?.ok_or_else(|| Problem::not_found("upload"))
}

/// An upload, with the parts that are there: where to go on.
#[utoipa::path(
    get,
    path = "/api/uploads/{upload_id}",
    operation_id = "upload_view",
    tag = "artifacts",
    responses((status = 200, description = "As it is now.", body = UploadView)),
    security(("token" = ["artifacts.write"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(upload): Path<UploadId>,
) -> Result<Json<UploadView>, Problem> {
    Ok(Json(find(&app, caller.org, upload).await?.into()))
}

/// Sends a part. Its length follows from the declared size. A repeat with the same bytes changes nothing.
#[utoipa::path(
    put,
    path = "/api/uploads/{upload_id}/parts/{part}",
    operation_id = "upload_part_put",
    tag = "artifacts",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "The part is there."), (status = 409, description = "The upload is complete, or this part was sent with another content.")),
    security(("token" = ["artifacts.write"])),
)]
async fn put_part(
    State(app): State<App>,
    caller: Caller,
    Path((upload, part)): Path<(UploadId, i32)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let body = body.map_err(|_| Problem::too_large())?;
    let found = find(&app, caller.org, upload).await?;
    let size = part_size(found.size, part).ok_or_else(|| Problem::not_found("part"))?;
    if i64::try_from(body.len()) != Ok(size) {
        return Err(Problem::invalid(format!("part {part} has {size} bytes, and {} came", body.len())));
    }
    let sha256: [u8; 32] = Sha256::digest(&body).into();
    match found.parts.iter().find(|there| there.part == part) {
        Some(there) if there.blob.sha256 == sha256 => return Ok(StatusCode::NO_CONTENT),
        Some(_) => return Err(Problem::other_content()),
        None if found.artifact_id.is_some() => return Err(UploadError::Complete.into()),
        None => {}
    }
    let keys = ObjectKeys { org: caller.org, generation: app.generation.generation };
    let since = app.store.sources().now();
    let key = keys.upload_part(upload, part, &sha256);
    app.objects.ensure(&key, body).await.map_err(Problem::unavailable)?;
    let part = UploadPart { part, blob: BlobRow { key, size, sha256: sha256.to_vec() } };
    app.store.upload_part_put(caller.org, upload, &part, since).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a file whose parts are all there an artifact, if it is what was declared. A repeat gets the same artifact.
#[utoipa::path(
    post,
    path = "/api/uploads/{upload_id}/complete",
    operation_id = "upload_complete",
    tag = "artifacts",
    responses((status = 201, description = "It is an artifact of the session.", body = ArtifactView), (status = 409, description = "Parts are missing, or they do not have the SHA-256 that was declared.")),
    security(("token" = ["artifacts.write"])),
)]
async fn complete(
    State(app): State<App>,
    caller: Caller,
    Path(upload): Path<UploadId>,
) -> Result<(StatusCode, Json<ArtifactView>), Problem> {
    let found = find(&app, caller.org, upload).await?;
    let artifact = match found.artifact_id {
        Some(artifact) => artifact,
        None => become_artifact(&app, &caller, found).await?,
    };
    Ok((StatusCode::CREATED, Json(artifacts::find(&app, caller.org, artifact).await?.into())))
}

async fn become_artifact(app: &App, caller: &Caller, upload: Upload) -> Result<ArtifactId, Problem> {
    let wanted = parts(upload.size);
    if upload.parts.len() != usize::try_from(wanted).unwrap_or(usize::MAX) {
        let there = upload.parts.len();
        return Err(Problem::conflict(format!("{there} of {wanted} parts are there: send the others first")));
    }
    let session = upload.session_id.ok_or(UploadError::NoSession)?;
    let artifact: ArtifactId = app.store.sources().id();
    let keys = ObjectKeys { org: caller.org, generation: app.generation.generation };
    let key = keys.artifact(session, artifact);
    let blob = BlobRow { key: key.clone(), size: upload.size, sha256: upload.sha256.clone() };
    store_whole(app, &blob, &upload.parts).await?;
    let new = NewArtifact { artifact, name: upload.name, media_type: upload.media_type, blob };
    let became = app.store.upload_complete(caller.org, upload.upload_id, &new, &caller.actor()).await?;
    if became != artifact {
        // Somebody else completed it at the same time; no row ever named this object.
        app.objects.delete(&key).await.map_err(Problem::unavailable)?;
    }
    Ok(became)
}

/// Part by part, so that no file is ever held whole.
async fn store_whole(app: &App, whole: &BlobRow, parts: &[UploadPart]) -> Result<(), Problem> {
    let meant = named(whole).map_err(Problem::internal)?;
    let pieces = stream::iter(parts.iter().map(|part| named(&part.blob)));
    let pieces =
        stream::StreamExt::then(pieces, async |blob: Result<Blob, ObjectsError>| app.objects.get_blob(&blob?).await);
    app.objects.put_pieces(&meant, pieces).await.map_err(|error| match error {
        ObjectsError::Mismatch(key) if key == meant.key => {
            Problem::conflict("the parts do not have the SHA-256 that was declared: delete the upload and begin again")
        }
        error => Problem::internal(error),
    })
}

pub(crate) fn named(row: &BlobRow) -> Result<Blob, ObjectsError> {
    let wrong = || ObjectsError::Mismatch(row.key.clone());
    let (size, sha256) = (u64::try_from(row.size), row.sha256.clone().try_into());
    Ok(Blob { key: row.key.clone(), size: size.map_err(|_| wrong())?, sha256: sha256.map_err(|_| wrong())? })
}

/// Gives an upload up. An artifact that it became stays.
#[utoipa::path(
    delete,
    path = "/api/uploads/{upload_id}",
    operation_id = "upload_delete",
    tag = "artifacts",
    responses((status = 204, description = "It is forgotten.")),
    security(("token" = ["artifacts.write"])),
)]
async fn delete(State(app): State<App>, caller: Caller, Path(upload): Path<UploadId>) -> Result<StatusCode, Problem> {
    app.store.upload_delete(caller.org, upload).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests;
