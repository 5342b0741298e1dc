//! Calls of workflows from outside: each settles one slot of its workflow, at the instant at which it is taken.
//!
//! The slot, the run that it starts, and the caller's id of the event are one transaction, which holds the workflow's row. So a call
//! that comes again, at once or later, changes nothing and names the run that the first one started; and pausing, or removing the
//! trigger, comes before or after. Calls of one workflow are taken one after the other.
//!
//! The recovery ledger is told of the event and, if one fired, of the slot. After a restore to a backup from before it the event is
//! known, and its run is lost.
//!
//! Not here: checking who calls (crates `channels`, `secrets`), what the data looks like in the prompt (`domain::call`).

use clock::Timestamp;
use domain::call::CallData;
use domain::quota::UsageKind;
use domain::schedule::{OverlapPolicy, SkipReason, SlotDecision, WorkflowState};
use ids::{OrgId, RunId, TriggerId, WorkflowId};
use sqlx::PgConnection;

use crate::outbox::{self, Effect};
use crate::quota::UsedUp;
use crate::slot::{self, Work};
use crate::trigger::TriggerSecret;
use crate::wake::Wake;
use crate::workflow::word;
use crate::{Store, StoreError, policy, quota, remembered, run};

/// A trigger that takes calls, as its address finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledTrigger {
    pub org: OrgId,
    pub trigger: TriggerId,
    pub workflow: WorkflowId,
    pub secret: TriggerSecret,
    /// The one of before, while a rotation's overlap lasts.
    pub before: Option<TriggerSecret>,
}

impl CalledTrigger {
    /// As it is for a call that was signed with the secret of before. `None`: that one is void.
    #[must_use]
    pub fn by_the_one_before(&self) -> Option<Self> {
        Some(Self { secret: self.before.clone()?, ..self.clone() })
    }
}

/// A call whose caller was verified.
#[derive(Debug, Clone)]
pub struct Call {
    /// The caller's id of the event, 1 to 200 characters.
    pub provider_event_id: String,
    /// `None`: nothing came with it.
    pub data: Option<CallData>,
    /// What the recovery ledger calls the event.
    pub digest: [u8; 32],
}

/// What stands for a call that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// `None`: it was skipped, or was lost with the system before a restore.
    pub run: Option<RunId>,
    /// Why no run was started, for people.
    pub skipped: Option<String>,
    /// An earlier call with the same id was taken; nothing was done.
    pub duplicate: bool,
}

/// Why a call is not taken. It may be made again under the same id.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the trigger was removed")]
    NoSuchTrigger,
    #[error("the workflow is paused")]
    Paused,
    #[error("the workflow is archived")]
    Archived,
    #[error("the org has used its quota of {} up", .0.kind)]
    OverQuota(UsedUp),
    #[error("the org's policy does not allow the workflow's agent")]
    AgentRefused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The workflow that a call is for, held.
struct Held {
    work: Work,
    state: WorkflowState,
    overlap_policy: OverlapPolicy,
}

impl Store {
    /// Whose it is, is in the answer: calls come in at an address that names the trigger alone. `None`: there is none that takes calls.
    pub async fn call_find(&self, trigger: TriggerId) -> Result<Option<CalledTrigger>, StoreError> {
        let row = sqlx::query!(
            r#"-- call_find
            SELECT org_id AS "org: OrgId", workflow_id AS "workflow: WorkflowId", secret_version AS "version!",
                secret_number AS "number!", CASE WHEN overlap_until > $2 THEN overlap_version END AS before
            FROM triggers WHERE trigger_id = $1 AND kind = 'webhook'"#,
            trigger as TriggerId,
            self.sources.now(),
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("call_find"))?;
        Ok(row.map(|row| {
            let secret = TriggerSecret { version: row.version, number: row.number };
            let before = row.before.map(|version| TriggerSecret { version, number: row.number - 1 });
            CalledTrigger { org: row.org, trigger, workflow: row.workflow, secret, before }
        }))
    }

    /// Settles a slot for the call, and starts a run in `generation` if it fires.
    pub async fn call_receive(
        &self,
        generation: i64,
        trigger: &CalledTrigger,
        call: &Call,
    ) -> Result<Called, CallError> {
        let during = || StoreError::during("call_receive");
        let mut tx = self.begin_of(trigger.org).await.map_err(during())?;
        let held = hold(&mut tx, generation, trigger, call, self.sources.now()).await?;
        if let Some(called) = earlier(&mut tx, trigger, call).await? {
            return Ok(called);
        }
        match held.state {
            WorkflowState::Active => {}
            WorkflowState::Paused => return Err(CallError::Paused),
            WorkflowState::Archived => return Err(CallError::Archived),
        }
        let (called, effects) = self.settle(&mut tx, trigger, call, held).await?;
        outbox::insert(&mut tx, &self.sources, &effects).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        if called.run.is_some() {
            self.wakes.tell(Wake::Work);
        }
        Ok(called)
    }

    /// Gives back what became of the call, with what the recovery ledger has to know of it.
    async fn settle(
        &self,
        connection: &mut PgConnection,
        trigger: &CalledTrigger,
        call: &Call,
        held: Held,
    ) -> Result<(Called, Vec<Effect>), CallError> {
        let during = || StoreError::during("call_settle");
        let (org, workflow, work, now) = (trigger.org, trigger.workflow, held.work, self.sources.now());
        let running = held.overlap_policy == OverlapPolicy::Skip
            && run::any_running(connection, org, workflow).await.map_err(during())?;
        let mut effects = vec![Effect::InboundAccepted { org, inlet: trigger.trigger.into(), event: call.digest }];
        if running {
            let reason = SkipReason::Overlap;
            let decision = SlotDecision::Skip { reason, and_following: false };
            let due_at = slot::at_once(connection, &work, decision, now).await.map_err(during())?;
            note(connection, trigger, call, due_at, now).await.map_err(during())?;
            let skipped = Some(reason.sentence().to_owned());
            return Ok((Called { run: None, skipped, duplicate: false }, effects));
        }
        if let Some(used_up) = quota::used_up(&mut *connection, org, &[UsageKind::Runs], now).await? {
            return Err(CallError::OverQuota(used_up));
        }
        if policy::refuses_agent(&mut *connection, org, &work.agent).await? {
            return Err(CallError::AgentRefused);
        }
        let due_at = slot::at_once(connection, &work, SlotDecision::Fire, now).await.map_err(during())?;
        let run = slot::fire(connection, &self.sources, &work, due_at).await.map_err(during())?;
        note(connection, trigger, call, due_at, now).await.map_err(during())?;
        effects.push(Effect::SlotFired { org, workflow, due_at });
        Ok((Called { run: Some(run.run_id), skipped: None, duplicate: false }, effects))
    }
}

/// Locks the workflow: of two calls the later one sees what the earlier one did, in the statements after this.
async fn hold(
    connection: &mut PgConnection,
    generation: i64,
    trigger: &CalledTrigger,
    call: &Call,
    now: Timestamp,
) -> Result<Held, CallError> {
    let row = sqlx::query!(
        "-- call_hold
        SELECT name, agent, prompt, state, overlap_policy FROM workflows
        WHERE org_id = $1 AND workflow_id = $2 FOR NO KEY UPDATE",
        trigger.org as OrgId,
        trigger.workflow as WorkflowId,
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::during("call_hold"))?
    .ok_or(CallError::NoSuchTrigger)?;
    if !is_there(connection, trigger, now).await? {
        return Err(CallError::NoSuchTrigger);
    }
    let workflow = trigger.workflow;
    let prompt = call.data.as_ref().map_or_else(|| row.prompt.clone(), |data| data.behind(&row.prompt));
    let (state, overlap_policy) =
        (word("state", workflow, &row.state)?, word("overlap_policy", workflow, &row.overlap_policy)?);
    let (org, trigger, name, agent) = (trigger.org, Some(trigger.trigger), row.name, row.agent);
    Ok(Held { work: Work { org, workflow, trigger, name, agent, prompt, generation }, state, overlap_policy })
}

/// Whether the trigger is still there, with the secret that the call was verified with. Asked while the workflow is held, without
/// which neither changes.
async fn is_there(connection: &mut PgConnection, trigger: &CalledTrigger, now: Timestamp) -> Result<bool, StoreError> {
    sqlx::query_scalar!(
        r#"-- call_is_there
        SELECT EXISTS (
            SELECT FROM triggers WHERE org_id = $1 AND trigger_id = $2
                AND (secret_number = $3 OR secret_number = $3 + 1 AND overlap_until > $4)
        ) AS "there!""#,
        trigger.org as OrgId,
        trigger.trigger as TriggerId,
        trigger.secret.number,
        now,
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("call_is_there"))
}

/// What became of the call when it came before, here or in a system that this one was restored from.
async fn earlier(
    connection: &mut PgConnection,
    trigger: &CalledTrigger,
    call: &Call,
) -> Result<Option<Called>, StoreError> {
    let row = sqlx::query!(
        r#"-- call_earlier
        SELECT runs.run_id AS "run?: RunId", CASE WHEN slots.state = 'skipped' THEN slots.reason END AS skipped
        FROM trigger_calls AS calls JOIN slots USING (org_id, workflow_id, due_at)
            LEFT JOIN runs USING (org_id, workflow_id, due_at)
        WHERE calls.org_id = $1 AND calls.trigger_id = $2 AND calls.provider_event_id = $3"#,
        trigger.org as OrgId,
        trigger.trigger as TriggerId,
        call.provider_event_id,
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::during("call_earlier"))?;
    if let Some(row) = row {
        return Ok(Some(Called { run: row.run, skipped: row.skipped, duplicate: true }));
    }
    let lost = remembered::inbound(connection, trigger.org, trigger.trigger.into(), &call.digest)
        .await
        .map_err(StoreError::during("call_remembered"))?;
    Ok(lost.then_some(Called { run: None, skipped: None, duplicate: true }))
}

async fn note(
    connection: &mut PgConnection,
    trigger: &CalledTrigger,
    call: &Call,
    due_at: Timestamp,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- call_note
        INSERT INTO trigger_calls (org_id, trigger_id, provider_event_id, workflow_id, due_at, received_at)
        VALUES ($1, $2, $3, $4, $5, $6)",
        trigger.org as OrgId,
        trigger.trigger as TriggerId,
        call.provider_event_id,
        trigger.workflow as WorkflowId,
        due_at,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
