//! Fires due slots.
//!
//! A reconciler: each pass reads which triggers are due and settles them, and takes no other input. So a pass may be
//! repeated, cut short by a kill, or run in several replicas at once; what two of them both see, one of them settles
//! (`store::trigger`). A pass settles each trigger that is due when it begins in a transaction of its own: one that fails is
//! logged, counted and left for the next pass, and the others, of whatever tenant, don't wait for it.
//!
//! Promised: no slot fires twice, and none is lost while the database keeps its word. Not promised: that a slot fires
//! at its time. It fires at the first pass after it, which `cowork_scheduler_lag_ms` measures.
//!
//! Not here: which slots there are and whether one fires (`domain::schedule`), what a fired slot starts (`store::slot`).

mod compaction;
mod deliveries;
mod erasure;
mod expiry;
mod passes;
mod retention;
mod seals;
mod subscriptions;

use std::error::Error;
use std::time::Duration;

use clock::Timestamp;
use effects::Effects;
use futures::stream::{self, StreamExt};
use ids::{OrgId, WorkflowId};
use ledger::Record;
use metrics::{counter, histogram};
use store::{DueTrigger, PlannedSlots, SettledSlots, Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

pub use crate::compaction::run_compactions;
pub use crate::deliveries::run_delivery_retention;
pub use crate::erasure::run_erasures;
pub use crate::expiry::run_expiries;
pub use crate::retention::run_retention;
pub use crate::seals::run_seals;
pub use crate::subscriptions::run_subscriptions;

/// Triggers read at once.
const BATCH: i64 = 200;

/// Triggers settled at once. Each takes a connection of the pool for a moment.
const CONCURRENCY: usize = 4;

/// A slot that fired: of which workflow, and when it was due.
type Fired = (OrgId, WorkflowId, Timestamp);

/// What a scheduler needs to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From one pass to the next.
    pub poll: Duration,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    pub fired: usize,
    pub skipped: usize,
    /// Triggers that could not be settled.
    pub failed: usize,
}

/// Makes passes until `shutdown`. A pass that has begun is finished.
pub async fn run(store: Store, effects: Effects, settings: &Settings, shutdown: CancellationToken) {
    describe();
    let mut ticks = interval(settings.poll.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = pass(&store, &effects, &shutdown).await {
            failed(&error, "due triggers could not be read");
        }
        effects.drain().await;
    }
}

/// Settles every trigger that is due when it begins. Stops early, between two batches, at `shutdown`.
///
/// # Errors
/// If the due triggers can't be read. One that can't be settled is counted instead.
pub async fn pass(store: &Store, effects: &Effects, shutdown: &CancellationToken) -> Result<Pass, StoreError> {
    // What falls due meanwhile waits for the next pass: else a busy one would never end, and never come back to the
    // triggers that failed.
    let until = store.sources().now();
    let mut pass = Pass::default();
    let mut last: Option<DueTrigger> = None;
    while !shutdown.is_cancelled() {
        let batch = store.trigger_due(until, last.as_ref(), BATCH).await?;
        last = batch.last().copied();
        if batch.is_empty() {
            break;
        }
        pass = pass.plus(settle_batch(store, effects, batch).await);
    }
    Ok(pass)
}

/// Plans what would fire, tells the recovery ledger all of it at once, and then lets it happen.
async fn settle_batch(store: &Store, effects: &Effects, batch: Vec<DueTrigger>) -> Pass {
    let now = store.sources().now();
    let plans = stream::iter(batch).map(|due| plan(store, due, now)).buffer_unordered(CONCURRENCY);
    let (mut planned, mut pass) = (Vec::new(), Pass::default());
    for plan in plans.collect::<Vec<_>>().await {
        match plan {
            Ok(plan) => planned.extend(plan),
            Err(()) => pass.failed += 1,
        }
    }
    let intents: Vec<Record> = planned.iter().flat_map(slot_intents).collect();
    if let Err(error) = effects.intend(intents).await {
        tracing::warn!(triggers = planned.len(), error = chain(&error), "slots wait for the recovery ledger");
        // What fires nothing need not wait.
        planned.retain(|plan| plan.fires.is_empty());
    }
    let settled = stream::iter(planned).map(|plan| settle(store, plan)).buffer_unordered(CONCURRENCY);
    let settled: Vec<(Pass, Vec<Fired>)> = settled.collect().await;
    let fired: Vec<Fired> = settled.iter().flat_map(|(_, fired)| fired.iter().copied()).collect();
    effects.fired(&fired).await;
    settled.into_iter().fold(pass, |sum, (one, _)| sum.plus(one))
}

fn slot_intents(plan: &PlannedSlots) -> impl Iterator<Item = Record> {
    let (org, workflow) = (plan.due.org, plan.workflow);
    plan.fires.iter().map(move |&due_at| Record::SlotIntent { org, workflow, due_at })
}

async fn plan(store: &Store, due: DueTrigger, now: Timestamp) -> Result<Option<PlannedSlots>, ()> {
    store.trigger_plan(&due, now).await.map_err(|error| unsettled(due, &error))
}

async fn settle(store: &Store, plan: PlannedSlots) -> (Pass, Vec<Fired>) {
    match store.trigger_settle(&plan).instrument(firing(&plan)).await {
        Ok(Some(settled)) => {
            let fired = settled.fired.iter().map(|due_at| (plan.due.org, plan.workflow, *due_at)).collect();
            (record(plan.due, &settled), fired)
        }
        Ok(None) => (Pass::default(), Vec::new()),
        Err(error) => {
            unsettled(plan.due, &error);
            (Pass { failed: 1, ..Pass::default() }, Vec::new())
        }
    }
}

/// The span that the runs of slots go on from. None where nothing fires.
fn firing(plan: &PlannedSlots) -> Span {
    if plan.fires.is_empty() {
        return Span::none();
    }
    let DueTrigger { org, trigger, .. } = plan.due;
    let slots = plan.fires.len();
    tracing::info_span!("firing", org.id = %org, workflow.id = %plan.workflow, trigger.id = %trigger, slots)
}

fn unsettled(due: DueTrigger, error: &StoreError) {
    tracing::error!(org.id = %due.org, trigger.id = %due.trigger, error = chain(error), "a trigger could not be settled");
    counter!("cowork_scheduler_errors_total").increment(1);
}

fn record(due: DueTrigger, settled: &SettledSlots) -> Pass {
    let pass = Pass { fired: settled.fired.len(), skipped: settled.skipped, failed: 0 };
    counter!("cowork_slots_fired_total").increment(pass.fired as u64);
    counter!("cowork_slots_skipped_total").increment(pass.skipped as u64);
    for due_at in &settled.fired {
        histogram!("cowork_scheduler_lag_ms").record(lag_ms(*due_at, settled.at));
    }
    tracing::info!(
        org.id = %due.org,
        trigger.id = %due.trigger,
        fired = pass.fired,
        skipped = pass.skipped,
        already = settled.already,
        "slots settled"
    );
    pass
}

#[expect(clippy::cast_precision_loss, reason = "a lag is far below 2^53 ms")]
fn lag_ms(due_at: Timestamp, at: Timestamp) -> f64 {
    (at - due_at).num_milliseconds().max(0) as f64
}

fn failed(error: &StoreError, what: &'static str) {
    tracing::error!(error = chain(error), "{what}");
    counter!("cowork_scheduler_errors_total").increment(1);
}

/// An error with its sources, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| (*error).source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

fn describe() {
    measures::counter("cowork_slots_fired_total", "slots that started a run");
    measures::counter("cowork_slots_skipped_total", "slots that a policy let pass");
    measures::counter("cowork_scheduler_errors_total", "triggers, or lists of them, that a pass failed at");
    measures::histogram("cowork_scheduler_lag_ms", "from a slot's due time to its firing, in milliseconds");
}

impl Pass {
    fn plus(self, other: Self) -> Self {
        Self {
            fired: self.fired + other.fired,
            skipped: self.skipped + other.skipped,
            failed: self.failed + other.failed,
        }
    }
}
