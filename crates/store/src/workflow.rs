//! Workflows: repeatable work, and whether its triggers start it.
//!
//! Pausing only changes the state: the triggers keep the oldest slot that nobody has settled. Resuming settles what
//! fell due meanwhile as missed, in the same transaction, so that no scheduler can take it for on time.
//!
//! Not here: changing what it does (`details`), the slots of a trigger (`trigger`), starting by hand (`slot`) and from outside (`call`).

mod details;

use clock::Timestamp;
use domain::schedule::{MAX_TRIGGERS, MissedPolicy, NewTrigger, OverlapPolicy, WorkflowState};
use domain::version::RowVersion;
use ids::{OrgId, WorkflowId};
use serde::de::DeserializeOwned;
use sqlx::PgConnection;

use crate::quota::UsedUp;
use crate::trigger::{self, Trigger};
use crate::{Store, StoreError, audit};

pub use self::details::WorkflowChange;

/// A workflow to be written down. Its triggers were checked.
#[derive(Debug, Clone)]
pub struct NewWorkflow {
    pub org: OrgId,
    pub name: String,
    /// The name of an agent runtime, such as `scripted`.
    pub agent: String,
    pub prompt: String,
    pub state: WorkflowState,
    pub missed_policy: MissedPolicy,
    /// Seconds.
    pub missed_window_s: i64,
    pub overlap_policy: OverlapPolicy,
    /// Version of the configured channel secret, for triggers that take calls.
    pub secret_version: String,
    pub triggers: Vec<NewTrigger>,
}

/// Repeatable work, with what starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    pub workflow_id: WorkflowId,
    pub name: String,
    pub agent: String,
    pub prompt: String,
    pub state: WorkflowState,
    pub missed_policy: MissedPolicy,
    /// Seconds.
    pub missed_window_s: i64,
    pub overlap_policy: OverlapPolicy,
    pub created_at: Timestamp,
    /// Of what it does: neither its state nor its triggers.
    pub version: RowVersion,
    pub triggers: Vec<Trigger>,
}

/// Why a workflow stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    #[error("the org has no such workflow")]
    NoSuchWorkflow,
    #[error("the workflow is archived, for ever")]
    Archived,
    #[error("the workflow has no such trigger")]
    NoSuchTrigger,
    #[error("the workflow has {MAX_TRIGGERS} triggers already")]
    TooManyTriggers,
    #[error("the trigger takes no calls, so it has no secret")]
    NotCalled,
    #[error("the workflow is in another state than the change was made for")]
    Stale,
    #[error("the org has used its quota of {} up", .0.kind)]
    OverQuota(UsedUp),
    #[error("the org's policy does not allow the workflow's agent")]
    AgentRefused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Row {
    workflow_id: WorkflowId,
    name: String,
    agent: String,
    prompt: String,
    state: String,
    missed_policy: String,
    missed_window_s: i64,
    overlap_policy: String,
    created_at: Timestamp,
    version: i64,
}

impl Row {
    fn read(self) -> Result<Workflow, StoreError> {
        let id = self.workflow_id;
        Ok(Workflow {
            state: word("state", id, &self.state)?,
            missed_policy: word("missed_policy", id, &self.missed_policy)?,
            overlap_policy: word("overlap_policy", id, &self.overlap_policy)?,
            workflow_id: id,
            name: self.name,
            agent: self.agent,
            prompt: self.prompt,
            missed_window_s: self.missed_window_s,
            created_at: self.created_at,
            version: RowVersion { since: self.created_at, version: self.version },
            triggers: Vec::new(),
        })
    }
}

/// Reads a word of a closed set from a column of `workflows`.
pub(crate) fn word<T: DeserializeOwned>(column: &'static str, id: WorkflowId, text: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|source| StoreError::Unreadable {
        table: "workflows",
        column,
        id: id.to_string(),
        source: Box::new(source),
    })
}

impl Store {
    /// Writes a workflow down, with its triggers.
    pub async fn workflow_create(&self, new: &NewWorkflow, actor: &str) -> Result<WorkflowId, StoreError> {
        let during = || StoreError::during("workflow_create");
        let workflow: WorkflowId = self.sources.id();
        let mut tx = self.begin_of(new.org).await.map_err(during())?;
        sqlx::query!(
            "-- workflow_create
            INSERT INTO workflows (org_id, workflow_id, name, agent, prompt, state, missed_policy, missed_window_s,
                overlap_policy, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            new.org as OrgId,
            workflow as WorkflowId,
            new.name,
            new.agent,
            new.prompt,
            new.state.as_str(),
            new.missed_policy.as_str(),
            new.missed_window_s,
            new.overlap_policy.as_str(),
            self.sources.now(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        for new_trigger in &new.triggers {
            trigger::insert(&mut tx, &self.sources, new.org, workflow, new_trigger, &new.secret_version)
                .await
                .map_err(during())?;
        }
        self.workflow_audit(&mut tx, new.org, workflow, actor, "workflow.create").await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(workflow)
    }

    /// `None`: the org has no such workflow.
    pub async fn workflow_get(&self, org: OrgId, workflow: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- workflow_get
            SELECT workflow_id AS "workflow_id: WorkflowId", name, agent, prompt, state, missed_policy,
                missed_window_s, overlap_policy, created_at, version
            FROM workflows WHERE org_id = $1 AND workflow_id = $2"#,
            org as OrgId,
            workflow as WorkflowId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("workflow_get"))?;
        let workflows = self.with_triggers(org, row.into_iter().collect()).await?;
        Ok(workflows.into_iter().next())
    }

    /// At most `limit` workflows of `org` after `after`, oldest first.
    pub async fn workflow_list(
        &self,
        org: OrgId,
        after: Option<WorkflowId>,
        limit: i64,
    ) -> Result<Vec<Workflow>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- workflow_list
            SELECT workflow_id AS "workflow_id: WorkflowId", name, agent, prompt, state, missed_policy,
                missed_window_s, overlap_policy, created_at, version
            FROM workflows WHERE org_id = $1 AND ($2::uuid IS NULL OR workflow_id > $2)
            ORDER BY workflow_id LIMIT $3"#,
            org as OrgId,
            after as Option<WorkflowId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("workflow_list"))?;
        self.with_triggers(org, rows).await
    }

    async fn with_triggers(&self, org: OrgId, rows: Vec<Row>) -> Result<Vec<Workflow>, StoreError> {
        let mut workflows = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<_> = workflows.iter().map(|workflow| workflow.workflow_id).collect();
        for trigger in self.trigger_list(org, &ids).await? {
            if let Some(workflow) = workflows.iter_mut().find(|workflow| workflow.workflow_id == trigger.workflow_id) {
                workflow.triggers.push(trigger);
            }
        }
        Ok(workflows)
    }

    /// Lets its slots pass from now on. Waits for a scheduler that is firing one.
    pub async fn workflow_pause(&self, org: OrgId, workflow: WorkflowId, actor: &str) -> Result<(), WorkflowError> {
        let during = || StoreError::during("workflow_pause");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        lock(&mut tx, org, workflow).await?;
        set_state(&mut tx, org, workflow, WorkflowState::Paused).await.map_err(during())?;
        self.workflow_audit(&mut tx, org, workflow, actor, "workflow.pause").await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(())
    }

    /// Lets its triggers start it again, after the missed policy decided about the slots that passed.
    pub async fn workflow_resume(&self, org: OrgId, workflow: WorkflowId, actor: &str) -> Result<(), WorkflowError> {
        let during = || StoreError::during("workflow_resume");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        if lock(&mut tx, org, workflow).await? == WorkflowState::Paused {
            trigger::settle_paused(&mut tx, &self.sources, org, workflow).await?;
        }
        set_state(&mut tx, org, workflow, WorkflowState::Active).await.map_err(during())?;
        self.workflow_audit(&mut tx, org, workflow, actor, "workflow.resume").await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(())
    }

    /// Sets it aside for ever. Runs that began go on.
    pub async fn workflow_archive(&self, org: OrgId, workflow: WorkflowId, actor: &str) -> Result<(), WorkflowError> {
        let during = || StoreError::during("workflow_archive");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        lock(&mut tx, org, workflow).await?;
        set_state(&mut tx, org, workflow, WorkflowState::Archived).await.map_err(during())?;
        trigger::stop_all(&mut tx, org, workflow).await.map_err(during())?;
        self.workflow_audit(&mut tx, org, workflow, actor, "workflow.archive").await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(())
    }

    pub(crate) async fn workflow_audit(
        &self,
        connection: &mut PgConnection,
        org: OrgId,
        workflow: WorkflowId,
        actor: &str,
        action: &str,
    ) -> Result<(), sqlx::Error> {
        let target = format!("workflow:{workflow}");
        audit::record(connection, &self.sources, org, actor, action, &target, serde_json::json!({})).await
    }
}

/// Locks the workflow's row against schedulers and other changes, and says its state.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    org: OrgId,
    workflow: WorkflowId,
) -> Result<WorkflowState, WorkflowError> {
    let state = sqlx::query_scalar!(
        "-- workflow_lock
        SELECT state FROM workflows WHERE org_id = $1 AND workflow_id = $2 FOR NO KEY UPDATE",
        org as OrgId,
        workflow as WorkflowId,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("workflow_lock"))?
    .ok_or(WorkflowError::NoSuchWorkflow)?;
    match word("state", workflow, &state)? {
        WorkflowState::Archived => Err(WorkflowError::Archived),
        state => Ok(state),
    }
}

async fn set_state(
    connection: &mut PgConnection,
    org: OrgId,
    workflow: WorkflowId,
    state: WorkflowState,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- workflow_set_state
        UPDATE workflows SET state = $3 WHERE org_id = $1 AND workflow_id = $2",
        org as OrgId,
        workflow as WorkflowId,
        state.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
