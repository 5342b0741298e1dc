//! Events: what happened in a session, as a list and as a stream.
//!
//! A stream goes on after the sequence that its reader names and sends every event after it, in order, once. It ends
//! when the process drains; the reader then comes back with `Last-Event-ID`, to any other process. It also ends with the
//! right to read it ([`readers`]); the reader then comes back, and is told why it may not.
//!
//! Not here: the events of all sessions of an org ([`feed`]), appending (`worker`), reading what is new once for all readers
//! ([`tails`]), how many streams a caller may have ([`open`]).

mod feed;
mod follow;
mod kept;
pub(crate) mod open;
mod readers;
pub(crate) mod tails;

use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use domain::event::Recorded;
use futures::{Stream, StreamExt};
use ids::{OrgId, SessionId};
use serde::{Deserialize, Serialize};
use store::{Store, StoreError};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::events::follow::follow;
use crate::events::kept::Frame;
use crate::events::readers::Reader;
use crate::events::tails::{Look, Next};
use crate::extract::{Json, Path, Query};
use crate::page::Page;
use crate::problem::Problem;

/// Events of one read.
pub(crate) const PAGE: i64 = 1_000;
/// Events of one look for new ones, which shares a statement with others.
const NEW: i64 = 100;
const LIMIT_DEFAULT: i64 = 200;
const STREAM_HEADERS: [(HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_or_stream)).merge(feed::routes())
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
/// reader that comes back with `Last-Event-ID` misses nothing and sees nothing twice. It ends when the token or the browser session
/// does, or no longer permits to read it.
///
/// The oldest events of a session may have been compacted: then it begins with an event `compacted`, which holds what all of them
/// added up to. A reader that has seen some of them, and not the last, gets 410 (`snapshot_required`) and begins anew. So does the reader
/// of a stream that names a later sequence than the session has, which a restore may have taken back. A sequence below 1 is before the
/// first event. What is no sequence is refused with 422. A sequence of another session can't be told from one of this.
///
/// A token or browser session has no more streams open at once than the installation lets it (`web.streams_per_caller`), of sessions and
/// feeds together: another one is refused with 429 (`too_many_streams`).
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}/events",
    operation_id = "event_list",
    tag = "sessions",
    params(From, ("Last-Event-ID" = Option<i64>, Header, description = "For a stream: the last sequence that the reader has seen. It wins over `after`.")),
    responses((status = 200, description = "A page of them; with `Accept: text/event-stream` a stream.", content((Page<Recorded> = "application/json"), (String = "text/event-stream"))), (status = 410, description = "`snapshot_required`: the events after the one that the reader names were compacted, or a stream's reader names one that is not there (any more)."), (status = 429, description = "`too_many_streams`: the token or browser session has as many streams open as it may; or it made more requests than it may (`too_many_requests`). `Retry-After` says when to try again.")),
    security(("token" = ["sessions.read"])),
)]
async fn list_or_stream(
    State(app): State<App>,
    reader: Reader,
    Path(session): Path<SessionId>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = app.store.session_last_sequence(reader.org, session).await?;
    let last = last.ok_or_else(|| Problem::not_found("session"))?;
    let after = from.after.or(from.cursor).unwrap_or(0);
    if wants_stream(&headers) {
        let sequence = last_event_id(&headers, "Last-Event-ID is the sequence of an event of this session")?;
        let (open, after) = (reader.opens(&app)?, sequence.unwrap_or(after));
        begins(&app, reader.org, session, (after, last)).await?;
        let stream = stream(app.clone(), reader.org, session, last, after).map(Ok::<_, Infallible>);
        return Ok((STREAM_HEADERS, Body::from_stream(reader.reads(&app, open, stream))).into_response());
    }
    let limit = from.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, PAGE);
    let events =
        app.store.events_after(reader.org, session, after, limit).await.map_err(|error| refused(error, last))?;
    Ok(Json(Page::of(events, limit, |event| event.sequence)).into_response())
}

/// Whether a stream can go on after `after` in a session that ends with `last`: said before it begins, while there is a status to
/// say it with. Whoever was told of more than there is would wait for what comes next and miss it.
async fn begins(app: &App, org: OrgId, session: SessionId, (after, last): (i64, i64)) -> Result<(), Problem> {
    if after <= last {
        let next = app.store.events_after(org, session, after, 1).await;
        return next.map(drop).map_err(|error| refused(error, last));
    }
    let first = app.store.events_after(org, session, 0, 1).await?;
    let earliest = first.first().map_or(1, |event| event.sequence);
    Err(Problem::ahead(earliest, last))
}

fn refused(error: StoreError, latest: i64) -> Problem {
    match error {
        StoreError::Compacted { earliest } => Problem::snapshot_required(earliest, latest),
        other => other.into(),
    }
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

/// What a reader has seen last. `wrong`: what is said of anything else.
fn last_event_id<T: FromStr>(headers: &HeaderMap, wrong: &str) -> Result<Option<T>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let seen = value.to_str().ok().and_then(|text| text.parse().ok());
    seen.map(Some).ok_or_else(|| Problem::invalid(wrong))
}

/// Every event after `after`, in order, once.
fn stream(app: App, org: OrgId, session: SessionId, last: i64, after: i64) -> impl Stream<Item = Bytes> {
    let (store, wakes) = (app.store.clone(), app.store.wakes().clone());
    let look = move |after| {
        let store = store.clone();
        async move {
            let events = store.events_new(org, session, after, NEW).await?;
            let full = i64::try_from(events.len()).is_ok_and(|count| count == NEW);
            let next = if full { Next::AtOnce } else { Next::Later };
            Ok(Look { frames: events.iter().map(frame).collect(), next })
        }
    };
    let tail = app.tails.sessions.follow((org, session), last, move || wakes.session(session), look);
    let shutdown = app.shutdown.clone();
    follow(shutdown, tail, after, move |after| page(app.store.clone(), org, session, after))
}

/// `None`: there is none, though there should be, or the database does not answer. The reader comes back.
async fn page(store: Store, org: OrgId, session: SessionId, after: i64) -> Option<Vec<Frame<i64>>> {
    match store.events_after(org, session, after, PAGE).await {
        Ok(events) => (!events.is_empty()).then(|| events.iter().map(frame).collect()),
        // The reader comes back, and is told.
        Err(StoreError::Compacted { .. }) => None,
        Err(error) => broken_off(&error),
    }
}

fn broken_off<T>(error: &StoreError) -> Option<T> {
    tracing::error!(error = error as &dyn std::error::Error, "a stream of events broke off");
    None
}

fn frame(event: &Recorded) -> Frame<i64> {
    Frame { place: event.sequence, bytes: message(&event.sequence, event) }
}

/// As `text/event-stream` writes it: no field holds a line break, for JSON escapes them.
fn message(id: &impl Display, event: &impl Serialize) -> Bytes {
    let item = serde_json::to_value(event).expect("an event is plain data");
    let kind = item["kind"].as_str().unwrap_or_default();
    format!("id: {id}\nevent: {kind}\ndata: {item}\n\n").into()
}

#[cfg(test)]
mod tests;
