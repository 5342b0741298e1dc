//! Artifacts: the files that sessions produced.
//!
//! Content is compared with its row while it is sent: who gets the last byte of the whole got what the session made. If the
//! object is another one, the connection breaks before its end.
//!
//! Not here: making them (`worker`), sending them in (`uploads`).

mod range;

use std::ops::Range;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
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

use self::range::Wanted;
use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

/// Artifacts of one page, at most.
pub(crate) const LIMIT_MAX: i64 = 1_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(view))
        .routes(routes!(content))
        .routes(routes!(list_of_session))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Artifact)]
pub(crate) struct ArtifactView {
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
    params(Paging<ArtifactId>),
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
    params(Paging<ArtifactId>),
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

pub(crate) async fn find(app: &App, org: OrgId, artifact: ArtifactId) -> Result<Artifact, Problem> {
    app.store.artifact_by_id(org, artifact).await?.ok_or_else(|| Problem::not_found("artifact"))
}

/// The content of an artifact, or a part of it.
///
/// Its media type is the one that the agent named. The `ETag` is strong, the SHA-256 of the whole in hex: who resumes sends it in
/// `If-Range`. If the stored object is not what the row names, the connection breaks before the last byte of the whole;
/// of a part only the size is compared, so who puts parts together compares the hash.
#[utoipa::path(
    get,
    path = "/api/artifacts/{artifact_id}/content",
    operation_id = "artifact_content",
    tag = "artifacts",
    params(("Range" = Option<String>, Header, description = "One range of bytes; several get the whole."), ("If-Range" = Option<String>, Header, description = "The `ETag` of what the reader has the beginning of; another one gets the whole.")),
    responses(
        (status = 200, description = "The bytes that the session made, with their SHA-256 as `ETag`.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The part that `Range` names, and in `Content-Range` which it is.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`."),
        (status = 412, description = "`If-Match` named another `ETag`."),
        (status = 416, description = "The range begins behind the end; `Content-Range` has the size.")
    ),
    security(("token" = ["artifacts.read"])),
)]
async fn content(
    State(app): State<App>,
    caller: Caller,
    Path(artifact): Path<ArtifactId>,
    method: Method,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let artifact = find(&app, caller.org, artifact).await?;
    let (headers, tag) = (headers(&artifact), content_tag(&artifact));
    if !etag::may_read(&request, &tag)? {
        return Err(Problem::stale());
    }
    if etag::is_known(&request, &tag)? {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let size = u64::try_from(artifact.size).map_err(Problem::internal)?;
    // A range is for GET: HEAD tells of the whole.
    let wanted = if method == Method::GET { range::wanted(&request, size, &tag) } else { Wanted::Whole };
    match wanted {
        Wanted::Whole => whole(&app, artifact, size, headers).await,
        Wanted::Part(range) => part(&app, artifact, size, range, headers).await,
        Wanted::Nothing => {
            let mut refused = Problem::range_behind_the_end(size).into_response();
            refused.headers_mut().extend([(header::CONTENT_RANGE, content_range(None, size))]);
            Ok(refused)
        }
    }
}

async fn whole(app: &App, artifact: Artifact, size: u64, headers: HeaderMap) -> Result<Response, Problem> {
    let (found, pieces) = app.objects.stream(&artifact.blob_key).await.map_err(Problem::internal)?;
    if found != size {
        return Err(Problem::internal(ObjectsError::Mismatch(artifact.blob_key)));
    }
    let body = Body::from_stream(checked(artifact, pieces));
    Ok((headers, [(header::CONTENT_LENGTH, size)], body).into_response())
}

async fn part(
    app: &App,
    artifact: Artifact,
    size: u64,
    range: Range<u64>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (found, pieces) =
        app.objects.stream_range(&artifact.blob_key, range.clone()).await.map_err(Problem::internal)?;
    if found != size {
        return Err(Problem::internal(ObjectsError::Mismatch(artifact.blob_key)));
    }
    let ranged = [
        (header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start)),
        (header::CONTENT_RANGE, content_range(Some(range), size)),
    ];
    Ok((StatusCode::PARTIAL_CONTENT, headers, ranged, Body::from_stream(pieces)).into_response())
}

/// `None`: of no part, only how large the whole is.
fn content_range(range: Option<Range<u64>>, size: u64) -> HeaderValue {
    let range = range.map_or_else(|| "*".to_owned(), |range| format!("{}-{}", range.start, range.end - 1));
    HeaderValue::from_str(&format!("bytes {range}/{size}")).expect("digits are a header's value")
}

/// Strong: the content is the same for ever.
fn content_tag(artifact: &Artifact) -> HeaderValue {
    let tag = format!("\"{}\"", hex::encode(&artifact.sha256));
    HeaderValue::from_str(&tag).expect("hex digits are a header's value")
}

/// An agent made it: a browser must save it, not run it.
fn headers(artifact: &Artifact) -> HeaderMap {
    let value = |text: String| HeaderValue::from_str(&text).ok();
    let name = utf8_percent_encode(&artifact.name, NON_ALPHANUMERIC);
    let media_type = value(artifact.media_type.clone());
    let values = [
        (header::CONTENT_TYPE, media_type.or_else(|| value("application/octet-stream".into()))),
        (header::ETAG, Some(content_tag(artifact))),
        (header::ACCEPT_RANGES, value("bytes".into())),
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
