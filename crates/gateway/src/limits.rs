//! How often an address may be wrong at the door, and how often a channel or a trigger may speak.
//!
//! To look a channel or a trigger up costs a statement. So an address has so many messages and calls a minute that are
//! for nobody or not signed rightly; when they are used up, what comes from it is looked up only if it is known to be
//! signed rightly: by the secret that a channel of that id has, or the one that the trigger was called with a few
//! minutes ago. Whoever shares an address with somebody who guesses is not locked out by it.
//!
//! What is signed is counted against a limit of its channel or trigger, so that whoever does not have the secret uses
//! up nothing; messages before the channel is looked up, closed or not. Nothing is kept of what is refused; its sender
//! repeats it.
//!
//! Not promised: an exact limit over several gateways; each counts for itself. Not here: signatures (`door`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::{IntoResponse, Response};
use clock::Sources;
use domain::rate::Network;
use domain::recent::Recent;
use front::{Failures, Throttle, Told};
use ids::{ChannelId, TriggerId};
use store::TriggerSecret;

use crate::Parts;
use crate::problem::Problem;

/// Of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: Sources,
    failures: Failures,
    messages: Throttle<ChannelId>,
    calls: Throttle<TriggerId>,
    /// What triggers were called with lately.
    callers: Mutex<Recent<TriggerId, TriggerSecret>>,
}

impl Limits {
    pub(crate) fn of(parts: &Parts) -> Self {
        Self(Arc::new(Inner {
            sources: parts.store.sources().clone(),
            failures: Failures::per_minute(parts.wrong_signatures_per_minute),
            messages: Throttle::per_minute("channel", parts.messages_per_minute),
            calls: Throttle::per_minute("trigger", parts.calls_per_minute),
            callers: Mutex::default(),
        }))
    }

    /// Looks something up, as one of those that an address may have wrong: when they are used up, only if it `is_right`,
    /// which asks nobody.
    pub(crate) async fn looked_up<T>(
        &self,
        from: Network,
        is_right: impl FnOnce() -> bool,
        look: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let wait = self.0.failures.take(from, self.0.sources.now());
        if let Some(seconds) = wait.filter(|_| !is_right()) {
            Failures::count_refused("signature");
            let why = "too much that came from your address was for nobody or not signed rightly";
            return Err(Problem::too_many(why, seconds));
        }
        let found = look.await;
        let wrong = matches!(&found, Err(problem) if matches!(problem.code, "bad_signature" | "not_found"));
        if wait.is_none() && !wrong {
            self.0.failures.give_back(from);
        }
        found
    }

    /// Counts a signed message.
    pub(crate) fn message(&self, channel: ChannelId) -> Option<Told> {
        let told = self.0.messages.admit(channel, self.0.sources.now());
        if told.as_ref().and_then(Told::refused_for_s).is_some() {
            metrics::counter!("cowork_inbound_refused_total").increment(1);
        }
        told
    }

    /// Counts a call that was signed with `secret`.
    pub(crate) fn call(&self, trigger: TriggerId, secret: &TriggerSecret) -> Option<Told> {
        let now = self.0.sources.now();
        if self.0.failures.are_limited() {
            self.callers().note(trigger, secret.clone(), now);
        }
        self.0.calls.admit(trigger, now)
    }

    /// What the trigger was called with lately.
    pub(crate) fn called_with(&self, trigger: TriggerId) -> Option<TriggerSecret> {
        self.callers().get(&trigger, self.0.sources.now()).cloned()
    }

    /// Nothing is left half done under this lock.
    fn callers(&self) -> MutexGuard<'_, Recent<TriggerId, TriggerSecret>> {
        self.0.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses what is more than may come; `why` is told.
pub(crate) fn admitted(told: Option<&Told>, why: &str) -> Result<(), Problem> {
    told.and_then(Told::refused_for_s).map_or(Ok(()), |seconds| Err(Problem::too_many(why, seconds)))
}

/// An answer with what is told of its limit.
pub(crate) fn answered(told: Option<&Told>, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if let Some(told) = told {
        told.tell(response.headers_mut());
    }
    response
}
