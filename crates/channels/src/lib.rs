//! Channel providers behind one trait.
//!
//! A provider is told what to send and answers with what that means for the message: accepted, perhaps later, or never.
//! It keeps no state and decides no times. What it says about a failure is fit for people and holds no secret.
//!
//! Not here: what a message says (`domain::channel`), when to try again (`domain::retry`), where secrets come from
//! (`secrets`).

mod describe;
mod retry_after;
mod webhook;

use std::time::Duration;

use async_trait::async_trait;
use clock::Timestamp;
use domain::channel::{ChannelKind, Destination};
use domain::egress::{Egress, Refused};
use domain::retry::Failure;
use ids::DeliveryId;
use reqwest::header::HeaderMap;

pub use crate::webhook::{DESTINATION_HEADER, Webhook};

/// One message on its way out.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// The same at every attempt: the far side tells a repeat by it.
    pub delivery_id: DeliveryId,
    pub destination: &'a Destination,
    pub signing_secret: &'a str,
    pub payload: &'a serde_json::Value,
    /// The instant of this attempt.
    pub at: Timestamp,
}

/// The far side has taken the message over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted;

/// It has not, or did not say so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may later. It has not taken this attempt.
    #[error("{reason}")]
    Transient { retry_after: Option<Duration>, reason: String },
    /// Nobody here knows: the request was on its way, and no answer says what became of it.
    #[error("{reason}")]
    Ambiguous { retry_after: Option<Duration>, reason: String },
    /// It never will, as things are.
    #[error("{reason}")]
    Permanent { reason: String },
    /// Nobody was called: the destination is where this system does not go.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl SendError {
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Transient { retry_after, .. } => Failure::Transient { retry_after: *retry_after },
            Self::Ambiguous { retry_after, .. } => Failure::Ambiguous { retry_after: *retry_after },
            Self::Permanent { .. } | Self::Refused(_) => Failure::Permanent,
        }
    }
}

/// A way to send.
#[async_trait]
pub trait Channel: std::fmt::Debug + Send + Sync {
    /// Tries once, within a bounded time.
    async fn send(&self, outgoing: Outgoing<'_>) -> Result<Accepted, SendError>;
}

/// Where messages really go.
#[derive(Debug, Clone)]
pub enum Route {
    /// To their destinations, as far as those may be called.
    Direct(Egress),
    /// All of them to one recorder: a drill copy of a system. No other address is ever connected to, and this one is
    /// wherever its operator says.
    Redirected(Destination),
}

/// A message that came in was not sent by whom it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("the header {0} is missing or can't be read")]
    Header(&'static str),
    #[error("the message was signed more than five minutes ago, or in the future")]
    Stale,
    #[error("the signature does not fit the message")]
    Signature,
}

/// Checks who sent a message, over its bytes as they came. Gives back the provider's id of the event.
///
/// # Errors
/// If the signature does not fit, or is too old; nothing of the message may be used then.
pub fn verify(
    kind: ChannelKind,
    signing_secret: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<String, VerifyError> {
    match kind {
        ChannelKind::Webhook => webhook::verify(signing_secret, headers, body),
    }
}
