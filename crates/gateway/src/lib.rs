//! The gateway: channel messages in, deliveries out.
//!
//! Three parts that share nothing but the database: [`router`] takes signed messages in and makes them prompts, and signed calls
//! and makes them runs of workflows;
//! `render` turns what sessions said into deliveries; `send` carries deliveries out. Any number of gateways may run
//! side by side.
//!
//! Guaranteed: a message that came in is one prompt, however often it comes, and a call one run; the deliveries of a thread arrive in order.
//! On a channel that deduplicates each arrives at least once, and every repeat carries the same id; on another each
//! arrives at most once, and one that may not have arrived waits for a person.
//!
//! A drill copy of a system is kept from the outside world here: [`route`].
//!
//! Not here: what a message says (`domain::channel`), how it is sent (`channels`), who may do what by chat (`domain::chat`).

mod calls;
mod decisions;
mod door;
mod inbound;
mod limits;
mod measured;
mod openapi;
mod problem;
mod render;
mod route;
mod secret;
mod send;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use channels::{Channel, Webhook};
use domain::egress::Egress;
use domain::retry::Patience;
use effects::Effects;
use store::{Generation, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use crate::door::router;
pub use crate::openapi::text as openapi;
pub use crate::route::{RouteError, route};
pub use crate::secret::ChannelSecret;

/// What a gateway is made of. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Parts {
    pub store: Store,
    pub effects: Effects,
    /// Read once, when the process starts. When a later one begins, this gateway sends nothing any more.
    pub generation: Generation,
    pub channel_secret: ChannelSecret,
    /// Of one trigger, to one process. 0: as many as come.
    pub calls_per_minute: u32,
    /// Of one channel, to one process. 0: as many as come.
    pub messages_per_minute: u32,
    /// Messages and calls of one address that are for nobody or not signed rightly, to one process. 0: as many as come.
    pub wrong_signatures_per_minute: u32,
}

/// How a gateway behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// How often an idle gateway looks for work.
    pub poll: Duration,
    /// After so many failed attempts a delivery is dead.
    pub max_attempts: u32,
    /// The ceiling of the wait after the first failed attempt; it doubles with each.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// Of one attempt.
    pub timeout: Duration,
    /// Where a drill copy sends everything. Refused in production.
    pub redirect_to: Option<String>,
    /// Where messages may go that are not redirected.
    pub egress: Egress,
    /// Deliveries in flight at the same time.
    pub concurrency: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            max_attempts: 8,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            timeout: Duration::from_secs(10),
            redirect_to: None,
            egress: Egress::default(),
            concurrency: 32,
        }
    }
}

impl GatewayConfig {
    fn patience(&self) -> Patience {
        let max_attempts = i32::try_from(self.max_attempts).unwrap_or(i32::MAX);
        Patience { base: self.backoff, max: self.backoff_max, max_attempts }
    }
}

/// A gateway can't run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the environment does not allow it")]
    Route(#[from] RouteError),
    #[error("the HTTP client can't be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Renders and sends until `shutdown`, then finishes what is in flight. Messages in are [`router`]'s business.
///
/// # Errors
/// Before anything is sent: if the environment and the configuration don't fit ([`route`]).
pub async fn run(parts: Parts, config: GatewayConfig, shutdown: CancellationToken) -> Result<(), StartError> {
    let route = route(parts.generation.environment, config.redirect_to.as_deref(), &config.egress)?;
    let webhook = Webhook::new(config.timeout, route).map_err(|error| StartError::Client(error.into()))?;
    run_over(parts, config, Arc::new(webhook), shutdown).await;
    Ok(())
}

/// As [`run`], with somebody else in the place of webhooks. Nothing is looked at before: whoever hands over a channel knows
/// whom it reaches.
pub async fn run_over(parts: Parts, config: GatewayConfig, webhook: Arc<dyn Channel>, shutdown: CancellationToken) {
    measured::describe();
    let rendered = Arc::new(Notify::new());
    let sender = send::Sender::new(parts.clone(), &config, webhook);
    tokio::join!(
        render::run(&parts, config.poll, &rendered, &shutdown),
        send::run(Arc::new(sender), &rendered, &shutdown),
    );
}

/// An error with its sources, on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
