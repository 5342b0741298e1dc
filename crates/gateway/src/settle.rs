//! Records what became of deliveries, first in the recovery ledger and then in their rows, many at once.
//!
//! Two stages that don't wait for each other: the ledger is told of results as they come, and rows are written of those that
//! it was told of, as many as came while the rows before were being written. No row goes ahead of its own record.
//!
//! Not here: sending (`send`), which calls share an object (`ledger`), what a result does to the row (`store::delivery`).

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use ids::DeliveryId;
use store::{Outcome, Settlement, StoreError};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

use crate::{Parts, chain};

/// Results of one call to the ledger, and of one statement.
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

/// A result that the ledger knows. `untold`: it does not, and the outbox has to keep it.
struct Told {
    done: Done,
    untold: bool,
}

/// Records until nobody sends any more; tells `settled` when there is room again.
pub(crate) async fn run(parts: &Parts, done: mpsc::Receiver<Done>, settled: &Notify) {
    let in_flight = done.max_capacity();
    let (told, to_write) = mpsc::channel(in_flight);
    let tell = async {
        // A batch that waits for the ledger holds up none that comes after it: the ledger writes them together.
        let mut batches = pin!(batches(done).map(|batch| tell(parts, batch)).buffer_unordered(in_flight));
        while let Some(batch) = batches.next().await {
            for one in batch {
                // Whoever writes rows outlives this.
                let _ = told.send(one).await;
            }
        }
        drop(told);
    };
    tokio::join!(tell, write_rows(parts, to_write, settled));
}

/// What has come, again and again. Results of sends that take nothing come one by one, and a call or a statement for each
/// costs more than it tells: as long as whoever is about to add something does so when it is let, this waits for it.
fn batches<T>(received: mpsc::Receiver<T>) -> impl Stream<Item = Vec<T>> {
    stream::unfold(received, |mut received| async {
        let mut batch = Vec::new();
        let mut more = received.recv_many(&mut batch, BATCH).await;
        while more > 0 && batch.len() < BATCH {
            tokio::task::yield_now().await;
            let room = BATCH - batch.len();
            more = received.recv_many(&mut batch, room).now_or_never().unwrap_or_default();
        }
        (!batch.is_empty()).then_some((batch, received))
    })
}

async fn tell(parts: &Parts, batch: Vec<Done>) -> impl Iterator<Item = Told> {
    let untold = !parts.effects.tell(batch.iter().map(|done| &done.settlement)).await;
    batch.into_iter().map(move |done| Told { done, untold })
}

async fn write_rows(parts: &Parts, told: mpsc::Receiver<Told>, settled: &Notify) {
    let mut batches = pin!(batches(told));
    while let Some(batch) = batches.next().await {
        let (untold, told): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.untold);
        for (some, untold) in [(told, false), (untold, true)] {
            let (settlements, places): (Vec<_>, Vec<_>) =
                some.into_iter().map(|Told { done, .. }| (done.settlement, done.place)).unzip();
            if !settlements.is_empty() {
                write(parts, &settlements, untold).await;
            }
            drop(places);
        }
        settled.notify_one();
    }
}

async fn write(parts: &Parts, settlements: &[Settlement], untold: bool) {
    match persistently(|| parts.store.delivery_settle(settlements, untold)).await {
        Ok(recorded) => {
            let recorded: HashSet<DeliveryId> = recorded.into_iter().collect();
            let now = parts.store.sources().now();
            for one in settlements {
                let latency = (now - one.claim.created_at).as_seconds_f64() * 1_000.0;
                report(one, recorded.contains(&one.claim.delivery_id), latency);
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

fn report(settlement: &Settlement, recorded: bool, latency_ms: f64) {
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
