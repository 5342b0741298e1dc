//! Messages in: `POST /hooks/{channel_id}`.
//!
//! A message is a prompt, or decides what an agent asked. Everything that follows from it is one transaction (`store::inbound`).
//!
//! Not here: its bounds and its signature (`door`), how a decision is written and refused (`decisions`).

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use domain::channel::{INBOUND_CHARS, THREAD_CHARS};
use domain::chat::{EXTERNAL_ID_CHARS, SENDER_NAME_CHARS};
use domain::name::tidied;
use ids::{ChannelId, CommandId};
use serde::{Deserialize, Serialize};
use store::{Channel, EnqueueError, InboundDecision, InboundError, InboundMessage, Sender};
use tracing::Instrument as _;

use crate::Parts;
use crate::decisions::{self, DecisionBody};
use crate::door::{bounded, internal, open, remembered, signed, whole};
use crate::problem::Problem;

#[derive(Deserialize)]
struct Body {
    thread: String,
    /// Of a message that is no decision.
    text: Option<String>,
    sender: Option<SenderBody>,
    decision: Option<DecisionBody>,
}

/// Whom the message is of.
#[derive(Deserialize)]
struct SenderBody {
    id: String,
    #[serde(default)]
    name: String,
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
    let (event, body) = verified(&parts, &channel, &headers, &body)?;
    let said = said(&parts, &channel, event, body)?;
    open(&parts).await?;
    // A trace begins here: what a sender outside calls its own is not taken over.
    let span = tracing::info_span!("message", channel.id = %channel.channel_id, otel.kind = "server");
    let received = take(&parts, &channel, &said).instrument(span).await?;
    count(received.duplicate);
    remembered(&parts).await?;
    Ok((StatusCode::ACCEPTED, Json(Received { command_id: received.command, duplicate: received.duplicate })))
}

/// What a message is.
enum Said {
    Prompt(InboundMessage),
    Decision(InboundDecision),
}

async fn take(parts: &Parts, channel: &Channel, said: &Said) -> Result<store::Received, Problem> {
    let generation = parts.generation.generation;
    match said {
        Said::Prompt(message) => {
            let taken = parts.store.inbound_receive(generation, channel, message).await;
            taken.map_err(|error| refused(&error))
        }
        Said::Decision(decision) => decisions::take(parts, channel, decision).await,
    }
}

fn refused(error: &InboundError) -> Problem {
    match error {
        InboundError::Enqueue(EnqueueError::AgentRefused) => Problem::refused_by_policy(),
        InboundError::NotAllowed(why) => Problem::not_allowed(why),
        error => internal(error),
    }
}

/// The id of the message and what it says, if it is signed.
fn verified(parts: &Parts, channel: &Channel, headers: &HeaderMap, body: &[u8]) -> Result<(String, Body), Problem> {
    let secret = parts.channel_secret.of_channel(channel.channel_id, &channel.secret_version);
    let event = signed(secret.as_deref(), &format!("channel:{}", channel.channel_id), headers, body)?;
    let body = serde_json::from_slice(body).map_err(|_| {
        Problem::invalid(
            "a message is JSON like {\"thread\": \"...\", \"text\": \"...\", \"sender\": {\"id\": \"...\", \"name\": \"...\"}}, \
             or has a decision like {\"token\": \"...\", \"kind\": \"approve\"} in the place of the text",
        )
    })?;
    Ok((event, body))
}

fn said(parts: &Parts, channel: &Channel, provider_event_id: String, body: Body) -> Result<Said, Problem> {
    let Body { thread, text, sender, decision } = body;
    bounded("thread", &thread, THREAD_CHARS)?;
    let sender = sender.map(|sender| named(parts, channel, sender)).transpose()?;
    let digest = parts.effects.inbound(channel.channel_id.into(), &provider_event_id);
    if let Some((token_hash, decision)) = decisions::read(decision, text.as_deref())? {
        let decision = InboundDecision { provider_event_id, thread, sender, token_hash, decision, digest };
        return Ok(Said::Decision(decision));
    }
    let text = text.unwrap_or_default();
    bounded("text", &text, INBOUND_CHARS)?;
    Ok(Said::Prompt(InboundMessage { provider_event_id, thread, text, sender, digest }))
}

fn named(parts: &Parts, channel: &Channel, sender: SenderBody) -> Result<Sender, Problem> {
    let SenderBody { id: external_id, name } = sender;
    bounded("id of the sender", &external_id, EXTERNAL_ID_CHARS)?;
    if !name.is_empty() {
        bounded("name of the sender", &name, SENDER_NAME_CHARS)?;
    }
    // What a chat calls somebody is no reason to lose what they say.
    let name = tidied(&name, SENDER_NAME_CHARS);
    let digest = parts.effects.identity(channel.channel_id, &external_id);
    Ok(Sender { external_id, name, digest })
}

fn count(duplicate: bool) {
    let name = if duplicate { "cowork_inbound_duplicates_total" } else { "cowork_inbound_messages_total" };
    metrics::counter!(name).increment(1);
}
