//! Messages in: `POST /hooks/{channel_id}`.
//!
//! The signature is checked over the bytes as they came, before anything reads them. Everything that follows is one
//! transaction (`store::inbound`), and the answer is 202 only after it: a sender that hears nothing, or 503, sends
//! again under the same id and does no harm.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use domain::channel::{INBOUND_CHARS, THREAD_CHARS};
use ids::{ChannelId, CommandId};
use serde::{Deserialize, Serialize};
use store::{Channel, InboundMessage};
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::problem::Problem;
use crate::{Parts, chain};

/// Bytes of a message.
const BODY_LIMIT: usize = 64 * 1024;
/// Characters of a provider's event id; it becomes part of an idempotency key of at most 200.
const EVENT_ID_CHARS: usize = 150;
/// A sender that stops in the middle of a message is given up after this.
const BODY_PAUSE: std::time::Duration = std::time::Duration::from_secs(10);

/// The listener's routes.
pub fn router(parts: Parts) -> Router {
    Router::new()
        .route("/hooks/{channel_id}", post(receive))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .with_state(parts)
}

#[derive(Deserialize)]
struct Body {
    thread: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct Received {
    /// `None`: the message had come to the system that this one was restored from, and its command was lost with it.
    command_id: Option<CommandId>,
    /// The message had come before; nothing was done.
    duplicate: bool,
}

async fn receive(
    State(parts): State<Parts>,
    channel: Result<Path<ChannelId>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Received>), Problem> {
    let Path(channel) = channel.map_err(|_| Problem::no_such_channel())?;
    let body = body.map_err(|rejection| unread(&rejection))?;
    let found = parts.store.channel_find(channel).await.map_err(|error| internal(&error))?;
    let channel = found.ok_or_else(Problem::no_such_channel)?;
    let message = verified(&parts, &channel, &headers, &body)?;
    if parts.store.maintenance_remembered().await.map_err(|error| internal(&error))?.is_some() {
        return Err(Problem::maintenance());
    }
    let received = parts
        .store
        .inbound_receive(parts.generation.generation, &channel, &message)
        .await
        .map_err(|error| internal(&error))?;
    if !received.duplicate {
        parts.effects.flush().await;
    }
    count(received.duplicate);
    Ok((StatusCode::ACCEPTED, Json(Received { command_id: received.command, duplicate: received.duplicate })))
}

fn verified(parts: &Parts, channel: &Channel, headers: &HeaderMap, body: &[u8]) -> Result<InboundMessage, Problem> {
    let secret = parts.channel_secret.signing_secret(channel.channel_id, &channel.secret_version).ok_or_else(|| {
        tracing::error!(channel.id = %channel.channel_id, version = channel.secret_version,
            "a message came for a channel whose secret has another version than the configured one");
        Problem::unavailable()
    })?;
    let provider_event_id = channels::verify(channel.kind, &secret, headers, body).map_err(|error| {
        Problem::not_signed(format!("{error}; sign it as Standard Webhooks with the channel's secret"))
    })?;
    let Body { thread, text } = serde_json::from_slice(body)
        .map_err(|_| Problem::invalid("a message is JSON like {\"thread\": \"...\", \"text\": \"...\"}"))?;
    bounded("the header webhook-id", &provider_event_id, EVENT_ID_CHARS)?;
    bounded("thread", &thread, THREAD_CHARS)?;
    bounded("text", &text, INBOUND_CHARS)?;
    let digest = parts.effects.inbound(channel.channel_id, &provider_event_id);
    Ok(InboundMessage { provider_event_id, thread, text, digest })
}

/// Postgres keeps no NUL in a text.
fn bounded(what: &str, text: &str, max: usize) -> Result<(), Problem> {
    if text.is_empty() || text.chars().count() > max || text.contains('\0') {
        return Err(Problem::invalid(format!("{what} has 1 to {max} characters, none of them NUL")));
    }
    Ok(())
}

fn unread(rejection: &BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(BODY_LIMIT),
        _ => Problem::invalid("the body broke off"),
    }
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error = chain(error), "a message was not taken");
    Problem::unavailable()
}

fn count(duplicate: bool) {
    let name = if duplicate { "cowork_inbound_duplicates_total" } else { "cowork_inbound_messages_total" };
    metrics::counter!(name).increment(1);
}
