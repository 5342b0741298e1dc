//! What goes through a door, counted by model and bounded turn by turn.
//!
//! A turn begins with what it is held to, and before each request what it has spent is compared. Without a turn nothing is asked.
//! What an answer took is counted when it has passed, or has broken off; if that is after its turn, for the next one of the same door.
//!
//! Not here: what is compared (`domain::spend`), reading answers (`answer`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use domain::spend::{Bounds, Exceeded, ModelSpend, ModelUse, Spent};
use tokio::sync::Notify;

use super::answer::{Reader, Taken};

/// Models that are told apart between two looks. Names of more are left out, their tokens are not.
const MODELS_MAX: usize = 32;

/// What becomes of requests, in labels of metrics.
pub(super) const OUTCOMES: [&str; 4] = ["metered", "unknown", "free", "failed"];
/// Of tokens, in labels of metrics.
pub(super) const KINDS: [&str; 3] = ["input", "output", "cached"];

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: &'static str,
    state: Mutex<State>,
    /// Something was spent, or refused.
    changed: Notify,
    /// Nothing is under way any more.
    quiet: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Of the turn that goes on.
    bounds: Option<Bounds>,
    /// By the turn. Requests: those that were made.
    spent: Spent,
    /// What was not told yet, by what the model is called.
    untold: BTreeMap<Option<String>, ModelSpend>,
    under_way: usize,
    exceeded: Option<Exceeded>,
}

/// Why a request is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotNow {
    NoTurn,
    Exceeded(Exceeded),
}

/// A request that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    meter: Meter,
    /// Whether an answer to it takes tokens.
    costs: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It may have reached the provider.
    Asked,
    /// The provider was not reached, or refused.
    Failed,
    Answered(Box<Reader>),
}

impl Meter {
    pub(super) fn new(provider: &'static str) -> Self {
        let inner = Inner { provider, state: Mutex::default(), changed: Notify::new(), quiet: Notify::new() };
        Self(Arc::new(inner))
    }

    pub(super) fn provider(&self) -> &'static str {
        self.0.provider
    }

    /// A turn begins, which is held to `bounds`. `before` is what earlier attempts at it spent.
    pub fn begin(&self, bounds: Bounds, before: Spent) {
        let mut state = self.lock();
        (state.bounds, state.spent, state.exceeded) = (Some(bounds), before, None);
    }

    /// The turn is over: nothing is asked until another one begins.
    pub fn end(&self) {
        self.lock().bounds = None;
    }

    /// Returns when something was spent or refused since it returned last. For one listener.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Returns when nothing is under way. For one listener.
    pub async fn quiet(&self) {
        while self.lock().under_way > 0 {
            self.0.quiet.notified().await;
        }
    }

    /// What was spent since the last time, by model.
    #[must_use]
    pub fn take(&self) -> Vec<ModelSpend> {
        std::mem::take(&mut self.lock().untold).into_values().collect()
    }

    /// Why the turn may ask no more, once a request of it was refused for that.
    #[must_use]
    pub fn exceeded(&self) -> Option<Exceeded> {
        self.lock().exceeded
    }

    /// Lets a request through, and counts it.
    pub(super) fn admit(&self, costs: bool) -> Result<UnderWay, NotNow> {
        let mut state = self.lock();
        let Some(bounds) = &state.bounds else { return Err(NotNow::NoTurn) };
        if let Some(exceeded) = bounds.exceeded(&state.spent) {
            state.exceeded.get_or_insert(exceeded);
            self.0.changed.notify_one();
            return Err(NotNow::Exceeded(exceeded));
        }
        state.spent.requests += 1;
        state.under_way += 1;
        Ok(UnderWay { meter: self.clone(), costs, stage: Stage::Asked })
    }

    /// A request is over. `None`: it took nothing.
    fn over(&self, taken: Option<Taken>) {
        let mut state = self.lock();
        state.under_way -= 1;
        if state.under_way == 0 {
            self.0.quiet.notify_one();
        }
        let Some(taken) = taken else { return };
        state.spent.input_tokens = state.spent.input_tokens.saturating_add(taken.input_tokens);
        state.spent.output_tokens = state.spent.output_tokens.saturating_add(taken.output_tokens);
        let crowded = state.untold.len() >= MODELS_MAX && !state.untold.contains_key(&taken.model);
        let name = taken.model.clone().filter(|_| !crowded);
        let spend = self.spend(name.clone(), &taken);
        state.untold.entry(name).and_modify(|known| known.add(&spend)).or_insert(spend);
        // What took no tokens is told with what did, or at the end.
        if taken.input_tokens > 0 || taken.output_tokens > 0 {
            self.0.changed.notify_one();
        }
    }

    fn spend(&self, name: Option<String>, taken: &Taken) -> ModelSpend {
        let model = ModelUse {
            provider: self.0.provider.to_owned(),
            name,
            cached_tokens: taken.cached_tokens,
            requests: 1,
            requests_unknown: i64::from(!taken.whole),
        };
        ModelSpend { input_tokens: taken.input_tokens, output_tokens: taken.output_tokens, model }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock can panic")
    }
}

impl UnderWay {
    /// It took nothing: the provider was not reached, or refused.
    pub(super) fn failed(&mut self) {
        self.stage = Stage::Failed;
    }

    /// It is answered, by what `reader` reads.
    pub(super) fn answered(&mut self, reader: Reader) {
        self.stage = Stage::Answered(Box::new(reader));
    }

    pub(super) fn take(&mut self, piece: &[u8]) {
        if let (true, Stage::Answered(reader)) = (self.costs, &mut self.stage) {
            reader.take(piece);
        }
    }

    fn taken(&mut self) -> (&'static str, Option<Taken>) {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Failed => ("failed", None),
            Stage::Asked | Stage::Answered(_) if !self.costs => ("free", None),
            Stage::Asked => ("unknown", Some(Taken::default())),
            Stage::Answered(reader) => {
                let taken = reader.end();
                (if taken.whole { "metered" } else { "unknown" }, Some(taken))
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let (outcome, taken) = self.taken();
        let provider = self.meter.0.provider;
        metrics::counter!("cowork_model_requests_total", "provider" => provider, "outcome" => outcome).increment(1);
        if let Some(taken) = &taken {
            let count = |kind, tokens: i64| {
                metrics::counter!("cowork_model_tokens_total", "provider" => provider, "kind" => kind)
                    .increment(tokens.unsigned_abs());
            };
            count("input", taken.input_tokens);
            count("output", taken.output_tokens);
            count("cached", taken.cached_tokens);
        }
        self.meter.over(taken);
    }
}
