//! What is seen of every request (`front`), and what the numbers of this role are.
//!
//! Not here: causes of failures (`problem`).

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use front::{Failures, TraceBegins};

use crate::app::App;
use crate::{billing, gate, sign_in};

/// Gives the request an id and a span, in the trace that its `traceparent` names.
pub(crate) async fn identify(State(app): State<App>, request: Request, next: Next) -> Response {
    front::identify(app.store.sources(), TraceBegins::WithTheCaller, request, next).await
}

/// Says what the numbers are. Once, when the router is made.
pub(crate) fn describe() {
    front::describe();
    front::expect_failures(gate::routes().map(|(method, route)| (method.to_string(), route.to_owned())));
    measures::gauge("cowork_streams_open", "streams of events that are open");
    measures::counter("cowork_streams_refused_total", "streams whose caller had as many as it may");
    Failures::describe(["credential", "signature"]);
    sign_in::describe();
    billing::describe();
}
