//! The API's own description: OpenAPI 3.1, from the types and routes that serve it.
//!
//! A route is described where it is handled (`#[utoipa::path]`), and there is no other way into the router, so none can be
//! left out. What holds for all of them (identity, bounds, problems) is added here, once. `docs/reference/openapi.json` is the
//! committed copy; a test compares it.
//!
//! Signing in, what the billing provider tells, and the probes of every role stand beside `/api` and take no token. They are
//! described in the same document (`beside`), each under a tag of those, with empty `security`.
//!
//! Not here: what a single route takes and gives. What all have in common is in parts: what they take (`parameters`, `bodies`),
//! how long their lists are (`lists`), and how they fail (`failures`). Where messages and
//! calls come in, the gateway describes itself.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, RefOr};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::problem;

mod beside;
mod bodies;
mod failures;
mod lists;
mod parameters;

/// The name of the security scheme that operations refer to, with the permission that they take.
pub(crate) const TOKEN: &str = "token";
/// The same for people who are signed in with a browser. Every operation that takes a token takes it, too.
const SESSION: &str = "session";

const DESCRIPTION: &str = "\
Every failure is a problem (RFC 9457) with a stable `code`. Ids are UUIDs; what belongs to another org is not found. \
Lists are pages: `next_cursor` of one is the `cursor` of the next. Request bodies are refused if they have a field that \
is not described here. Every answer has an `x-request-id`, and `RateLimit` and `RateLimit-Policy` where requests are \
limited. What does not begin with `/api` takes no token; what it takes instead, and its limit, stands in its description. \
Probes are answered by every role on its own listener.";

static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(text()));

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// This document. Any token in force may read it.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    operation_id = "openapi",
    tag = "installation",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value)),
    security(("token" = [])),
)]
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone())
}

/// The document as it is served and committed: indented JSON with a line's end.
///
/// # Panics
/// Never: every part of it has a JSON form.
#[must_use]
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).expect("an OpenAPI document has a JSON form");
    text.push('\n');
    text
}

/// The document with what holds for every route.
pub(crate) fn document() -> OpenApi {
    let mut document = crate::router::described().into_openapi();
    document.merge(common());
    document.info = common().info;
    for (path, item) in &mut document.paths.paths {
        for (unsafe_method, operation) in operations(item) {
            complete(path, unsafe_method, operation);
        }
    }
    document.merge(beside::document());
    bodies::close(&mut document);
    lists::bound(&mut document);
    document
}

fn common() -> OpenApi {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("cow_...");
    let scheme = scheme.description(Some("An API token. What an operation takes is named beside it."));
    let cookie = "What signing in at /auth/sign-in gives a browser. It permits what the account's role does. Over plain http, \
        which is for loopback, it is called `cowork`.";
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description("__Host-cowork", cookie));
    let components = ComponentsBuilder::new()
        .security_scheme(TOKEN, SecurityScheme::Http(scheme.build()))
        .security_scheme(SESSION, SecurityScheme::ApiKey(cookie))
        .schema(problem::Body::name(), problem::Body::schema())
        .build();
    let info =
        InfoBuilder::new().title("Open Cowork").version(env!("CARGO_PKG_VERSION")).description(Some(DESCRIPTION));
    OpenApiBuilder::new().info(info.build()).components(Some(components)).build()
}

/// The operations of a path, each with whether it changes something.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
    let safe = [&mut item.get].into_iter().flatten().map(|operation| (false, operation));
    let unsafes = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
    safe.chain(unsafes.into_iter().flatten().map(|operation| (true, operation)))
}

fn complete(path: &str, changes: bool, operation: &mut Operation) {
    let conditional = operation.responses.responses.contains_key("412");
    let added = parameters::added(path, changes, conditional).into_iter().map(RefOr::T);
    operation.parameters.get_or_insert_default().splice(0..0, added);
    let sessions = permissions(operation).into_iter();
    let sessions = sessions.map(|permissions| SecurityRequirement::new(SESSION, permissions));
    operation.security.get_or_insert_default().extend(sessions);
    failures::complete(path, changes, operation);
}

/// What is asked for beyond a token, as alternatives. The types do not show what they hold, their JSON does.
fn permissions(operation: &Operation) -> Vec<Vec<String>> {
    let needed = operation.security.iter().flatten().map(|needed| serde_json::to_value(needed).unwrap_or_default());
    needed.map(|json| serde_json::from_value(json[TOKEN].clone()).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests;
