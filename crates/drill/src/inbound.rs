//! What comes to the gateway from outside, signed as Standard Webhooks asks: a message, as a channel's provider would send it, and the
//! call of a workflow.

use clock::Sources;
use ids::{CommandId, RunId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::rehearsal::{KnownChannel, KnownTrigger};

/// What the gateway answers to a message.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Answer {
    /// `None`: it was accepted before a restore, and its command was lost.
    pub(crate) command_id: Option<CommandId>,
    /// The event was accepted before, and this changed nothing.
    pub(crate) duplicate: bool,
}

/// What it answers to a call.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct CallAnswer {
    /// `None`: it was accepted before a restore, and its run was lost; or it was skipped.
    pub(crate) run_id: Option<RunId>,
    /// The event was accepted before, and this changed nothing.
    pub(crate) duplicate: bool,
}

/// A message, as the provider of a channel sends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) thread: &'a str,
    /// What the chat calls who wrote it. `None`: it names nobody.
    pub(crate) sender: Option<&'a str>,
    pub(crate) words: Words<'a>,
}

/// What a message says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Words<'a> {
    Text(&'a str),
    /// Approves what an agent asks, by the token that the thread was told.
    Approve(&'a SecretString),
}

/// A message was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboundError {
    #[error("no channel is known that takes a message")]
    NoChannel,
    #[error("the gateway did not answer")]
    Transport(#[source] reqwest::Error),
    #[error("the gateway answered {0}")]
    Refused(u16),
    #[error("the secret can't sign")]
    Secret(#[source] standardwebhooks::WebhookError),
}

/// Sends `text` to `thread` as the provider's event `event_id`.
pub(crate) async fn post(
    gateway: &str,
    channel: &KnownChannel,
    event_id: &str,
    thread: &str,
    text: &str,
    sources: &Sources,
) -> Result<Answer, InboundError> {
    say(gateway, channel, event_id, &Message { thread, sender: None, words: Words::Text(text) }, sources).await
}

/// Sends a message as the provider's event `event_id`.
pub(crate) async fn say(
    gateway: &str,
    channel: &KnownChannel,
    event_id: &str,
    message: &Message<'_>,
    sources: &Sources,
) -> Result<Answer, InboundError> {
    let mut body = match message.words {
        Words::Text(text) => json!({"text": text}),
        Words::Approve(token) => json!({"decision": {"kind": "approve", "token": token.expose_secret()}}),
    };
    body["thread"] = message.thread.into();
    if let Some(sender) = message.sender {
        body["sender"] = json!({"id": sender});
    }
    let address = format!("{gateway}/hooks/{}", channel.channel);
    signed(&address, &channel.signing_secret, event_id, body.to_string(), sources).await
}

/// Calls a workflow with `data`, as the caller's event `event_id`.
pub(crate) async fn call(
    gateway: &str,
    trigger: &KnownTrigger,
    event_id: &str,
    data: &str,
    sources: &Sources,
) -> Result<CallAnswer, InboundError> {
    let body = json!({"text": data}).to_string();
    signed(&format!("{gateway}{}", trigger.path), &trigger.signing_secret, event_id, body, sources).await
}

async fn signed<T: DeserializeOwned>(
    address: &str,
    secret: &SecretString,
    event_id: &str,
    body: String,
    sources: &Sources,
) -> Result<T, InboundError> {
    let timestamp = sources.now().timestamp();
    let webhook = standardwebhooks::Webhook::new(secret.expose_secret()).map_err(InboundError::Secret)?;
    let signature = webhook.sign(event_id, timestamp, body.as_bytes()).map_err(InboundError::Secret)?;
    let http = reqwest::Client::builder().no_proxy().build().map_err(InboundError::Transport)?;
    let request = http
        .post(address)
        .header("content-type", "application/json")
        .header("webhook-id", event_id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature)
        .body(body);
    let response = request.send().await.map_err(InboundError::Transport)?;
    if !response.status().is_success() {
        return Err(InboundError::Refused(response.status().as_u16()));
    }
    response.json().await.map_err(InboundError::Transport)
}
