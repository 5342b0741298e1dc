//! Sends deliveries.
//!
//! Claims what is due in batches, sends each claim as a task of its own, and records what became of it under the
//! claim's fencing counter. An attempt ends well before its lease does, so no two gateways send one delivery unless one
//! of them was stopped in its tracks; then the far side sees the same id twice and the late result touches no row.
//!
//! Not here: order and leases (`store::delivery`), when to try again (`domain::retry`).

use std::sync::Arc;
use std::time::Duration;

use channels::{Channel, Outgoing, SendError};
use chrono::TimeDelta;
use domain::channel::ChannelKind;
use domain::retry::{Next, Patience, next};
use store::{ClaimedDelivery, NotSent, StoreError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{GatewayConfig, Parts, chain};

/// A lease outlives the attempt by this: time to record the result, also when the database is away for a moment.
const GRACE: Duration = Duration::from_secs(15);
/// A result that can't be recorded is tried so often.
const RECORDINGS: u32 = 5;
const RECORDING_PAUSE: Duration = Duration::from_millis(500);
/// Characters of an error that are kept.
const ERROR_CHARS: usize = 500;

#[derive(Debug)]
pub(crate) struct Sender {
    parts: Parts,
    webhook: Arc<dyn Channel>,
    patience: Patience,
    lease: TimeDelta,
    concurrency: usize,
    poll: Duration,
}

impl Sender {
    pub(crate) fn new(parts: Parts, config: &GatewayConfig, webhook: Arc<dyn Channel>) -> Self {
        let lease = TimeDelta::from_std(config.timeout + GRACE).unwrap_or(TimeDelta::MAX);
        let (concurrency, poll) = (config.concurrency.max(1), config.poll);
        Self { parts, webhook, patience: config.patience(), lease, concurrency, poll }
    }

    async fn claim(&self, free: usize) -> Vec<ClaimedDelivery> {
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let generation = self.parts.generation.generation;
        self.parts.store.delivery_claim(generation, limit, self.lease).await.unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "deliveries can't be claimed");
            Vec::new()
        })
    }

    /// Sends one delivery and records what became of it.
    async fn carry_out(self: Arc<Self>, claim: ClaimedDelivery) {
        let recorded = match self.attempt(&claim).await {
            Ok(()) => self.record_sent(&claim).await,
            Err(error) => self.record_not_sent(&claim, &error).await,
        };
        if let Err(error) = recorded {
            tracing::warn!(delivery.id = %claim.delivery_id, attempt = claim.attempt, error = chain(&error),
                "the result of a delivery was not recorded");
        }
    }

    async fn attempt(&self, claim: &ClaimedDelivery) -> Result<(), SendError> {
        let permanent = |reason: &str| SendError::Permanent { reason: reason.to_owned() };
        let channel = match claim.kind.parse() {
            Ok(ChannelKind::Webhook) => &self.webhook,
            Err(_) => return Err(permanent("the channel is of a kind that this build does not know")),
        };
        let destination =
            claim.destination.parse().map_err(|_| permanent("the channel's destination can't be read"))?;
        let signing_secret = self.signing_secret(claim)?;
        let outgoing = Outgoing {
            delivery_id: claim.delivery_id,
            destination: &destination,
            signing_secret: &signing_secret,
            payload: &claim.payload,
            at: self.parts.store.sources().now(),
        };
        channel.send(outgoing).await?;
        Ok(())
    }

    /// A missing version may come back with a corrected configuration.
    fn signing_secret(&self, claim: &ClaimedDelivery) -> Result<String, SendError> {
        self.parts.channel_secret.signing_secret(claim.channel_id, &claim.secret_version).ok_or_else(|| {
            let reason = format!(
                "the channel was made under version {} of the channel secret, which is not configured",
                claim.secret_version
            );
            SendError::Transient { retry_after: None, reason }
        })
    }

    async fn record_sent(&self, claim: &ClaimedDelivery) -> Result<(), StoreError> {
        persistently(|| self.parts.store.delivery_sent(claim)).await?;
        let age = self.parts.store.sources().now() - claim.created_at;
        metrics::counter!("cowork_deliveries_sent_total").increment(1);
        metrics::histogram!("cowork_delivery_latency_ms").record(age.as_seconds_f64() * 1_000.0);
        tracing::info!(delivery.id = %claim.delivery_id, attempt = claim.attempt, "a delivery was sent");
        Ok(())
    }

    async fn record_not_sent(&self, claim: &ClaimedDelivery, error: &SendError) -> Result<(), StoreError> {
        let reason: String = error.to_string().chars().take(ERROR_CHARS).collect();
        let then = self.then(claim, error);
        persistently(|| self.parts.store.delivery_not_sent(claim, then, &reason)).await?;
        metrics::counter!("cowork_delivery_attempts_failed_total").increment(1);
        if then == NotSent::Dead {
            metrics::counter!("cowork_deliveries_dead_total").increment(1);
        }
        tracing::warn!(delivery.id = %claim.delivery_id, attempt = claim.attempt, dead = then == NotSent::Dead, reason,
            "a delivery was not accepted");
        Ok(())
    }

    fn then(&self, claim: &ClaimedDelivery, error: &SendError) -> NotSent {
        let sources = self.parts.store.sources();
        match next(&self.patience, claim.attempt, error.failure(), u32::from_le_bytes(sources.bytes())) {
            Next::Dead => NotSent::Dead,
            Next::RetryAfter(wait) => {
                NotSent::RetryAt(sources.now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1)))
            }
        }
    }
}

/// A result is worth some effort: a forgotten one is sent again when the lease ends.
async fn persistently<F, R>(mut record: F) -> Result<(), StoreError>
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), StoreError>>,
{
    for _ in 1..RECORDINGS {
        match record().await {
            Err(StoreError::Database { .. }) => tokio::time::sleep(RECORDING_PAUSE).await,
            recorded => return recorded,
        }
    }
    record().await
}

/// Sends until `shutdown`, then waits for what is in flight, which an attempt's timeout bounds.
pub(crate) async fn run(sender: Arc<Sender>, rendered: &Notify, shutdown: &CancellationToken) {
    let mut in_flight = JoinSet::new();
    while !shutdown.is_cancelled() {
        let free = sender.concurrency - in_flight.len();
        if free > 0 {
            for claim in sender.claim(free).await {
                in_flight.spawn(sender.clone().carry_out(claim));
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            Some(ended) = in_flight.join_next() => note(ended),
            () = rendered.notified() => {}
            () = tokio::time::sleep(sender.poll) => {}
        }
        while let Some(ended) = in_flight.try_join_next() {
            note(ended);
        }
    }
    while let Some(ended) = in_flight.join_next().await {
        note(ended);
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = chain(&error), "a sending task was lost");
    }
}
