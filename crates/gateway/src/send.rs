//! Sends deliveries.
//!
//! Claims what is due in rounds. The claims of a round wait together for the recovery ledger to know of them, and the next
//! round does not wait for that; then each is sent as a task of its own, which hands what became of it to `settle`. A claim has
//! its place among those in flight from the beginning, so there are never more than there are places.
//!
//! An attempt ends well before its lease does, so no two gateways send one delivery unless one of them was stopped in its
//! tracks; then the far side sees the same id twice and the late result touches no row.
//!
//! Not here: order and leases (`store::delivery`), when to try again (`domain::retry`).

use std::sync::Arc;
use std::time::Duration;

use channels::{Channel, Outgoing, SendError};
use chrono::TimeDelta;
use domain::channel::{ChannelKind, Destination};
use domain::policy::Policy;
use domain::retry::{Failure, Next, Patience, next};
use store::{ClaimedDelivery, Environment, Outcome, Settlement};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::render::with_token;
use crate::settle::{self, Done};
use crate::{GatewayConfig, Parts, chain};

/// A lease outlives the attempt by this: time to record the result, also when the database is away for a moment.
const GRACE: Duration = Duration::from_secs(15);
/// Between two looks for deliveries while the recovery ledger can't be written.
const UNTOLD_PAUSE: Duration = Duration::from_millis(500);
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

    /// What a round claims at most: while these are on their way the other half is claimed.
    fn half(&self) -> usize {
        self.concurrency.div_ceil(2)
    }

    async fn claim(&self, limit: usize) -> Vec<ClaimedDelivery> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let generation = self.parts.generation.generation;
        let claims = self.parts.store.delivery_claim(generation, limit, self.lease).await.unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "deliveries can't be claimed");
            store::Claims::default()
        });
        for delivery in claims.unknown {
            settle::unknown(delivery, "the gateway that sent it was lost");
        }
        claims.deliveries
    }

    /// Tells the recovery ledger what is about to leave. `false`: it can't be told, and the claims were given back.
    async fn intend(&self, claims: &[ClaimedDelivery]) -> bool {
        let told = self.parts.effects.intend(claims.iter().map(effects::delivery_intent).collect()).await;
        let Err(error) = told else { return true };
        tracing::warn!(deliveries = claims.len(), error = chain(&error), "deliveries wait for the recovery ledger");
        if let Err(error) = self.parts.store.delivery_give_back(claims).await {
            tracing::warn!(error = chain(&error), "claims can't be given back; they run out");
        }
        false
    }

    /// Sends one delivery, in the trace of the command that it tells of.
    async fn carry_out(&self, claim: ClaimedDelivery) -> Settlement {
        let span = tracing::info_span!(
            "delivery",
            delivery.id = %claim.delivery_id,
            attempt = claim.attempt,
            outcome = tracing::field::Empty,
            otel.kind = "client",
        );
        traces::follow(&span, claim.traceparent.as_deref());
        let outcome = match self.attempt(&claim).instrument(span.clone()).await {
            Ok(()) => Outcome::Sent,
            Err(error) => self.not_sent(&claim, &error),
        };
        span.record("outcome", word(&outcome));
        Settlement { claim, outcome }
    }

    async fn attempt(&self, claim: &ClaimedDelivery) -> Result<(), SendError> {
        let permanent = |reason: &str| SendError::Permanent { reason: reason.to_owned() };
        let channel = match claim.kind.parse() {
            Ok(ChannelKind::Webhook) => &self.webhook,
            Err(_) => return Err(permanent("the channel is of a kind that this build does not know")),
        };
        let destination =
            claim.destination.parse().map_err(|_| permanent("the channel's destination can't be read"))?;
        self.judge(claim, &destination)?;
        let signing_secret = self.signing_secret(claim)?;
        let payload = with_token(&self.parts.channel_secret, &claim.payload);
        let outgoing = Outgoing {
            delivery_id: claim.delivery_id,
            destination: &destination,
            signing_secret: &signing_secret,
            payload: &payload,
            at: self.parts.store.sources().now(),
        };
        channel.send(outgoing).await?;
        Ok(())
    }

    /// Holds the destination to the org's policy. In a drill copy nothing goes to destinations, and rules about them are not asked.
    fn judge(&self, claim: &ClaimedDelivery, destination: &Destination) -> Result<(), SendError> {
        let Some(hosts) = &claim.channel_hosts else { return Ok(()) };
        if self.parts.generation.environment == Environment::Drill {
            return Ok(());
        }
        let permanent = |reason: String| SendError::Permanent { reason };
        let hosts: Result<_, _> = hosts.iter().map(|host| host.parse()).collect();
        let hosts = hosts.map_err(|_| permanent("the org's policy can't be read".to_owned()))?;
        let policy = Policy { channel_hosts: Some(hosts), ..Policy::default() };
        policy.judge_destination(destination.url()).map_err(|refused| permanent(refused.to_string()))
    }

    /// A missing version may come back with a corrected configuration.
    fn signing_secret(&self, claim: &ClaimedDelivery) -> Result<String, SendError> {
        self.parts.channel_secret.of_channel(claim.channel_id, &claim.secret_version).ok_or_else(|| {
            let reason = format!(
                "the channel was made under version {} of the channel secret, which is not configured",
                claim.secret_version
            );
            SendError::Transient { retry_after: None, reason }
        })
    }

    fn not_sent(&self, claim: &ClaimedDelivery, error: &SendError) -> Outcome {
        if let SendError::Refused(refused) = error {
            metrics::counter!("cowork_deliveries_refused_total", "network" => refused.network.as_str()).increment(1);
        }
        let reason: String = error.to_string().chars().take(ERROR_CHARS).collect();
        let sources = self.parts.store.sources();
        let draw = u32::from_le_bytes(sources.bytes());
        match next(&self.patience, claim.attempt, error.failure(), claim.deduplicates, draw) {
            Next::Dead => Outcome::Dead(reason),
            Next::Unknown => Outcome::Unknown(reason),
            Next::RetryAfter(wait) => {
                let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1));
                let ambiguous = matches!(error.failure(), Failure::Ambiguous { .. });
                Outcome::Retry { at: sources.now() + wait, error: reason, ambiguous }
            }
        }
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Sent => "sent",
        Outcome::Retry { .. } => "retry",
        Outcome::Dead(_) => "dead",
        Outcome::Unknown(_) => "unknown",
    }
}

/// Sends until `shutdown`, then waits for what is in flight, which an attempt's timeout bounds.
pub(crate) async fn run(sender: Arc<Sender>, rendered: &Notify, shutdown: &CancellationToken) {
    let (done, to_settle) = mpsc::channel(sender.concurrency);
    let settled = Notify::new();
    let room = Arc::new(Semaphore::new(sender.concurrency));
    let flight = Flight { sender: sender.clone(), room, done, tasks: TaskTracker::new(), refused: Arc::default() };
    let send = async {
        while !shutdown.is_cancelled() {
            let more = flight.round().await;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = flight.refused.notified() => pause(shutdown).await,
                () = flight.room_for_many(more.unwrap_or_default()), if more.is_some() => {}
                () = settled.notified(), if more.is_none() => {}
                () = rendered.notified(), if more.is_none() => {}
                () = tokio::time::sleep(sender.poll), if more.is_none() => {}
            }
        }
        flight.land().await;
    };
    tokio::join!(send, settle::run(&sender.parts, to_settle, &settled));
}

/// What is in flight. Cheap to clone.
#[derive(Debug, Clone)]
struct Flight {
    sender: Arc<Sender>,
    room: Arc<Semaphore>,
    done: mpsc::Sender<Done>,
    tasks: TaskTracker,
    /// Told when the recovery ledger did not take the intents of a round.
    refused: Arc<Notify>,
}

/// A claimed delivery, with its place among those in flight.
type Placed = (ClaimedDelivery, OwnedSemaphorePermit);

impl Flight {
    /// Claims as much as there is room for, and lets it wait for its intents. If that took all the room, more may be due: then
    /// how long the claim took.
    async fn round(&self) -> Option<Duration> {
        let (limit, began) = (self.room.available_permits().min(self.sender.half()), Instant::now());
        if limit == 0 {
            return None;
        }
        let claims = self.sender.claim(limit).await;
        if claims.is_empty() {
            return None;
        }
        let more = (claims.len() == limit).then(|| began.elapsed());
        let place = |claim| {
            let place = self.room.clone().try_acquire_owned();
            (claim, place.expect("only rounds take places, and as many as are free"))
        };
        let placed: Vec<Placed> = claims.into_iter().map(place).collect();
        self.tasks.spawn(self.clone().depart(placed));
        more
    }

    /// A claim costs much the same for one delivery as for many, so while more is due than there is room for, it waits until half
    /// of the places are free: the other half is on its way meanwhile. No longer than the last claim took, though: messages
    /// that take their time hold up the others only so much.
    async fn room_for_many(&self, at_most: Duration) {
        let half = u32::try_from(self.sender.half()).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(at_most, self.room.acquire_many(half)).await;
    }

    /// Sends claims as soon as the ledger knows of them, or gives them back.
    async fn depart(self, placed: Vec<Placed>) {
        let (claims, places): (Vec<_>, Vec<_>) = placed.into_iter().unzip();
        if !self.sender.intend(&claims).await {
            return self.refused.notify_one();
        }
        for (claim, place) in claims.into_iter().zip(places) {
            self.tasks.spawn(one(self.sender.clone(), claim, place, self.done.clone()));
        }
    }

    /// Waits until nothing is in flight.
    async fn land(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// While the recovery ledger can't be written nothing leaves, and there is no hurry.
async fn pause(shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(UNTOLD_PAUSE) => {}
    }
}

async fn one(sender: Arc<Sender>, claim: ClaimedDelivery, place: OwnedSemaphorePermit, done: mpsc::Sender<Done>) {
    let settlement = sender.carry_out(claim).await;
    // Whoever settles outlives all senders.
    let _ = done.send(Done { settlement, place }).await;
}
