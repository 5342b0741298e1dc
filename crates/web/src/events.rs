//! Events: what happened in a session, as a list and as a stream.
//!
//! A stream goes on after the sequence that its reader names and sends every event after it, in order, once. It ends
//! when the process drains; the reader then comes back with `Last-Event-ID`, to any other process.
//!
//! Not here: appending (`worker`), reading what is new once for all readers ([`tail`]).

pub(crate) mod tail;

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use domain::event::Recorded;
use futures::{Stream, StreamExt};
use ids::{OrgId, SessionId};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::events::tail::Frame;
use crate::extract::{Json, Path, Query};
use crate::page::Page;
use crate::problem::Problem;

/// Events of one page, at most.
const LIMIT_MAX: i64 = tail::PAGE;
const LIMIT_DEFAULT: i64 = 200;
/// A comment so often, so that both sides notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b":\n\n";
const STREAM_HEADERS: [(HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_or_stream))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct From {
    /// The last sequence that the reader has seen.
    after: Option<i64>,
    /// The same, as lists call it.
    cursor: Option<i64>,
    /// Events of a page, at most: 200 if it is not given, 1,000 at most.
    limit: Option<i64>,
}

/// What happened in a session, in order.
///
/// With `Accept: text/event-stream` it is a stream that goes on: the `id` of each message is the sequence of its event, and a
/// reader that comes back with `Last-Event-ID` misses nothing and sees nothing twice.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}/events",
    operation_id = "event_list",
    tag = "sessions",
    params(From, ("Last-Event-ID" = Option<i64>, Header, description = "For a stream: the last sequence that the reader has seen. It wins over `after`.")),
    responses((status = 200, description = "A page of them; with `Accept: text/event-stream` a stream.", content((Page<Recorded> = "application/json"), (String = "text/event-stream")))),
    security(("token" = ["sessions.read"])),
)]
async fn list_or_stream(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = app.store.session_last_sequence(caller.org, session).await?;
    let last = last.ok_or_else(|| Problem::not_found("session"))?;
    let after = from.after.or(from.cursor).unwrap_or(0);
    if wants_stream(&headers) {
        let after = last_event_id(&headers)?.unwrap_or(after);
        let stream = follow(app, caller.org, session, last, after).map(Ok::<_, Infallible>);
        return Ok((STREAM_HEADERS, Body::from_stream(stream)).into_response());
    }
    let limit = from.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let events = app.store.events_after(caller.org, session, after, limit).await?;
    Ok(Json(Page::of(events, limit, |event| event.sequence)).into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let sequence = value.to_str().ok().and_then(|text| text.parse().ok());
    sequence.map(Some).ok_or_else(|| Problem::invalid("Last-Event-ID is the sequence of an event"))
}

/// What a stream sends: every event after `after`, in order, once; and a comment now and then. A reader that does not
/// read is not asked for more, so nothing piles up for it.
fn follow(app: App, org: OrgId, session: SessionId, last: i64, mut after: i64) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let mut tail = app.tails.follow(&app.store, org, session, last);
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        while !app.shutdown.is_cancelled() {
            let kept = tail.borrow_and_update().clone();
            let Some(frames) = kept.past(after) else {
                let Some(frames) = page(&app, org, session, after).await else { return };
                for frame in frames {
                    after = frame.sequence;
                    yield frame.bytes;
                }
                continue;
            };
            for frame in frames {
                after = frame.sequence;
                yield frame.bytes.clone();
            }
            tokio::select! {
                () = app.shutdown.cancelled() => return,
                changed = tail.changed() => if changed.is_err() { return },
                _ = heartbeat.tick() => yield Bytes::from_static(COMMENT),
            }
        }
    }
}

/// `None`: there is none, though there should be, or the database does not answer. The reader comes back.
async fn page(app: &App, org: OrgId, session: SessionId, after: i64) -> Option<Vec<Frame>> {
    match app.store.events_after(org, session, after, tail::PAGE).await {
        Ok(events) => (!events.is_empty()).then(|| events.iter().map(tail::frame).collect()),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a stream of events broke off");
            None
        }
    }
}

#[cfg(test)]
mod tests;
