//! Records what became of deliveries, first in the recovery ledger and then in their rows, many at once: what was sent
//! while the last batch was being recorded is the next one.
//!
//! Not here: sending (`send`), what a result does to the row (`store::delivery`).

use std::collections::HashSet;
use std::time::Duration;

use ids::DeliveryId;
use store::{Outcome, Settlement, StoreError};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

use crate::{Parts, chain};

/// Results of one statement.
const BATCH: usize = 500;
/// Results that can't be recorded are tried so often.
const RECORDINGS: u32 = 5;
const RECORDING_PAUSE: Duration = Duration::from_millis(500);

/// A delivery that was tried, with its place among those in flight.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) settlement: Settlement,
    pub(crate) place: OwnedSemaphorePermit,
}

/// Records until nobody sends any more; tells `settled` when there is room again.
pub(crate) async fn run(parts: &Parts, done: &mut mpsc::Receiver<Done>, settled: &Notify) {
    let mut batch = Vec::with_capacity(BATCH);
    while done.recv_many(&mut batch, BATCH).await > 0 {
        let (settlements, places): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|Done { settlement, place }| (settlement, place)).unzip();
        record(parts, &settlements).await;
        drop(places);
        settled.notify_one();
    }
}

async fn record(parts: &Parts, settlements: &[Settlement]) {
    let untold = !parts.effects.tell(settlements).await;
    match persistently(|| parts.store.delivery_settle(settlements, untold)).await {
        Ok(recorded) => {
            let recorded: HashSet<DeliveryId> = recorded.into_iter().collect();
            let now = parts.store.sources().now();
            for one in settlements {
                let latency = (now - one.claim.created_at).as_seconds_f64() * 1_000.0;
                tell(one, recorded.contains(&one.claim.delivery_id), latency);
            }
        }
        Err(error) => {
            let results = settlements.len();
            tracing::warn!(results, error = chain(&error), "the results of deliveries were not recorded");
        }
    }
}

/// A result is worth some effort: a forgotten one is sent again when the lease ends, or has to be looked at by a person.
async fn persistently<F, R, T>(mut record: F) -> Result<T, StoreError>
where
    F: FnMut() -> R,
    R: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..RECORDINGS {
        match record().await {
            Err(StoreError::Database { .. }) => tokio::time::sleep(RECORDING_PAUSE).await,
            recorded => return recorded,
        }
    }
    record().await
}

fn tell(settlement: &Settlement, recorded: bool, latency_ms: f64) {
    let Settlement { claim, outcome } = settlement;
    let (delivery, attempt) = (claim.delivery_id, claim.attempt);
    if !recorded {
        return tracing::warn!(delivery.id = %delivery, attempt, "somebody else holds a delivery whose result comes late");
    }
    if !matches!(outcome, Outcome::Sent) {
        metrics::counter!("cowork_delivery_attempts_failed_total").increment(1);
    }
    match outcome {
        Outcome::Sent => {
            metrics::counter!("cowork_deliveries_sent_total").increment(1);
            metrics::histogram!("cowork_delivery_latency_ms").record(latency_ms);
            tracing::info!(delivery.id = %delivery, attempt, "a delivery was sent");
        }
        Outcome::Retry { error: reason, .. } => {
            tracing::warn!(delivery.id = %delivery, attempt, reason, "a delivery was not accepted");
        }
        Outcome::Dead(reason) => {
            metrics::counter!("cowork_deliveries_dead_total").increment(1);
            tracing::warn!(delivery.id = %delivery, attempt, reason, "a delivery was set aside");
        }
        Outcome::Unknown(reason) => unknown(delivery, reason),
    }
}

/// Says that a person has to look at a delivery.
pub(crate) fn unknown(delivery: DeliveryId, reason: &str) {
    metrics::counter!("cowork_deliveries_unknown_total").increment(1);
    tracing::error!(delivery.id = %delivery, reason, "nobody knows whether a delivery arrived; a person has to settle it");
}
