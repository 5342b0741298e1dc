//! Slots: (workflow, due time), each settled once.
//!
//! The primary key is what makes a second run for a slot impossible: whoever finds a slot's row there starts nothing.
//! A slot's row, its session, its command, its run and its meter are written in one transaction.
//!
//! Not here: which slots there are (`domain::schedule`), whose turn it is to settle them (`trigger`), what settles one from outside
//! (`call`).

use std::collections::HashSet;

use chrono::TimeDelta;
use clock::{Sources, Timestamp};
use domain::command::Wish;
use domain::quota::UsageKind;
use domain::schedule::{Settled, SlotDecision, WorkflowState};
use ids::{OrgId, RunId, TriggerId, WorkflowId};
use sqlx::PgConnection;

use crate::command::{self, EnqueueError, NewCommand};
use crate::run::{self, Run};
use crate::session::{self, NewSession};
use crate::trigger::SettledSlots;
use crate::wake::Wake;
use crate::workflow::word;
use crate::{Store, StoreError, WorkflowError, policy, quota, usage};

/// A slot that was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub due_at: Timestamp,
    /// `None`: started by hand.
    pub trigger_id: Option<TriggerId>,
    /// `fired` or `skipped`.
    pub state: String,
    /// Why it was skipped; `None`: it fired.
    pub reason: Option<String>,
    pub claimed_at: Timestamp,
}

/// What a slot of a workflow starts when it fires, and under which generation.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) org: OrgId,
    pub(crate) workflow: WorkflowId,
    /// `None`: started by hand.
    pub(crate) trigger: Option<TriggerId>,
    pub(crate) name: String,
    pub(crate) agent: String,
    pub(crate) prompt: String,
    pub(crate) generation: i64,
}

/// Writes `slots`, and starts a run for each that fires and that nobody had settled before.
pub(crate) async fn write(
    connection: &mut PgConnection,
    sources: &Sources,
    work: &Work,
    slots: &[Settled],
    at: Timestamp,
) -> Result<SettledSlots, StoreError> {
    let ours = insert(connection, work, slots, at).await.map_err(StoreError::during("slot_insert"))?;
    let mut settled = SettledSlots { at, already: slots.len() - ours.len(), ..SettledSlots::default() };
    for slot in slots.iter().filter(|slot| ours.contains(&slot.due_at)) {
        if slot.decision == SlotDecision::Fire {
            fire(connection, sources, work, slot.due_at).await.map_err(StoreError::during("slot_fire"))?;
            settled.fired.push(slot.due_at);
        } else {
            settled.skipped += 1;
        }
    }
    Ok(settled)
}

/// Microseconds in which a place is looked for. So many slots of one workflow at one instant there are not: a database that takes none
/// is a broken one.
const INSTANTS: i64 = 1_000;

/// Writes a slot that nobody waited for, and says when it is: now, or as soon after it as there is none.
pub(crate) async fn at_once(
    connection: &mut PgConnection,
    work: &Work,
    decision: SlotDecision,
    now: Timestamp,
) -> Result<Timestamp, sqlx::Error> {
    // Where a slot is at this very instant, the next one will do: nothing tells two apart that are as close as this.
    for later in 0..INSTANTS {
        let slot = Settled { due_at: now + TimeDelta::microseconds(later), decision };
        if !insert(connection, work, &[slot], now).await?.is_empty() {
            return Ok(slot.due_at);
        }
    }
    Err(sqlx::Error::Protocol(format!("no slot could be written in the {INSTANTS} microseconds from {now} on")))
}

/// Writes the rows; says which of them were not there before.
async fn insert(
    connection: &mut PgConnection,
    work: &Work,
    slots: &[Settled],
    at: Timestamp,
) -> Result<HashSet<Timestamp>, sqlx::Error> {
    let due: Vec<Timestamp> = slots.iter().map(|slot| slot.due_at).collect();
    let reasons: Vec<Option<String>> = slots.iter().map(|slot| reason(slot.decision)).collect();
    let ours = sqlx::query_scalar!(
        "-- slot_insert
        INSERT INTO slots (org_id, workflow_id, due_at, trigger_id, state, reason, claimed_at)
        SELECT $1, $2, due_at, $3, CASE WHEN reason IS NULL THEN 'fired' ELSE 'skipped' END, reason, $6
        FROM UNNEST($4::timestamptz[], $5::text[]) AS new (due_at, reason)
        ON CONFLICT (org_id, workflow_id, due_at) DO NOTHING
        RETURNING due_at",
        work.org as OrgId,
        work.workflow as WorkflowId,
        work.trigger as Option<TriggerId>,
        &due,
        &reasons as &[Option<String>],
        at,
    )
    .fetch_all(connection)
    .await?;
    Ok(ours.into_iter().collect())
}

fn reason(decision: SlotDecision) -> Option<String> {
    match decision {
        SlotDecision::Fire => None,
        SlotDecision::Skip { reason, and_following: false } => Some(reason.sentence().to_owned()),
        SlotDecision::Skip { reason, and_following: true } => {
            Some(format!("{}; so were those after it that are not listed", reason.sentence()))
        }
    }
}

/// Starts the run of a slot that is ours: a session, with the prompt as its first command.
pub(crate) async fn fire(
    connection: &mut PgConnection,
    sources: &Sources,
    work: &Work,
    due_at: Timestamp,
) -> Result<Run, sqlx::Error> {
    let (org, run_id): (_, RunId) = (work.org, sources.id());
    let new = NewSession { org, created_by: None, title: work.name.clone(), agent: work.agent.clone() };
    let session_id = session::insert(connection, sources, work.generation, &new).await?;
    let prompt = NewCommand {
        org,
        session: session_id,
        wish: Wish::Prompt { text: work.prompt.clone() },
        idempotency_key: format!("run:{run_id}"),
        created_by: None,
    };
    let command = command::enqueue(connection, sources, &prompt).await.map_err(cause)?.command;
    let (workflow_id, state, created_at) = (work.workflow, "running".to_owned(), sources.now());
    let trigger_id = work.trigger;
    let run = Run { run_id, workflow_id, due_at, trigger_id, session_id, state, created_at, finished_at: None };
    run::insert(connection, org, &run, command).await?;
    usage::record(connection, sources, org, run_id.into(), UsageKind::Runs, 1).await?;
    Ok(run)
}

fn cause(error: EnqueueError) -> sqlx::Error {
    match error {
        EnqueueError::Database(source) => source,
        // The session and the key were made a moment ago, in this transaction.
        EnqueueError::NoSuchSession
        | EnqueueError::Archived
        | EnqueueError::Busy
        | EnqueueError::OverQuota(_)
        | EnqueueError::AgentRefused
        | EnqueueError::SpokenTo
        | EnqueueError::OtherWish => sqlx::Error::RowNotFound,
    }
}

impl Store {
    /// Starts a workflow by hand, now, whatever its triggers and its overlap policy say; also when it is paused.
    pub async fn slot_start(&self, org: OrgId, workflow: WorkflowId, actor: &str) -> Result<Run, WorkflowError> {
        let during = || StoreError::during("slot_start");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let work = by_hand(&mut tx, org, workflow).await?;
        let now = self.sources.now();
        if let Some(used_up) = quota::used_up(&mut *tx, org, &[UsageKind::Runs], now).await? {
            return Err(WorkflowError::OverQuota(used_up));
        }
        if policy::refuses_agent(&mut *tx, org, &work.agent).await? {
            return Err(WorkflowError::AgentRefused);
        }
        let due_at = at_once(&mut tx, &work, SlotDecision::Fire, now).await.map_err(during())?;
        let run = fire(&mut tx, &self.sources, &work, due_at).await.map_err(during())?;
        self.workflow_audit(&mut tx, org, workflow, actor, "workflow.start").await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Work);
        Ok(run)
    }

    /// At most `limit` settled slots of a workflow, newest first, due before `before`.
    pub async fn slot_list(
        &self,
        org: OrgId,
        workflow: WorkflowId,
        before: Option<Timestamp>,
        limit: i64,
    ) -> Result<Vec<Slot>, StoreError> {
        sqlx::query_as!(
            Slot,
            r#"-- slot_list
            SELECT due_at, trigger_id AS "trigger_id: TriggerId", state, reason, claimed_at FROM slots
            WHERE org_id = $1 AND workflow_id = $2 AND ($3::timestamptz IS NULL OR due_at < $3)
            ORDER BY due_at DESC LIMIT $4"#,
            org as OrgId,
            workflow as WorkflowId,
            before,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("slot_list"))
    }
}

async fn by_hand(connection: &mut PgConnection, org: OrgId, workflow: WorkflowId) -> Result<Work, WorkflowError> {
    let row = sqlx::query!(
        "-- slot_by_hand
        SELECT name, agent, prompt, state,
            (SELECT generation FROM generations ORDER BY generation DESC LIMIT 1) AS \"generation!\"
        FROM workflows WHERE org_id = $1 AND workflow_id = $2 FOR SHARE OF workflows",
        org as OrgId,
        workflow as WorkflowId,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("slot_by_hand"))?
    .ok_or(WorkflowError::NoSuchWorkflow)?;
    if word::<WorkflowState>("state", workflow, &row.state)? == WorkflowState::Archived {
        return Err(WorkflowError::Archived);
    }
    let (name, agent, prompt, generation) = (row.name, row.agent, row.prompt, row.generation);
    Ok(Work { org, workflow, trigger: None, name, agent, prompt, generation })
}
