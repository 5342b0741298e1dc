//! Calls of workflows: `POST /hooks/triggers/{trigger_id}`.
//!
//! A call is signed as a message of a channel is, with the secret of its trigger. Its body is data of the run that it starts, and the
//! caller's id of the event is what makes a repeat known (`store::call`). A trigger that there is not and one that takes no calls have
//! one answer, to everybody.
//!
//! Not here: bounds and signature (`door`), how many there may be (`limits`), what the data looks like in the prompt
//! (`domain::call`).

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use domain::call::CallData;
use domain::rate::Network;
use front::{Peer, Told};
use ids::{RunId, TriggerId};
use serde::Serialize;
use store::{Call, CallError, Called, CalledTrigger};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Parts;
use crate::door::{internal, is_signed, open, remembered, signed, whole};
use crate::limits::{Limits, admitted, answered};
use crate::problem::Problem;

/// What takes calls. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    parts: Parts,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Called)]
pub(crate) struct Answer {
    /// `None`: it was skipped; or it had come to the system that this one was restored from, and its run was lost with it.
    run_id: Option<RunId>,
    /// Why no run was started.
    skipped: Option<String>,
    /// The call had come before; nothing was done.
    duplicate: bool,
}

pub(crate) fn routes() -> OpenApiRouter<Calls> {
    OpenApiRouter::new().routes(routes!(receive))
}

impl Calls {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Takes a call from an address for a trigger, if its path names one. `told`: what is told of the trigger's limit.
    async fn take(
        &self,
        (limits, told): (&Limits, &mut Option<Told>),
        (from, trigger): (Network, Option<TriggerId>),
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Called, Problem> {
        let parts = &self.parts;
        let body = whole(body)?;
        let trigger = trigger.ok_or_else(|| Problem::no_such("trigger"))?;
        let is_known = || self.is_known(limits, trigger, headers, &body);
        let found = self.found(trigger, headers, &body);
        let (trigger, provider_event_id) = limits.looked_up(from, is_known, found).await?;
        *told = limits.call(trigger.trigger, &trigger.secret);
        admitted(told.as_ref(), "this trigger was called more often than it may")?;
        let data = CallData::read(&body).map_err(|error| Problem::invalid(error.to_string()))?;
        open(parts).await?;
        let digest = parts.effects.inbound(trigger.trigger.into(), &provider_event_id);
        let call = Call { provider_event_id, data, digest };
        let called = parts.store.call_receive(parts.generation.generation, &trigger, &call).await.map_err(refused)?;
        remembered(parts).await?;
        Ok(called)
    }

    /// Whether the call is signed with what the trigger was called with lately.
    fn is_known(&self, limits: &Limits, trigger: TriggerId, headers: &HeaderMap, body: &[u8]) -> bool {
        let ours = &self.parts.channel_secret;
        let secret = limits.called_with(trigger).and_then(|secret| ours.of_trigger(trigger, &secret));
        secret.is_some_and(|secret| is_signed(&secret, headers, body))
    }

    /// The trigger and the caller's id of the event, if the call is signed.
    async fn found(
        &self,
        trigger: TriggerId,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(CalledTrigger, String), Problem> {
        let found = self.parts.store.call_find(trigger).await.map_err(|error| internal(&error))?;
        self.caller(found.ok_or_else(|| Problem::no_such("trigger"))?, headers, body)
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
}

/// Calls a workflow: starts a run of it, with the body as data that the prompt holds.
///
/// Authentication: no token. The call is signed as Standard Webhooks say, over the bytes of its body, with the signing secret of the
/// trigger; for the overlap of a rotation that may be the one before. Limit: a body of at most 64 KiB that does not stop for ten
/// seconds, an id of at most 150 characters, and `gateway.calls_per_minute` signed calls of one trigger.
#[utoipa::path(
    post,
    path = "/hooks/triggers/{trigger_id}",
    operation_id = "workflow_call",
    tag = "hooks",
    params(("trigger_id" = uuid::Uuid, Path, description = "The trigger's.")),
    request_body(content = serde_json::Value, content_type = "application/json", description = "Any JSON; it may be empty."),
    responses(
        (status = 202, description = "It is taken, and a restore will not forget it.", body = Answer),
        (status = 402, description = "The org's subscription has ended or is not paid (`subscription_ended`)."),
        (status = 403, description = "The org's policy does not allow the agent (`refused_by_policy`)."),
        (status = 409, description = "The workflow is paused (`paused`) or archived (`archived`)."),
        (status = 429, description = "The trigger was called too often, or too much from the caller's address was wrong (`too_many_requests`), or a quota of the org is used up (`over_quota`); `Retry-After` says when to go on."),
    ),
)]
pub(crate) async fn receive(
    State(calls): State<Calls>,
    Extension(limits): Extension<Limits>,
    Peer(from): Peer,
    trigger: Result<Path<TriggerId>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let mut told = None;
    let came = (from, trigger.ok().map(|Path(trigger)| trigger));
    let taken = calls.take((&limits, &mut told), came, &headers, body).await;
    count(&taken);
    let answer = |Called { run, skipped, duplicate }| Json(Answer { run_id: run, skipped, duplicate });
    answered(told.as_ref(), taken.map(|called| (StatusCode::ACCEPTED, answer(called))))
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
