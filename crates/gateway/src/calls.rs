//! Calls of workflows: `POST /hooks/triggers/{trigger_id}`.
//!
//! A call is signed as a message of a channel is, with the secret of its trigger. Its body is data of the run that it starts, and the
//! caller's id of the event is what makes a repeat known (`store::call`). A trigger that there is not and one that takes no calls have
//! one answer, to everybody.
//!
//! Calls that are signed are counted against a limit of their trigger, so that whoever does not have the secret uses up nothing.
//!
//! Not promised: an exact limit over several gateways; each counts for itself. Not here: bounds and signature (`door`), what the data
//! looks like in the prompt (`domain::call`).

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use domain::call::CallData;
use domain::rate::{Admission, Buckets};
use ids::{RunId, TriggerId};
use serde::Serialize;
use store::{Call, CallError, Called, CalledTrigger};

use crate::Parts;
use crate::door::{internal, open, remembered, signed, whole};
use crate::problem::Problem;

/// What takes calls. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    parts: Parts,
    /// `None`: there is no limit.
    buckets: Option<Arc<Mutex<Buckets<TriggerId>>>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// `None`: it was skipped; or it had come to the system that this one was restored from, and its run was lost with it.
    run_id: Option<RunId>,
    /// Why no run was started.
    skipped: Option<String>,
    /// The call had come before; nothing was done.
    duplicate: bool,
}

impl Calls {
    pub(crate) fn new(parts: Parts) -> Self {
        let limit = parts.calls_per_minute;
        let buckets = (limit > 0).then(|| Arc::new(Mutex::new(Buckets::per_minute(limit))));
        Self { parts, buckets }
    }

    async fn take(
        &self,
        trigger: Option<TriggerId>,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Called, Problem> {
        let (parts, missing) = (&self.parts, || Problem::no_such("trigger"));
        let body = whole(body)?;
        let found = parts.store.call_find(trigger.ok_or_else(missing)?).await.map_err(|error| internal(&error))?;
        let trigger = found.ok_or_else(missing)?;
        let (trigger, provider_event_id) = self.caller(trigger, headers, &body)?;
        self.admit(trigger.trigger)?;
        let data = CallData::read(&body).map_err(|error| Problem::invalid(error.to_string()))?;
        open(parts).await?;
        let digest = parts.effects.inbound(trigger.trigger.into(), &provider_event_id);
        let call = Call { provider_event_id, data, digest };
        let called = parts.store.call_receive(parts.generation.generation, &trigger, &call).await.map_err(refused)?;
        remembered(parts).await?;
        Ok(called)
    }

    /// The trigger by the secret that the call was signed with, and the caller's id of the event. While a rotation's overlap lasts
    /// that may be the secret of before.
    fn caller(
        &self,
        trigger: CalledTrigger,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(CalledTrigger, String), Problem> {
        let by = |trigger: &CalledTrigger| {
            let secret = self.parts.channel_secret.of_trigger(trigger.trigger, &trigger.secret);
            signed(secret.as_deref(), &format!("trigger:{}", trigger.trigger), headers, body)
        };
        match (by(&trigger), trigger.by_the_one_before()) {
            (Err(refused), Some(before)) => by(&before).map(|event| (before, event)).map_err(|_| refused),
            (signed, _) => signed.map(|event| (trigger, event)),
        }
    }

    fn admit(&self, trigger: TriggerId) -> Result<(), Problem> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        let now = self.parts.store.sources().now();
        match buckets.lock().expect("no holder of this lock can panic").admit(trigger, now) {
            Admission::Admitted { .. } => Ok(()),
            Admission::Refused { retry_after_s } => Err(Problem::too_many(retry_after_s)),
        }
    }
}

pub(crate) async fn receive(
    State(calls): State<Calls>,
    trigger: Result<Path<TriggerId>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    let taken = calls.take(trigger.ok().map(|Path(trigger)| trigger), &headers, body).await;
    count(&taken);
    let Called { run, skipped, duplicate } = taken?;
    Ok((StatusCode::ACCEPTED, Json(Answer { run_id: run, skipped, duplicate })))
}

fn refused(error: CallError) -> Problem {
    match error {
        CallError::NoSuchTrigger => Problem::no_such("trigger"),
        CallError::Paused => {
            Problem::not_now("paused", "the workflow is paused and takes no calls; send it again when it goes on")
        }
        CallError::Archived => Problem::not_now("archived", "the workflow is archived for ever and takes no calls"),
        CallError::OverQuota(used_up) => Problem::over_quota(&used_up),
        CallError::AgentRefused => Problem::refused_by_policy(),
        CallError::Store(error) => internal(&error),
    }
}

fn count(taken: &Result<Called, Problem>) {
    let outcome = match taken {
        Ok(Called { duplicate: true, .. }) => "duplicate",
        Ok(Called { run: None, .. }) => "skipped",
        Ok(_) => "started",
        Err(problem) => problem.code,
    };
    metrics::counter!("cowork_calls_total", "outcome" => outcome).increment(1);
}

pub(crate) fn describe() {
    metrics::describe_counter!("cowork_calls_total", "calls of webhook triggers, by what became of them");
}
