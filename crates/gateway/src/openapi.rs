//! The gateway's own description: OpenAPI 3.1, from the routes that serve it.
//!
//! Whoever sends messages or calls knows the gateway's address and not that of the API, so it says here what it takes, at
//! `/openapi.json`. A route is described where it is handled, and there is no other way into the router (`door`). What holds for all
//! of them is added here: no token, the headers of a signature, and how the door refuses. `docs/reference/openapi-gateway.json` is
//! the committed copy; a test compares it.
//!
//! Not here: probes, which every role has alike and the API's own document describes.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder, Type,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::described;
use crate::problem;

const DESCRIPTION: &str = "\
Where messages of channels and calls of workflows come in. Every failure is a problem (RFC 9457) with a stable `code`. \
What was answered with 202 is done and not forgotten; whatever else is heard, or nothing, the same may be sent again under the \
same id, and nothing happens twice.";

/// The headers of a signature, by Standard Webhooks.
const SIGNATURE: [(&str, &str); 3] = [
    ("webhook-id", "The sender's id of the event, of at most 150 characters. A repeat has the same."),
    ("webhook-timestamp", "When it was signed, in seconds since 1970: within five minutes of now."),
    ("webhook-signature", "`v1,` and the signature in base64; several are separated by blanks."),
];

/// How the door refuses whatever comes in.
const FAILURES: [(&str, &str); 5] = [
    ("401", "It is not signed, or not with the secret that belongs to this address (`bad_signature`)."),
    ("404", "Nothing of this id takes anything here (`not_found`)."),
    ("413", "The body is larger than 64 KiB (`too_large`)."),
    ("422", "It is signed, and not what is taken here; `detail` says what to change (`invalid`)."),
    (
        "503",
        "It was not taken (`unavailable`), the system is in maintenance (`maintenance`), or it was taken and a restore could still \
         forget it (`not_remembered`). Send it again under the same id.",
    ),
];

static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(text()));

pub(crate) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// This document.
///
/// Authentication: none; it is the same for every installation of this version. Limit: none of its own.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "gateway_openapi",
    tag = "gateway",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value)),
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

fn document() -> OpenApi {
    let (messages, calls, own) = described();
    let mut document = messages.into_openapi();
    document.merge(calls.into_openapi());
    document.merge(own.into_openapi());
    let info = InfoBuilder::new().title("Open Cowork: the gateway").version(env!("CARGO_PKG_VERSION"));
    document.info = info.description(Some(DESCRIPTION)).build();
    let problem = ComponentsBuilder::new().schema(problem::Body::name(), problem::Body::schema()).build();
    document.components.get_or_insert_default().schemas.extend(problem.schemas);
    for item in document.paths.paths.values_mut() {
        item.get.iter_mut().for_each(nobody_shows_a_token);
        item.post.iter_mut().for_each(|operation| {
            nobody_shows_a_token(operation);
            signed(operation);
        });
    }
    document
}

fn nobody_shows_a_token(operation: &mut Operation) {
    operation.security = Some(Vec::new());
    operation.parameters.get_or_insert_default();
}

/// What comes in is signed, and is refused in the same ways wherever it goes.
fn signed(operation: &mut Operation) {
    operation.parameters.get_or_insert_default().extend(SIGNATURE.map(|header| RefOr::T(parameter(header))));
    let responses = &mut operation.responses.responses;
    for (status, description) in FAILURES {
        let response = ResponseBuilder::new().description(description).build();
        responses.entry(status.to_owned()).or_insert_with(|| response.into());
    }
    for (status, response) in responses.iter_mut() {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(problem::Body::name()))).build();
            response.content.insert("application/problem+json".to_owned(), content.into());
        }
    }
}

fn parameter((name, description): (&str, &str)) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Relative to this crate.
    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi-gateway.json");

    /// Writes the new document, so that its difference can be looked at and committed.
    #[test]
    fn the_committed_document_is_that_of_this_build() {
        if std::fs::read_to_string(COMMITTED).unwrap_or_default() != text() {
            std::fs::write(COMMITTED, text()).unwrap();
            panic!(
                "what the gateway takes has changed, and docs/reference/openapi-gateway.json with it: look at the \
                 difference and commit it"
            );
        }
    }

    #[test]
    fn every_route_says_what_it_takes_for_authentication_and_its_limit() {
        let document: Value = serde_json::from_str(&text()).unwrap();
        let mut places = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let place = format!("{method} {path}");
                assert_eq!(operation["security"], json!([]), "{place}: nobody has a token for it");
                let said = operation["description"].as_str().unwrap_or_default();
                assert!(said.contains("Authentication: ") && said.contains("Limit: "), "{place}: {said}");
                assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{place}");
                places.push(place);
            }
        }
        assert_eq!(places, ["post /hooks/triggers/{trigger_id}", "post /hooks/{channel_id}", "get /openapi.json"]);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(&text()).unwrap();
        let text = document.to_string();
        let named: Vec<&str> =
            text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let lost: Vec<_> =
            named.iter().filter(|name| document["components"]["schemas"].get(**name).is_none()).collect();
        assert!(lost.is_empty() && named.contains(&"Problem") && named.contains(&"Message"), "{lost:?} of {named:?}");
    }
}
