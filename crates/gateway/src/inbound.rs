//! Messages in: `POST /hooks/{channel_id}`.
//!
//! Everything that follows from a message is one transaction (`store::inbound`).
//!
//! Not here: its bounds and its signature (`door`).

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use domain::channel::{INBOUND_CHARS, THREAD_CHARS};
use ids::{ChannelId, CommandId};
use serde::{Deserialize, Serialize};
use store::{Channel, EnqueueError, InboundError, InboundMessage};
use tracing::Instrument as _;

use crate::Parts;
use crate::door::{bounded, internal, open, remembered, signed, whole};
use crate::problem::Problem;

#[derive(Deserialize)]
struct Body {
    thread: String,
    text: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Received {
    /// `None`: the message had come to the system that this one was restored from, and its command was lost with it.
    command_id: Option<CommandId>,
    /// The message had come before; nothing was done.
    duplicate: bool,
}

pub(crate) async fn receive(
    State(parts): State<Parts>,
    channel: Result<Path<ChannelId>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Received>), Problem> {
    let Path(channel) = channel.map_err(|_| Problem::no_such("channel"))?;
    let body = whole(body)?;
    let found = parts.store.channel_find(channel).await.map_err(|error| internal(&error))?;
    let channel = found.ok_or_else(|| Problem::no_such("channel"))?;
    let message = verified(&parts, &channel, &headers, &body)?;
    open(&parts).await?;
    // A trace begins here: what a sender outside calls its own is not taken over.
    let span = tracing::info_span!("message", channel.id = %channel.channel_id, otel.kind = "server");
    let taken = parts.store.inbound_receive(parts.generation.generation, &channel, &message);
    let received = taken.instrument(span).await.map_err(|error| refused(&error))?;
    count(received.duplicate);
    remembered(&parts).await?;
    Ok((StatusCode::ACCEPTED, Json(Received { command_id: received.command, duplicate: received.duplicate })))
}

fn refused(error: &InboundError) -> Problem {
    match error {
        InboundError::Enqueue(EnqueueError::AgentRefused) => Problem::refused_by_policy(),
        error => internal(error),
    }
}

fn verified(parts: &Parts, channel: &Channel, headers: &HeaderMap, body: &[u8]) -> Result<InboundMessage, Problem> {
    let secret = parts.channel_secret.of_channel(channel.channel_id, &channel.secret_version);
    let provider_event_id = signed(secret.as_deref(), &format!("channel:{}", channel.channel_id), headers, body)?;
    let Body { thread, text } = serde_json::from_slice(body)
        .map_err(|_| Problem::invalid("a message is JSON like {\"thread\": \"...\", \"text\": \"...\"}"))?;
    bounded("thread", &thread, THREAD_CHARS)?;
    bounded("text", &text, INBOUND_CHARS)?;
    let digest = parts.effects.inbound(channel.channel_id.into(), &provider_event_id);
    Ok(InboundMessage { provider_event_id, thread, text, digest })
}

fn count(duplicate: bool) {
    let name = if duplicate { "cowork_inbound_duplicates_total" } else { "cowork_inbound_messages_total" };
    metrics::counter!(name).increment(1);
}
