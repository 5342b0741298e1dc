//! The feed of an org: what happens in all its sessions, as a list and as a stream.
//!
//! Every event has a place (`domain::feed`), and a reader that comes back with the last place that it saw misses nothing and sees
//! nothing twice, at any process of the system and after a restore. Events come in the order of their transactions and, within a
//! session, of their sequence; an event that becomes visible waits until none can come before it any more.
//!
//! Not here: how that is known (`store::feed`).

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use domain::event::Recorded;
use domain::feed::FeedPlace;
use futures::{Stream, StreamExt, stream};
use ids::{OrgId, SessionId};
use serde::{Deserialize, Serialize};
use store::{FeedEvent, FeedPage, Store};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{STREAM_HEADERS, broken_off, last_event_id, message, wants_stream};
use crate::app::App;
use crate::events::follow::follow;
use crate::events::kept::Frame;
use crate::events::readers::Reader;
use crate::events::tails::{Look, Next};
use crate::extract::{Json, Query};
use crate::page::Page;
use crate::problem::Problem;

/// Events of one read, and of one page.
const PAGE: i64 = 200;
const LIMIT_DEFAULT: i64 = 50;
const WRONG_PLACE: &str = "Last-Event-ID is a place in the feed, as the stream gave it";
const NOT_YET: &str = "the place comes after the present, so no feed of this system gave it: begin without one";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_or_stream))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct From {
    /// The last place that the reader has seen.
    #[param(inline, value_type = Option<FeedPlace>)]
    cursor: Option<String>,
    /// Events of a page, at most: 50 if it is not given, 200 at most.
    limit: Option<i64>,
}

/// Something that happened in a session of the org.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeedEvent)]
struct FeedItem {
    /// Where it stands in the feed; to go on after it.
    #[schema(value_type = String)]
    place: FeedPlace,
    session_id: SessionId,
    #[serde(flatten)]
    recorded: Recorded,
}

impl std::convert::From<FeedEvent> for FeedItem {
    fn from(event: FeedEvent) -> Self {
        Self { place: event.place, session_id: event.place.session, recorded: event.recorded }
    }
}

/// What happened in all sessions of the org, in one order.
///
/// With `Accept: text/event-stream` it is a stream that goes on: the `id` of each message is the place of its event, and a reader that
/// comes back with `Last-Event-ID` misses nothing and sees nothing twice. A stream that names no place begins with the present,
/// and its first message is an `id` without data. A list that names none begins with the first event. A stream ends when the token or
/// the browser session does, or no longer permits to read it.
///
/// Of a session whose oldest events were compacted, an event `compacted` stands in the place of the last of them. It takes the place
/// of whatever a reader has of the session, so one that comes back late misses nothing.
///
/// What is no place is refused with 422, and so is a stream from a place after the present, which no feed of this system gave. A place is a
/// moment, so one of another org's feed is as good. Streams count as those of sessions do: see `event_list`.
#[utoipa::path(
    get,
    path = "/api/events",
    operation_id = "feed",
    tag = "sessions",
    params(From, ("Last-Event-ID" = inline(Option<FeedPlace>), Header, description = "For a stream: the last place that the reader has seen. It wins over `cursor`.")),
    responses((status = 200, description = "A page of them; with `Accept: text/event-stream` a stream.", content((Page<FeedItem> = "application/json"), (String = "text/event-stream"))), (status = 429, description = "`too_many_streams`: the token or browser session has as many streams open as it may; or it made more requests than it may (`too_many_requests`). `Retry-After` says when to try again.")),
    security(("token" = ["sessions.read"])),
)]
async fn list_or_stream(
    State(app): State<App>,
    reader: Reader,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cursor = from.cursor.as_deref().map(str::parse::<FeedPlace>).transpose();
    let cursor = cursor.map_err(|error| Problem::invalid(error.to_string()))?;
    let generation = app.generation.generation;
    if wants_stream(&headers) {
        let open = reader.opens(&app)?;
        // After the reader was told of its place, so no place that a feed gave comes after it.
        let present = app.store.feed_present(generation).await?;
        let after = last_event_id(&headers, WRONG_PLACE)?.or(cursor);
        if after.is_some_and(|after| after > present) {
            return Err(Problem::invalid(NOT_YET));
        }
        let feed = feed(app.clone(), reader.org, present, after).map(Ok::<_, Infallible>);
        return Ok((STREAM_HEADERS, Body::from_stream(reader.reads(&app, open, feed))).into_response());
    }
    let limit = from.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, PAGE);
    let after = cursor.unwrap_or_else(FeedPlace::beginning);
    let page = app.store.feed_after(generation, reader.org, after, limit).await?;
    let items = page.events.into_iter().map(FeedItem::from).collect();
    Ok(Json(Page::of(items, limit, |item: &FeedItem| item.place)).into_response())
}

/// Everything past `after`; without it, what comes after the present, which is told first.
fn feed(app: App, org: OrgId, present: FeedPlace, after: Option<FeedPlace>) -> impl Stream<Item = Bytes> {
    let generation = app.generation.generation;
    let (store, wakes) = (app.store.clone(), app.store.wakes().clone());
    let look = move |after| {
        let store = store.clone();
        async move {
            let page = store.feed_after(generation, org, after, PAGE).await?;
            let next = next(&page);
            Ok(Look { frames: page.events.into_iter().map(frame).collect(), next })
        }
    };
    let tail = app.tails.feeds.follow(org, present, move || wakes.org(org), look);
    let told = after.is_none().then(|| Bytes::from(format!("id: {present}\n\n")));
    let shutdown = app.shutdown.clone();
    let page = move |after| page(app.store.clone(), generation, org, after);
    stream::iter(told).chain(follow(shutdown, tail, after.unwrap_or(present), page))
}

fn next(page: &FeedPage) -> Next {
    match i64::try_from(page.events.len()) {
        Ok(PAGE) => Next::AtOnce,
        _ if page.held_back => Next::Soon,
        _ => Next::Later,
    }
}

/// `None`: the database does not answer. The reader comes back.
async fn page(store: Store, generation: i64, org: OrgId, after: FeedPlace) -> Option<Vec<Frame<FeedPlace>>> {
    match store.feed_after(generation, org, after, PAGE).await {
        Ok(page) => Some(page.events.into_iter().map(frame).collect()),
        Err(error) => broken_off(&error),
    }
}

fn frame(event: FeedEvent) -> Frame<FeedPlace> {
    let item = FeedItem::from(event);
    Frame { place: item.place, bytes: message(&item.place, &item) }
}

#[cfg(test)]
mod tests;
