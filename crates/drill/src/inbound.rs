//! A message from outside to the gateway, signed as Standard Webhooks asks, as a channel's provider would send it.

use clock::Sources;
use ids::CommandId;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use crate::rehearsal::KnownChannel;

/// What the gateway answers.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Answer {
    /// `None`: it was accepted before a restore, and its command was lost.
    pub(crate) command_id: Option<CommandId>,
    /// The event was accepted before, and this changed nothing.
    pub(crate) duplicate: bool,
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
    #[error("the channel's secret can't sign")]
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
    let body = json!({"thread": thread, "text": text}).to_string();
    let timestamp = sources.now().timestamp();
    let webhook =
        standardwebhooks::Webhook::new(channel.signing_secret.expose_secret()).map_err(InboundError::Secret)?;
    let signature = webhook.sign(event_id, timestamp, body.as_bytes()).map_err(InboundError::Secret)?;
    let http = reqwest::Client::builder().no_proxy().build().map_err(InboundError::Transport)?;
    let request = http
        .post(format!("{gateway}/hooks/{}", channel.channel))
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
