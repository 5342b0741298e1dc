//! Effects, told to the recovery ledger: before they leave, after they did, and from the outbox.
//!
//! Three ways, by what an effect can wait for. [`Effects::intend`]: the effect does not happen before the ledger knows of
//! it, and not at all while the ledger can't be written. [`Effects::tell`]: it has happened; what could not be told goes
//! into the outbox. [`Effects::flush`]: it is committed, its row stands in the outbox, and whoever asked for it waits a
//! bounded time for the ledger to know.
//!
//! A ledger that says that this process must stop is heard here, whoever was writing: [`Effects::must_stop`].
//!
//! Not promised: that an intent which was refused is not in the ledger. It may have become durable too late.
//!
//! Not here: how records become durable (`ledger`), the outbox's rows (`store::outbox`), what a restore makes of them.

mod outbox;

use std::sync::Arc;
use std::time::Duration;

use ids::{ChannelId, DeliveryId, InletId, OrgId, SessionId, WorkflowId};
use ledger::{Compacted, Compaction, Digest, DigestKey, Ledger, LedgerError, Outcome, Record};
use store::{ClaimedDelivery, SettledAs, Settlement, Store};
use tokio::sync::{Mutex, watch};

/// How long somebody who asked for a change waits for the ledger to know of it. After that the outbox keeps it.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// The ledger can't be written just now: the effect must not happen.
#[derive(Debug, thiserror::Error)]
#[error("the recovery ledger does not know of it")]
pub struct NotRecorded(#[source] LedgerError);

/// Tells effects to the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Effects(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    ledger: Ledger,
    digests: DigestKey,
    flushes: Mutex<outbox::Flushes>,
    begun: std::sync::atomic::AtomicU64,
    stop: watch::Sender<Option<LedgerError>>,
}

impl Effects {
    /// `digests` must be the same after a restore.
    #[must_use]
    pub fn new(store: Store, ledger: Ledger, digests: DigestKey) -> Self {
        let (flushes, begun, stop) = (Mutex::default(), Default::default(), watch::Sender::new(None));
        Self(Arc::new(Inner { store, ledger, digests, flushes, begun, stop }))
    }

    /// Writes down what is about to happen.
    ///
    /// # Errors
    /// Then it must not happen.
    pub async fn intend(&self, intents: Vec<Record>) -> Result<(), NotRecorded> {
        self.record(intents).await.map_err(NotRecorded)
    }

    /// Writes down what became of deliveries. `false`: the ledger does not know, and the outbox has to keep it.
    pub async fn tell(&self, settlements: impl Iterator<Item = &Settlement>) -> bool {
        let told = self.record(settlements.map(outcome).collect()).await;
        if let Err(error) = &told {
            tracing::warn!(error = chain(error), "outcomes of deliveries wait in the outbox");
        }
        told.is_ok()
    }

    /// Writes down that slots fired. What could not be told goes into the outbox.
    pub async fn fired(&self, slots: &[(OrgId, WorkflowId, clock::Timestamp)]) {
        let records = slots.iter().map(|&(org, workflow, due_at)| Record::SlotFired { org, workflow, due_at });
        if let Err(error) = self.record(records.collect()).await {
            tracing::warn!(error = chain(&error), "slots that fired wait in the outbox");
            let effects =
                slots.iter().map(|&(org, workflow, due_at)| store::Effect::SlotFired { org, workflow, due_at });
            if let Err(error) = self.0.store.outbox_add(&effects.collect::<Vec<_>>()).await {
                // The intent stands: a restore takes the slot for one that may have fired.
                tracing::error!(error = chain(&error), "the recovery ledger does not learn that slots fired");
            }
        }
    }

    /// Whether this process may act. Asked at start and with each heartbeat; a ledger that can't be asked stops nobody.
    ///
    /// # Errors
    /// Why this process must stop.
    pub async fn check(&self) -> Result<(), LedgerError> {
        match self.0.ledger.check().await {
            Err(error) if is_final(&error) => {
                self.0.stop.send_replace(Some(error.clone()));
                Err(error)
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the recovery ledger can't be asked for a newer generation");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Waits until the ledger says that this process must stop, and gives back why.
    pub async fn must_stop(&self) -> LedgerError {
        let mut stop = self.0.stop.subscribe();
        match stop.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            // The sender lives as long as this does.
            _ => std::future::pending().await,
        }
    }

    /// Makes the ledger smaller, and changes nothing that it says.
    ///
    /// # Errors
    /// Then some of it is done, and the same may be tried again.
    pub async fn compact(&self, ages: Compaction) -> Result<Compacted, LedgerError> {
        self.0.ledger.compact(self.0.store.sources().now(), ages).await
    }

    /// Writes what waits, and ends. Later effects are refused.
    pub async fn close(&self) {
        self.0.ledger.close().await;
    }

    /// What the ledger calls an event that came in.
    #[must_use]
    pub fn inbound(&self, inlet: InletId, event: &str) -> Digest {
        self.0.digests.digest("inbound", &[inlet.as_uuid().as_bytes(), event.as_bytes()])
    }

    /// What the ledger calls a request that a person speaks to once.
    #[must_use]
    pub fn interaction(&self, session: SessionId, request: &str) -> Digest {
        self.0.digests.digest("interaction", &[session.as_uuid().as_bytes(), request.as_bytes()])
    }

    /// What the ledger calls a person in a chat.
    #[must_use]
    pub fn identity(&self, channel: ChannelId, external_id: &str) -> Digest {
        self.0.digests.digest("identity", &[channel.as_uuid().as_bytes(), external_id.as_bytes()])
    }

    async fn record(&self, records: Vec<Record>) -> Result<(), LedgerError> {
        let recorded = self.0.ledger.record(records).await;
        if let Err(error) = &recorded
            && is_final(error)
        {
            self.0.stop.send_replace(Some(error.clone()));
        }
        recorded
    }
}

/// Whether a process that hears this must stop: nothing that it does can be remembered any more.
fn is_final(error: &LedgerError) -> bool {
    !error.retryable() && !matches!(error, LedgerError::Closed)
}

/// A delivery that may leave from now on.
#[must_use]
pub fn delivery_intent(claim: &ClaimedDelivery) -> Record {
    let ClaimedDelivery { org, delivery_id, deduplicates, .. } = *claim;
    Record::DeliveryIntent { org, delivery: delivery_id, attempt: sending(claim.sending), deduplicates }
}

fn outcome(settlement: &Settlement) -> Record {
    let claim = &settlement.claim;
    delivery_outcome(claim.org, claim.delivery_id, claim.sending, settlement.outcome.settled_as())
}

fn delivery_outcome(org: OrgId, delivery: DeliveryId, number: i32, settled: SettledAs) -> Record {
    let outcome = match settled {
        SettledAs::Sent => Outcome::Sent { message: None },
        SettledAs::NotSent => Outcome::NotSent,
        SettledAs::Dead => Outcome::Dead,
        SettledAs::Unknown => Outcome::Unknown,
    };
    Record::DeliveryOutcome { org, delivery, attempt: sending(number), outcome }
}

fn sending(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// An error with its sources, on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| (*error).source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
