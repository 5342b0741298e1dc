//! Events: what happened in a session, as a list and as a stream.
//!
//! A stream goes on after the sequence that its reader names and sends every event after it, in order, once. It ends
//! when the process drains; the reader then comes back with `Last-Event-ID`, to any other process.
//!
//! Not here: appending (`worker`).

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::event::Recorded;
use futures::{Stream, StreamExt};
use ids::{OrgId, SessionId};
use serde::Deserialize;

use crate::app::App;
use crate::auth::Reader;
use crate::extract::{Json, Path, Query};
use crate::page::Page;
use crate::problem::Problem;

/// Events of one page, at most; a stream reads as many at a time.
const LIMIT_MAX: i64 = 1_000;
const LIMIT_DEFAULT: i64 = 200;
/// Between two looks for new events of a stream that has seen all.
const POLL: Duration = Duration::from_millis(50);
/// A comment so often, so that both sides notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/api/sessions/{session_id}/events", get(list_or_stream))
}

#[derive(Debug, Deserialize)]
struct From {
    /// The last sequence that the reader has seen.
    after: Option<i64>,
    /// The same, as lists call it.
    cursor: Option<i64>,
    limit: Option<i64>,
}

async fn list_or_stream(
    State(app): State<App>,
    Reader(caller): Reader,
    Path(session): Path<SessionId>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = app.store.session_last_sequence(caller.org, session).await?;
    last.ok_or_else(|| Problem::not_found("session"))?;
    let after = from.after.or(from.cursor).unwrap_or(0);
    if wants_stream(&headers) {
        let after = last_event_id(&headers)?.unwrap_or(after);
        let events = follow(app, caller.org, session, after).map(|event| Ok::<_, Infallible>(message(&event)));
        return Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response());
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

/// Reads a page at a time, so a reader that is slow or far behind costs no more memory than one that is not.
fn follow(app: App, org: OrgId, session: SessionId, mut after: i64) -> impl Stream<Item = Recorded> {
    async_stream::stream! {
        while !app.shutdown.is_cancelled() {
            let events = match app.store.events_after(org, session, after, LIMIT_MAX).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a stream of events broke off");
                    return;
                }
            };
            if events.is_empty() {
                tokio::select! {
                    () = app.shutdown.cancelled() => return,
                    () = tokio::time::sleep(POLL) => continue,
                }
            }
            for event in events {
                after = event.sequence;
                yield event;
            }
        }
    }
}

fn message(event: &Recorded) -> sse::Event {
    let item = serde_json::to_value(event).expect("an event is plain data");
    let kind = item["kind"].as_str().unwrap_or_default().to_owned();
    sse::Event::default().id(event.sequence.to_string()).event(kind).data(item.to_string())
}

#[cfg(test)]
mod tests;
