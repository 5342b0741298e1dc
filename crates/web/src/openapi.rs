//! The API's own description: OpenAPI 3.1, from the types and routes that serve it.
//!
//! A route is described where it is handled (`#[utoipa::path]`), and there is no other way into the router, so none can be
//! left out. What holds for all of them (identity, bounds, problems) is added here, once. `docs/reference/openapi.json` is the
//! committed copy; a test compares it.
//!
//! Not here: what a single route takes and gives.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, KnownFormat, ObjectBuilder, OpenApi, OpenApiBuilder, PathItem, Ref,
    RefOr, Required, Response, ResponseBuilder, SchemaFormat, Type,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::problem;

/// The name of the security scheme that operations refer to, with the permission that they take.
pub(crate) const TOKEN: &str = "token";
/// The same for people who are signed in with a browser. Every operation that takes a token takes it, too.
const SESSION: &str = "session";

const DESCRIPTION: &str = "\
Every failure is a problem (RFC 9457) with a stable `code`. Ids are UUIDs; what belongs to another org is not found. \
Lists are pages: `next_cursor` of one is the `cursor` of the next. Request bodies are refused if they have a field that \
is not described here. Every answer has an `x-request-id`, and `RateLimit` and `RateLimit-Policy` where requests are \
limited.";

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
    let ids = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut added: Vec<RefOr<Parameter>> = ids.map(|name| id(name).into()).collect();
    let named = !added.is_empty();
    added.push(cowork_org().into());
    if changes {
        added.push(idempotency_key().into());
        added.push(csrf_token().into());
    }
    if changes && operation.responses.responses.contains_key("412") {
        added.push(if_match().into());
    }
    let parameters = operation.parameters.get_or_insert_default();
    let queries = parameters.iter().any(is_query);
    parameters.splice(0..0, added);
    let mut problems = vec![
        ("401", "There is no token and no browser session, or it is not in force."),
        ("429", "The token or browser session made more requests than it may; `Retry-After` says when to go on."),
        ("500", "It failed on our side; the log has the cause under the answer's `x-request-id`."),
    ];
    let sessions = permissions(operation);
    if changes || sessions.iter().any(|permissions| !permissions.is_empty()) {
        problems.push(("403", "The permission is not given, or another site may have made the request."));
    }
    let sessions = sessions.into_iter().map(|permissions| SecurityRequirement::new(SESSION, permissions));
    operation.security.get_or_insert_default().extend(sessions);
    if operation.responses.responses.contains_key("304") {
        problems.push(("422", "`If-None-Match` can't be read."));
    }
    if named || operation.request_body.is_some() {
        problems.push(("404", "Nothing of this id is here."));
    }
    if queries || changes {
        problems.push(("422", "The request can't be carried out as it is written; `detail` says what to change."));
    }
    if changes {
        problems.push((
            "409",
            "The present state does not allow it, or a request with this `Idempotency-Key` is being carried out.",
        ));
    }
    if let Some(body) = &operation.request_body {
        problems.push(("413", "The body is larger than 1 MiB."));
        let json = matches!(body, RefOr::T(body) if body.content.contains_key("application/json"));
        if json {
            problems.push(("415", "The body is not `application/json`."));
        }
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in problems {
        responses.entry(status.to_owned()).or_insert_with(|| problem(description).into());
    }
    for (status, response) in responses.iter_mut() {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
            *response = problem(&response.description);
        }
    }
}

/// What is asked for beyond a token, as alternatives. The types do not show what they hold, their JSON does.
fn permissions(operation: &Operation) -> Vec<Vec<String>> {
    let needed = operation.security.iter().flatten().map(|needed| serde_json::to_value(needed).unwrap_or_default());
    needed.map(|json| serde_json::from_value(json[TOKEN].clone()).unwrap_or_default()).collect()
}

fn is_query(parameter: &RefOr<Parameter>) -> bool {
    matches!(parameter, RefOr::T(Parameter { parameter_in: ParameterIn::Query, .. }))
}

fn uuid() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
}

fn id(name: &str) -> Parameter {
    // Whatever is not an id or a number is a name.
    let schema = match name {
        "part" => ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(256)),
        name if name.ends_with("_id") => uuid(),
        _ => ObjectBuilder::new().schema_type(Type::String),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn cowork_org() -> Parameter {
    ParameterBuilder::new()
        .name("Cowork-Org")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The org to act in. Only an operator may name another than that of the token."))
        .schema(Some(uuid()))
        .build()
}

fn idempotency_key() -> Parameter {
    let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(200));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A repeat with the same key, within 24 hours, has no further effect and gets the same answer.",
        ))
        .schema(Some(key))
        .build()
}

fn csrf_token() -> Parameter {
    ParameterBuilder::new()
        .name("Cowork-Csrf-Token")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Needed with a browser session: the `csrf_token` of `GET /api/browser-sessions/current`. Besides, `Origin` is \
            this system's own. With an API token neither is looked at.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn if_match() -> Parameter {
    ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The `ETag` that the change was made for, or `*` for any. Without it the change happens anyway.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(problem::Body::name()))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

#[cfg(test)]
mod tests;
