//! Artifacts: the files that sessions produced.
//!
//! Content is compared with its row while it is sent: who gets the last byte got what the session made. If the object
//! is another one, the connection breaks before its end.
//!
//! Not here: making them (`worker`).

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clock::Timestamp;
use futures::{Stream, TryStreamExt};
use ids::{ArtifactId, OrgId, SessionId};
use objects::ObjectsError;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::Artifact;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, PageQuery, Paging};
use crate::problem::Problem;

/// Artifacts of one page, at most.
const LIMIT_MAX: i64 = 1_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(view))
        .routes(routes!(content))
        .routes(routes!(list_of_session))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Artifact)]
struct ArtifactView {
    artifact_id: ArtifactId,
    session_id: SessionId,
    name: String,
    media_type: String,
    /// Bytes.
    size: i64,
    /// Lower-case hex.
    sha256: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Artifact> for ArtifactView {
    fn from(artifact: Artifact) -> Self {
        let Artifact { artifact_id, session_id, name, media_type, size, sha256, created_at, blob_key: _ } = artifact;
        Self { artifact_id, session_id, name, media_type, size, sha256: hex::encode(sha256), created_at }
    }
}

/// The artifacts of all sessions of the org, oldest first. A page has at most 1,000.
#[utoipa::path(
    get,
    path = "/api/artifacts",
    operation_id = "artifact_list",
    tag = "artifacts",
    params(PageQuery),
    responses((status = 200, description = "A page of them.", body = Page<ArtifactView>)),
    security(("token" = ["artifacts.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<ArtifactId>>,
) -> Result<Json<Page<ArtifactView>>, Problem> {
    page(&app, caller.org, None, paging).await
}

/// The artifacts of a session, oldest first. A page has at most 1,000.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}/artifacts",
    operation_id = "session_artifact_list",
    tag = "artifacts",
    params(PageQuery),
    responses((status = 200, description = "A page of them.", body = Page<ArtifactView>)),
    security(("token" = ["artifacts.read"])),
)]
async fn list_of_session(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
    Query(paging): Query<Paging<ArtifactId>>,
) -> Result<Json<Page<ArtifactView>>, Problem> {
    let last = app.store.session_last_sequence(caller.org, session).await?;
    last.ok_or_else(|| Problem::not_found("session"))?;
    page(&app, caller.org, Some(session), paging).await
}

async fn page(
    app: &App,
    org: OrgId,
    session: Option<SessionId>,
    paging: Paging<ArtifactId>,
) -> Result<Json<Page<ArtifactView>>, Problem> {
    let limit = paging.limit_within(LIMIT_MAX);
    let artifacts = app.store.artifacts_list(org, session, paging.cursor, limit).await?;
    Ok(Json(Page::of(artifacts, limit, |artifact| artifact.artifact_id).map(ArtifactView::from)))
}

/// An artifact, without its content.
#[utoipa::path(
    get,
    path = "/api/artifacts/{artifact_id}",
    operation_id = "artifact_view",
    tag = "artifacts",
    responses((status = 200, description = "What is known of it.", body = ArtifactView)),
    security(("token" = ["artifacts.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(artifact): Path<ArtifactId>,
) -> Result<Json<ArtifactView>, Problem> {
    Ok(Json(find(&app, caller.org, artifact).await?.into()))
}

async fn find(app: &App, org: OrgId, artifact: ArtifactId) -> Result<Artifact, Problem> {
    app.store.artifact_by_id(org, artifact).await?.ok_or_else(|| Problem::not_found("artifact"))
}

/// The content of an artifact.
///
/// Its media type is the one that the agent named. If the stored object is not what the row names, the connection
/// breaks before the last byte.
#[utoipa::path(
    get,
    path = "/api/artifacts/{artifact_id}/content",
    operation_id = "artifact_content",
    tag = "artifacts",
    responses((status = 200, description = "The bytes that the session made, with their SHA-256 as `ETag`.", body = Vec<u8>, content_type = "application/octet-stream"), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["artifacts.read"])),
)]
async fn content(
    State(app): State<App>,
    caller: Caller,
    Path(artifact): Path<ArtifactId>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let artifact = find(&app, caller.org, artifact).await?;
    let headers = headers(&artifact);
    if request.get(header::IF_NONE_MATCH) == headers.get(header::ETAG) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let (size, pieces) = app.objects.stream(&artifact.blob_key).await.map_err(Problem::internal)?;
    if i64::try_from(size) != Ok(artifact.size) {
        return Err(Problem::internal(ObjectsError::Mismatch(artifact.blob_key)));
    }
    let body = Body::from_stream(checked(artifact, pieces));
    Ok((headers, [(header::CONTENT_LENGTH, size)], body).into_response())
}

/// An agent made it: a browser must save it, not run it.
fn headers(artifact: &Artifact) -> HeaderMap {
    let value = |text: String| HeaderValue::from_str(&text).ok();
    let name = utf8_percent_encode(&artifact.name, NON_ALPHANUMERIC);
    let media_type = value(artifact.media_type.clone());
    let values = [
        (header::CONTENT_TYPE, media_type.or_else(|| value("application/octet-stream".into()))),
        (header::ETAG, value(format!("\"{}\"", hex::encode(&artifact.sha256)))),
        (header::CONTENT_DISPOSITION, value(format!("attachment; filename*=UTF-8''{name}"))),
        (header::X_CONTENT_TYPE_OPTIONS, value("nosniff".into())),
        (header::CONTENT_SECURITY_POLICY, value("sandbox".into())),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Holds the last piece back until all of it was seen to be what the row names.
fn checked(
    artifact: Artifact,
    mut pieces: impl Stream<Item = Result<Bytes, ObjectsError>> + Unpin,
) -> impl Stream<Item = Result<Bytes, ObjectsError>> {
    async_stream::try_stream! {
        let (mut hash, mut held) = (Sha256::new(), Bytes::new());
        while let Some(piece) = pieces.try_next().await? {
            hash.update(&piece);
            let ready = std::mem::replace(&mut held, piece);
            if !ready.is_empty() {
                yield ready;
            }
        }
        if hash.finalize()[..] != artifact.sha256[..] {
            tracing::error!(artifact.id = %artifact.artifact_id, "the object of an artifact is not what its row names");
            Err(ObjectsError::Mismatch(artifact.blob_key))?;
        }
        yield held;
    }
}

#[cfg(test)]
pub(crate) mod tests;
