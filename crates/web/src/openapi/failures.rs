//! How operations fail for reasons that are not their own: every status that what stands around them (`router`) can answer.
//!
//! Not here: what a single operation says of the same status, which goes before this.

use utoipa::ToSchema;
use utoipa::openapi::path::Operation;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::{Content, ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use crate::{maintenance, problem};

const ALWAYS: [(&str, &str); 10] = [
    ("401", "There is no token and no browser session, or it is not in force."),
    ("403", "The permission is not given, or another site may have made the request."),
    ("404", "Nothing of this id is here; also of what the body or `Cowork-Org` names."),
    ("408", "The body stopped on its way for half a minute, or took longer than twenty (`timeout`)."),
    ("413", "The body is larger than 1 MiB (`too_large`), or is said to be."),
    ("414", "The address is longer than 8 KiB (`address_too_long`)."),
    ("431", "The headers have more than 16 KiB, all together (`headers_too_large`)."),
    ("422", "The request can't be carried out as it is written; `detail` says what to change."),
    ("429", "The token or browser session made more requests than it may; `Retry-After` says when to go on."),
    ("500", "It failed on our side; the log has the cause under the answer's `x-request-id`."),
];

/// Of those, what the bounds of every request answer, whoever asks and for what.
const BOUNDS: [&str; 5] = ["408", "413", "414", "431", "500"];

/// Of what changes something.
const CHANGES: (&str, &str) =
    ("409", "The present state does not allow it, or a request with this `Idempotency-Key` is being carried out.");

/// Of what changes something, but for what ends maintenance.
const NOT_NOW: (&str, &str) = (
    "503",
    "The system is in maintenance (`maintenance`), a part of it does not answer (`unavailable`), or it is done and a restore \
     could still forget it (`not_remembered`). Ask again; `Retry-After` says when.",
);

/// Adds what `operation` does not say itself, and gives every failure the form of a problem.
pub(super) fn complete(path: &str, changes: bool, operation: &mut Operation) {
    let mut failures = ALWAYS.to_vec();
    if changes {
        failures.push(CHANGES);
        if path != maintenance::PATH {
            failures.push(NOT_NOW);
        }
    }
    let json =
        |body: &RefOr<RequestBody>| matches!(body, RefOr::T(body) if body.content.contains_key("application/json"));
    if operation.request_body.as_ref().is_some_and(json) {
        failures.push(("415", "The body is not `application/json`."));
    }
    add(failures, operation);
}

/// The same for what stands beside `/api`. A body that never comes is only waited for where there is one.
pub(super) fn complete_beside(operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    let bounds = ALWAYS.into_iter().filter(|(status, _)| BOUNDS.contains(status) && (has_body || *status != "408"));
    add(bounds.collect(), operation);
}

fn add(failures: Vec<(&'static str, &'static str)>, operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    for (status, description) in failures {
        responses.entry(status.to_owned()).or_insert_with(|| problem(description).into());
    }
    for (status, response) in responses.iter_mut() {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
            response.content.insert("application/problem+json".to_owned(), content().into());
        }
    }
}

fn problem(description: &str) -> Response {
    ResponseBuilder::new().description(description).build()
}

fn content() -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(problem::Body::name()))).build()
}
