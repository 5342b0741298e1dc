//! Triggers: what starts a workflow, and settling the slots that are due.
//!
//! One trigger is settled in one transaction: its slots, the runs of those that fire and the next slot to wait for
//! are written together or not at all. The transaction holds the rows of the trigger and of its workflow, and a
//! scheduler that meets a held row passes it by: several of them share the work, and pausing a workflow waits for a
//! slot that is being fired.
//!
//! Not here: the decision (`domain::schedule::settle`), what a fired slot starts (`slot`), adding and removing triggers (`change`),
//! the calls of those that are started from outside (`call`).

use chrono::TimeDelta;
use clock::{Sources, Timestamp};
use domain::schedule::{
    Due, NewTrigger, OverlapPolicy, Schedule, Settlement, SkipReason, SlotDecision, TriggerSpec, settle,
};
use ids::{OrgId, TriggerId, WorkflowId};
use sqlx::PgConnection;

use crate::outbox::{self, Effect};
use crate::slot::{self, Work};
use crate::wake::Wake;
use crate::workflow::word;
use crate::{Store, StoreError, policy, quota, run};

mod change;

/// What starts a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub trigger_id: TriggerId,
    pub workflow_id: WorkflowId,
    pub spec: TriggerSpec,
    /// The oldest slot that nobody has settled; `None`: none will come.
    pub next_due_at: Option<Timestamp>,
    /// `None`: it takes no calls.
    pub secret: Option<TriggerSecret>,
    /// Until when the secret of before signs calls, too. `None`: it is void.
    pub overlap_until: Option<Timestamp>,
}

/// What the signing secret of a trigger that takes calls is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerSecret {
    /// Of the configured channel secret.
    pub version: String,
    /// From 1. The next one makes every older secret of the trigger void, the last of them when its overlap is over.
    pub number: i32,
}

impl From<(String, i32)> for TriggerSecret {
    fn from((version, number): (String, i32)) -> Self {
        Self { version, number }
    }
}

/// A trigger that is due, as a scheduler finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTrigger {
    pub org: OrgId,
    pub trigger: TriggerId,
    pub next_due_at: Timestamp,
}

/// What settling one trigger would fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSlots {
    pub due: DueTrigger,
    pub workflow: WorkflowId,
    /// When they are due.
    pub fires: Vec<Timestamp>,
    /// When it was.
    pub now: Timestamp,
}

/// What settling one trigger did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettledSlots {
    /// When the slots that fired were due, oldest first.
    pub fired: Vec<Timestamp>,
    pub skipped: usize,
    /// Slots that somebody had settled before: another trigger of the workflow was due at the same instant, or a
    /// restore brought back an older trigger.
    pub already: usize,
    /// When it was.
    pub at: Timestamp,
}

/// The row that a settlement holds, with the workflow's policy and the life of the system that it happens in.
struct Held {
    trigger_id: TriggerId,
    workflow_id: WorkflowId,
    kind: String,
    spec: serde_json::Value,
    created_at: Timestamp,
    next_due_at: Timestamp,
    name: String,
    agent: String,
    prompt: String,
    missed_policy: String,
    missed_window_s: i64,
    overlap_policy: String,
    generation: i64,
    generation_started_at: Timestamp,
}

/// `secret_version` is that of the configured channel secret, for one that takes calls.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    workflow: WorkflowId,
    new: &NewTrigger,
    secret_version: &str,
) -> Result<Trigger, sqlx::Error> {
    let takes_calls = matches!(new.spec, TriggerSpec::Webhook {});
    let trigger = Trigger {
        trigger_id: sources.id(),
        workflow_id: workflow,
        spec: new.spec.clone(),
        next_due_at: new.first_due_at,
        secret: takes_calls.then(|| TriggerSecret { version: secret_version.to_owned(), number: 1 }),
        overlap_until: None,
    };
    sqlx::query!(
        "-- trigger_insert
        INSERT INTO triggers (org_id, trigger_id, workflow_id, kind, spec, next_due_at, created_at, secret_version,
            secret_number)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        org as OrgId,
        trigger.trigger_id as TriggerId,
        workflow as WorkflowId,
        new.spec.kind(),
        new.spec.fields(),
        new.first_due_at,
        sources.now(),
        trigger.secret.as_ref().map(|secret| secret.version.as_str()),
        trigger.secret.as_ref().map(|secret| secret.number),
    )
    .execute(connection)
    .await?;
    Ok(trigger)
}

fn read(trigger: TriggerId, kind: String, fields: serde_json::Value) -> Result<TriggerSpec, StoreError> {
    TriggerSpec::from_fields(kind, fields).map_err(|source| unreadable(trigger, source))
}

fn unreadable(trigger: TriggerId, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unreadable { table: "triggers", column: "spec", id: trigger.to_string(), source: Box::new(source) }
}

/// Archives with the workflow: no slot will come.
pub(crate) async fn stop_all(
    connection: &mut PgConnection,
    org: OrgId,
    workflow: WorkflowId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- trigger_stop_all
        UPDATE triggers SET next_due_at = NULL WHERE org_id = $1 AND workflow_id = $2",
        org as OrgId,
        workflow as WorkflowId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Settles everything that fell due while the workflow was paused, all of it as missed. The caller holds the
/// workflow's row.
pub(crate) async fn settle_paused(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    workflow: WorkflowId,
) -> Result<(), StoreError> {
    let now = sources.now();
    let triggers = sqlx::query_scalar!(
        r#"-- trigger_settle_paused
        SELECT trigger_id AS "trigger_id: TriggerId" FROM triggers
        WHERE org_id = $1 AND workflow_id = $2 AND next_due_at <= $3 ORDER BY next_due_at, trigger_id"#,
        org as OrgId,
        workflow as WorkflowId,
        now,
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::during("trigger_settle_paused"))?;
    for trigger in triggers {
        if let Some(held) = hold(connection, org, trigger, "paused", now).await? {
            let decided = decide(connection, org, held, now, now).await?;
            let settled = write(connection, sources, &decided, now).await?;
            let fired = settled.fired.iter().map(|&due_at| Effect::SlotFired { org, workflow, due_at });
            let fired: Vec<Effect> = fired.collect();
            outbox::insert(connection, sources, &fired).await.map_err(StoreError::during("outbox_insert"))?;
        }
    }
    Ok(())
}

impl Store {
    /// The triggers of `workflows`, oldest first.
    pub async fn trigger_list(&self, org: OrgId, workflows: &[WorkflowId]) -> Result<Vec<Trigger>, StoreError> {
        let ids: Vec<uuid::Uuid> = workflows.iter().map(|id| *id.as_uuid()).collect();
        let rows = sqlx::query!(
            r#"-- trigger_list
            SELECT trigger_id AS "trigger_id: TriggerId", workflow_id AS "workflow_id: WorkflowId", kind, spec,
                next_due_at, secret_version, secret_number, overlap_until
            FROM triggers WHERE org_id = $1 AND workflow_id = ANY ($2) ORDER BY trigger_id"#,
            org as OrgId,
            &ids,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("trigger_list"))?;
        let triggers = rows.into_iter().map(|row| {
            Ok(Trigger {
                trigger_id: row.trigger_id,
                workflow_id: row.workflow_id,
                spec: read(row.trigger_id, row.kind, row.spec)?,
                next_due_at: row.next_due_at,
                secret: row.secret_version.zip(row.secret_number).map(TriggerSecret::from),
                overlap_until: row.overlap_until,
            })
        });
        triggers.collect()
    }

    /// At most `limit` triggers of active workflows, of all orgs, that are due at `at`, longest due first, after `after`. None
    /// in maintenance.
    pub async fn trigger_due(
        &self,
        at: Timestamp,
        after: Option<&DueTrigger>,
        limit: i64,
    ) -> Result<Vec<DueTrigger>, StoreError> {
        sqlx::query_as!(
            DueTrigger,
            r#"-- trigger_due
            SELECT triggers.org_id AS "org: OrgId", trigger_id AS "trigger: TriggerId", next_due_at AS "next_due_at!"
            FROM triggers JOIN workflows USING (org_id, workflow_id)
            WHERE next_due_at <= $1 AND workflows.state = 'active'
                AND NOT EXISTS (SELECT FROM maintenance WHERE generation = (SELECT max(generation) FROM generations))
                AND ($2::timestamptz IS NULL OR (next_due_at, trigger_id) > ($2, $3))
            ORDER BY next_due_at, trigger_id LIMIT $4"#,
            at,
            after.map(|due| due.next_due_at),
            after.map(|due| due.trigger) as Option<TriggerId>,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("trigger_due"))
    }

    /// What settling a trigger at `now` would fire. `None`: it is not due, or somebody else is at it.
    ///
    /// The recovery ledger has to know of these before [`Self::trigger_settle`].
    pub async fn trigger_plan(&self, due: &DueTrigger, now: Timestamp) -> Result<Option<PlannedSlots>, StoreError> {
        let during = || StoreError::during("trigger_plan");
        let mut tx = self.begin_of(due.org).await.map_err(during())?;
        let Some(held) = hold(&mut tx, due.org, due.trigger, "active", now).await? else { return Ok(None) };
        let live_since = held.generation_started_at;
        let decided = decide(&mut tx, due.org, held, live_since, now).await?;
        tx.rollback().await.map_err(during())?;
        let fires = decided.fires().collect();
        Ok(Some(PlannedSlots { due: *due, workflow: decided.work.workflow, fires, now }))
    }

    /// Settles the slots of a trigger as planned. `None`: it is no longer due, somebody else is at it, or it would fire
    /// a slot now that was not planned. Then nothing was written, and a new plan is needed.
    pub async fn trigger_settle(&self, planned: &PlannedSlots) -> Result<Option<SettledSlots>, StoreError> {
        let during = || StoreError::during("trigger_settle");
        let PlannedSlots { due, fires, now, .. } = planned;
        let mut tx = self.begin_of(planned.due.org).await.map_err(during())?;
        let Some(held) = hold(&mut tx, due.org, due.trigger, "active", *now).await? else { return Ok(None) };
        let live_since = held.generation_started_at;
        let decided = decide(&mut tx, due.org, held, live_since, *now).await?;
        if decided.fires().any(|due_at| !fires.contains(&due_at)) {
            return Ok(None);
        }
        let settled = write(&mut tx, &self.sources, &decided, *now).await?;
        tx.commit().await.map_err(during())?;
        if !settled.fired.is_empty() {
            self.wakes.tell(Wake::Work);
        }
        Ok(Some(settled))
    }
}

/// Locks a trigger that is due and its workflow. `None`: it isn't due, the workflow is in another state, or somebody
/// else holds one of the rows.
async fn hold(
    connection: &mut PgConnection,
    org: OrgId,
    trigger: TriggerId,
    state: &str,
    now: Timestamp,
) -> Result<Option<Held>, StoreError> {
    sqlx::query_as!(
        Held,
        r#"-- trigger_hold
        SELECT trigger_id AS "trigger_id: TriggerId", workflow_id AS "workflow_id: WorkflowId", kind, spec,
            triggers.created_at, next_due_at AS "next_due_at!", name, agent, prompt, missed_policy, missed_window_s,
            overlap_policy, current.generation, current.started_at AS generation_started_at
        FROM triggers JOIN workflows USING (org_id, workflow_id)
            CROSS JOIN (SELECT generation, started_at FROM generations ORDER BY generation DESC LIMIT 1) AS current
        WHERE org_id = $1 AND trigger_id = $2 AND next_due_at <= $3 AND workflows.state = $4
        FOR NO KEY UPDATE OF triggers, workflows SKIP LOCKED"#,
        org as OrgId,
        trigger as TriggerId,
        now,
        state,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("trigger_hold"))
}

/// What a trigger's due slots come to.
struct Decided {
    trigger: TriggerId,
    work: Work,
    settlement: Settlement,
}

impl Decided {
    fn fires(&self) -> impl Iterator<Item = Timestamp> {
        let fired = self.settlement.slots.iter().filter(|slot| slot.decision == SlotDecision::Fire);
        fired.map(|slot| slot.due_at)
    }
}

async fn decide(
    connection: &mut PgConnection,
    org: OrgId,
    held: Held,
    live_since: Timestamp,
    now: Timestamp,
) -> Result<Decided, StoreError> {
    let spec = read(held.trigger_id, held.kind, held.spec)?;
    let schedule = Schedule::new(&spec, held.created_at).map_err(|source| unreadable(held.trigger_id, source))?;
    let overlap_policy = word("overlap_policy", held.workflow_id, &held.overlap_policy)?;
    let due = Due {
        next_due_at: held.next_due_at,
        live_since,
        now,
        missed_policy: word("missed_policy", held.workflow_id, &held.missed_policy)?,
        missed_window: TimeDelta::seconds(held.missed_window_s),
        overlap_policy,
        running: overlap_policy == OverlapPolicy::Skip && running(connection, org, held.workflow_id).await?,
    };
    let mut settlement = settle(&schedule, &due);
    if settlement.slots.iter().any(|slot| slot.decision == SlotDecision::Fire) {
        let left = quota::runs_left(connection, org, now).await.map_err(StoreError::during("quota_runs_left"))?;
        settlement.allow(left);
        if policy::refuses_agent(&mut *connection, org, &held.agent).await? {
            settlement.refuse(SkipReason::AgentRefused);
        }
    }
    let work = Work {
        org,
        workflow: held.workflow_id,
        trigger: Some(held.trigger_id),
        name: held.name,
        agent: held.agent,
        prompt: held.prompt,
        generation: held.generation,
    };
    Ok(Decided { trigger: held.trigger_id, work, settlement })
}

async fn write(
    connection: &mut PgConnection,
    sources: &Sources,
    decided: &Decided,
    now: Timestamp,
) -> Result<SettledSlots, StoreError> {
    let Decided { trigger, work, settlement } = decided;
    let settled = slot::write(connection, sources, work, &settlement.slots, now).await?;
    wait_for(connection, work.org, *trigger, settlement.next_due_at)
        .await
        .map_err(StoreError::during("trigger_wait_for"))?;
    Ok(settled)
}

async fn running(connection: &mut PgConnection, org: OrgId, workflow: WorkflowId) -> Result<bool, StoreError> {
    run::any_running(connection, org, workflow).await.map_err(StoreError::during("run_any_running"))
}

async fn wait_for(
    connection: &mut PgConnection,
    org: OrgId,
    trigger: TriggerId,
    next_due_at: Option<Timestamp>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- trigger_wait_for
        UPDATE triggers SET next_due_at = $3 WHERE org_id = $1 AND trigger_id = $2",
        org as OrgId,
        trigger as TriggerId,
        next_due_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}
