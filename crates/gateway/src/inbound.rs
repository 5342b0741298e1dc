//! Messages in: `POST /hooks/{channel_id}`.
//!
//! A message is a prompt, or decides what an agent asked. Everything that follows from it is one transaction (`store::inbound`).
//!
//! Not here: its bounds and its signature (`door`), how many there may be (`limits`), how a decision is written and refused (`decisions`).

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use domain::channel::{INBOUND_CHARS, THREAD_CHARS};
use domain::chat::{EXTERNAL_ID_CHARS, SENDER_NAME_CHARS};
use domain::name::tidied;
use domain::rate::Network;
use front::{Peer, Told};
use ids::{ChannelId, CommandId};
use serde::{Deserialize, Serialize};
use store::{BindingError, Channel, EnqueueError, InboundDecision, InboundError, InboundMessage, Sender};
use tracing::Instrument as _;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Parts;
use crate::decisions::{self, DecisionBody};
use crate::door::{bounded, internal, is_signed, open, remembered, signed, whole};
use crate::limits::{Limits, admitted, answered};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(receive))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = Message)]
struct Body {
    /// As the channel names it. A thread that no session is bound to begins one.
    thread: String,
    /// Of a message that is no decision. A line like `/approve TOKEN` decides, too.
    text: Option<String>,
    sender: Option<SenderBody>,
    decision: Option<DecisionBody>,
}

/// Whom the message is of.
#[derive(Deserialize, ToSchema)]
#[schema(as = Sender)]
struct SenderBody {
    /// As the channel names them; it stays the same when the name changes.
    id: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Received {
    /// `None`: the message had come to the system that this one was restored from, and its command was lost with it.
    command_id: Option<CommandId>,
    /// The message had come before; nothing was done.
    duplicate: bool,
}

/// Takes a message of a channel in: a prompt for the session of its thread, or a decision about what an agent asked.
///
/// Authentication: no token. The message is signed as Standard Webhooks say, over the bytes of its body, with the signing secret of
/// the channel; whether its sender may say it, the channel's people and the org's policy decide. Limit: a body of at most 64 KiB
/// that does not stop for ten seconds, an id of at most 150 characters, and `gateway.messages_per_minute` signed messages of one
/// channel.
#[utoipa::path(
    post,
    path = "/hooks/{channel_id}",
    operation_id = "message_receive",
    tag = "hooks",
    params(("channel_id" = uuid::Uuid, Path, description = "The channel's.")),
    request_body(content = Body, content_type = "application/json"),
    responses(
        (status = 202, description = "It is taken, and a restore will not forget it.", body = Received),
        (status = 403, description = "The sender may not do this (`sender_not_allowed`), or the org's policy does not allow the agent (`refused_by_policy`)."),
        (status = 409, description = "What the decision is about is not open any more (`interaction_over`)."),
        (status = 429, description = "The channel sends too much, or too much from the sender's address was wrong (`too_many_requests`); `Retry-After` says when to go on."),
    ),
)]
pub(crate) async fn receive(
    State(parts): State<Parts>,
    Extension(limits): Extension<Limits>,
    Peer(from): Peer,
    channel: Result<Path<ChannelId>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let mut told = None;
    let came = (from, channel.ok().map(|Path(channel)| channel));
    let received = message(&parts, (&limits, &mut told), came, &headers, body).await;
    answered(told.as_ref(), received.map(|received| (StatusCode::ACCEPTED, Json(received))))
}

/// Takes a message from an address for a channel, if its path names one. `told`: what is told of the channel's limit.
async fn message(
    parts: &Parts,
    (limits, told): (&Limits, &mut Option<Told>),
    (from, channel): (Network, Option<ChannelId>),
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Received, Problem> {
    let channel = channel.ok_or_else(|| Problem::no_such("channel"))?;
    let body = whole(body)?;
    let (channel, event) = if is_signed(&parts.channel_secret.of_any_channel(channel), headers, &body) {
        *told = limits.message(channel);
        admitted(told.as_ref(), "this channel sends more messages than it may")?;
        sender(parts, channel, headers, &body).await?
    } else {
        limits.looked_up(from, || false, sender(parts, channel, headers, &body)).await?
    };
    let said = said(parts, &channel, event, read(&body)?)?;
    open(parts).await?;
    let span = tracing::info_span!("message", channel.id = %channel.channel_id, otel.kind = "server");
    let received = take(parts, &channel, &said).instrument(span).await?;
    count(received.duplicate);
    remembered(parts).await?;
    Ok(Received { command_id: received.command, duplicate: received.duplicate })
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
        // It was closed a moment ago.
        InboundError::Binding(BindingError::NoSuchChannel) => Problem::no_such("channel"),
        error => internal(error),
    }
}

/// The channel, and the id of the message, if it is signed.
async fn sender(
    parts: &Parts,
    channel: ChannelId,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Channel, String), Problem> {
    let found = parts.store.channel_find(channel).await.map_err(|error| internal(&error))?;
    let channel = found.ok_or_else(|| Problem::no_such("channel"))?;
    let secret = parts.channel_secret.of_channel(channel.channel_id, &channel.secret_version);
    let event = signed(secret.as_deref(), &format!("channel:{}", channel.channel_id), headers, body)?;
    Ok((channel, event))
}

fn read(body: &[u8]) -> Result<Body, Problem> {
    serde_json::from_slice(body).map_err(|_| {
        Problem::invalid(
            "a message is JSON like {\"thread\": \"...\", \"text\": \"...\", \"sender\": {\"id\": \"...\", \"name\": \"...\"}}, \
             or has a decision like {\"token\": \"...\", \"kind\": \"approve\"} in the place of the text",
        )
    })
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
