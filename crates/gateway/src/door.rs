//! What comes in over HTTP: messages of channels and calls of workflows, and the bounds that they share.
//!
//! The signature is checked over the bytes as they came, before anything reads them. What follows is one transaction, and the answer
//! is 202 only after it, and when the recovery ledger knows of it: a sender that hears nothing, or 503, sends again under the same id and does no harm.
//!
//! Every answer has an `x-request-id` (`front`).
//!
//! Not here: what becomes of a message (`inbound`) and of a call (`calls`), how many there may be (`limits`).

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{Extension, Router};
use clock::Sources;
use domain::channel::ChannelKind;
use front::TraceBegins;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::calls::{self, Calls};
use crate::limits::Limits;
use crate::problem::Problem;
use crate::{Parts, chain, inbound, measured, openapi};

/// Bytes of a body.
const BODY_LIMIT: usize = 64 * 1024;
/// Characters of a sender's event id; it becomes part of an idempotency key of at most 200.
const EVENT_ID_CHARS: usize = 150;
/// A sender that stops in the middle of a body is given up after this.
const BODY_PAUSE: Duration = Duration::from_secs(10);

/// The listener's routes.
pub fn router(parts: Parts) -> Router {
    measured::describe();
    let (sources, limits) = (parts.store.sources().clone(), Limits::of(&parts));
    let (messages, calls, own) = described();
    let messages = Router::from(messages).with_state(parts.clone());
    let calls = Router::from(calls).with_state(Calls::new(parts));
    messages
        .merge(calls)
        .merge(Router::from(own))
        .fallback(|| async { Problem::no_such("page") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(Extension(limits))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(from_fn_with_state(sources, identify))
}

/// Gives the request an id and a span.
async fn identify(State(sources): State<Sources>, request: Request, next: Next) -> Response {
    front::identify(&sources, TraceBegins::Here, request, next).await
}

/// Every route with its description. There is no other way into the router.
pub(crate) fn described() -> (OpenApiRouter<Parts>, OpenApiRouter<Calls>, OpenApiRouter) {
    (inbound::routes(), calls::routes(), openapi::routes())
}

/// A body that was read to its end.
pub(crate) fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(BODY_LIMIT),
        _ => Problem::invalid("the body broke off"),
    })
}

/// Whether the message is signed with `secret`.
pub(crate) fn is_signed(secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    channels::verify(ChannelKind::Webhook, secret, headers, body).is_ok()
}

/// The sender's id of the event, if the message is signed with `secret`. `None` for the secret: the configured one has another
/// version than that which the sender was given its own under; `whose` names the sender's door for the log.
pub(crate) fn signed(secret: Option<&str>, whose: &str, headers: &HeaderMap, body: &[u8]) -> Result<String, Problem> {
    let secret = secret.ok_or_else(|| {
        tracing::error!(inlet = whose, "a message came for a secret of another version than the configured one");
        Problem::unavailable()
    })?;
    let event_id = channels::verify(ChannelKind::Webhook, secret, headers, body).map_err(|error| {
        Problem::not_signed(format!(
            "{error}; sign it as Standard Webhooks with the secret that belongs to this address"
        ))
    })?;
    bounded("the header webhook-id", &event_id, EVENT_ID_CHARS)?;
    Ok(event_id)
}

/// Postgres keeps no NUL in a text.
pub(crate) fn bounded(what: &str, text: &str, max: usize) -> Result<(), Problem> {
    if text.is_empty() || text.chars().count() > max || text.contains('\0') {
        return Err(Problem::invalid(format!("{what} has 1 to {max} characters, none of them NUL")));
    }
    Ok(())
}

/// Nothing is taken in maintenance.
pub(crate) async fn open(parts: &Parts) -> Result<(), Problem> {
    let maintenance = parts.store.maintenance_remembered().await.map_err(|error| internal(&error))?;
    if maintenance.is_some() { Err(Problem::maintenance()) } else { Ok(()) }
}

/// Waits until the recovery ledger knows what was taken, and only then it is answered. One that comes again waits as well: the
/// first one may have been told to.
pub(crate) async fn remembered(parts: &Parts) -> Result<(), Problem> {
    if parts.effects.flush().await { Ok(()) } else { Err(Problem::not_remembered()) }
}

pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error = chain(error), "a message was not taken");
    Problem::unavailable()
}
