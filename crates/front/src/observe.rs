//! What is seen of every request: its id, its span, its count and duration.
//!
//! Labels are the route's pattern, never the path: a path holds ids, and each new one would be a new time series.
//!
//! Not here: causes of failures (each role's problems).

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use clock::Sources;
use tracing::Instrument;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where the trace of a request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceBegins {
    /// With whoever sends it, if it has a `traceparent`.
    WithTheCaller,
    /// What a sender outside calls its own is not taken over.
    Here,
}

/// Gives the request an id, its own if it is a UUID, and tells the client.
pub async fn identify(sources: &Sources, trace: TraceBegins, request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|value| Uuid::try_parse_ascii(value.as_bytes()).ok());
    let id = given.unwrap_or_else(|| sources.id());
    let span = tracing::info_span!(
        "request",
        request.id = %id,
        method = method(&request),
        route = route(&request),
        status = tracing::field::Empty,
        otel.kind = "server",
        otel.name = format_args!("{} {}", method(&request), route(&request)),
    );
    if trace == TraceBegins::WithTheCaller {
        traces::follow(&span, request.headers().get(traces::HEADER).and_then(|value| value.to_str().ok()));
    }
    let mut response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    let value = HeaderValue::from_str(&id.to_string()).expect("a UUID is a header value");
    response.headers_mut().insert(REQUEST_ID, value);
    response
}

/// Counts the request and times it, up to the response's head: a stream's length says nothing about us.
pub async fn measure(request: Request, next: Next) -> Response {
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

/// Says what is measured of requests. Once, when a router is made.
pub fn describe() {
    measures::counter_by_labels("cowork_http_requests_total", "requests answered, by route and status");
    let description = "from a request to its answer's head, in milliseconds";
    measures::histogram_by_labels("cowork_http_request_ms", description);
}

/// Begins at zero what alerts ask for: the failures of these methods and routes that are our fault. All answers would
/// be too many.
pub fn expect_failures(routes: impl Iterator<Item = (String, String)>) {
    for (method, route) in routes {
        for status in ["500", "503"] {
            let labels = [("method", method.clone()), ("route", route.clone()), ("status", status.to_owned())];
            metrics::counter!("cowork_http_requests_total", &labels).increment(0);
        }
    }
}

fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str)
}

/// Clients may invent methods; a label must not.
fn method(request: &Request) -> String {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| *known == request.method().as_str()).unwrap_or("other").to_owned()
}
