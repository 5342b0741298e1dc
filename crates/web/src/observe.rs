//! What is seen of every request: its id, its span, in the trace that its `traceparent` names, its count and duration.
//!
//! Labels are the route's pattern, never the path: a path holds ids, and each new one would be a new time series.
//!
//! Not here: causes of failures (`problem`).

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

use crate::app::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id, its own if it is a UUID, and tells the client.
pub(crate) async fn identify(State(app): State<App>, request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|value| Uuid::try_parse_ascii(value.as_bytes()).ok());
    let id = given.unwrap_or_else(|| app.store.sources().id());
    let span = tracing::info_span!(
        "request",
        request.id = %id,
        method = method(&request),
        route = route(&request),
        status = tracing::field::Empty,
        otel.kind = "server",
        otel.name = format_args!("{} {}", method(&request), route(&request)),
    );
    traces::follow(&span, request.headers().get(traces::HEADER).and_then(|value| value.to_str().ok()));
    let mut response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    let value = HeaderValue::from_str(&id.to_string()).expect("a UUID is a header value");
    response.headers_mut().insert(REQUEST_ID, value);
    response
}

/// Counts the request and times it, up to the response's head: a stream's length says nothing about us.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    let labels = [("method", method(&request)), ("route", route(&request).to_owned())];
    let began = Instant::now();
    let response = next.run(request).await;
    let (elapsed, status) = (began.elapsed(), response.status().as_u16());
    metrics::histogram!("cowork_http_request_ms", &labels).record(elapsed.as_secs_f64() * 1_000.0);
    let [method, route] = labels;
    metrics::counter!("cowork_http_requests_total", &[method, route, ("status", status.to_string())]).increment(1);
    tracing::debug!(status, duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), "answered");
    response
}

/// Says what the numbers are. Once, when the router is made.
pub(crate) fn describe() {
    metrics::describe_counter!("cowork_http_requests_total", "requests answered, by route and status");
    metrics::describe_counter!("cowork_sign_ins_total", "browsers that came back from the provider, by outcome");
    metrics::describe_counter!("cowork_billing_events_total", "events of the billing provider, by what became of them");
    metrics::describe_histogram!("cowork_http_request_ms", "from a request to its answer's head, in milliseconds");
}

fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str)
}

/// Clients may invent methods; a label must not.
fn method(request: &Request) -> String {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| *known == request.method().as_str()).unwrap_or("other").to_owned()
}
