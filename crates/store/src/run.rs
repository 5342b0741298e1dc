//! Runs: one execution of a workflow each, for one slot.
//!
//! A run names the session and the command that carry it out. It is over when the command is: the worker's transaction
//! that records a turn's result calls [`finish`].
//!
//! Not here: what makes a run start (`slot`), the work itself (`command`, `event`).

use clock::Timestamp;
use ids::{CommandId, OrgId, RunId, SessionId, TriggerId, WorkflowId};
use sqlx::PgConnection;

use crate::{Store, StoreError};

/// One execution of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub run_id: RunId,
    pub workflow_id: WorkflowId,
    /// With the workflow: the slot that it was started for.
    pub due_at: Timestamp,
    /// What started it, whether it is still there or not. `None`: somebody did, by hand.
    pub trigger_id: Option<TriggerId>,
    pub session_id: SessionId,
    /// `running`, `succeeded` or `failed`.
    pub state: String,
    pub created_at: Timestamp,
    /// `None`: not yet over.
    pub finished_at: Option<Timestamp>,
}

/// Writes a run that begins, with the command that carries it out.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    org: OrgId,
    run: &Run,
    command: CommandId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- run_insert
        INSERT INTO runs (org_id, run_id, workflow_id, due_at, session_id, command_id, state, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        org as OrgId,
        run.run_id as RunId,
        run.workflow_id as WorkflowId,
        run.due_at,
        run.session_id as SessionId,
        command as CommandId,
        run.state,
        run.created_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the run that `command` carried out, if it carried out one, in the transaction that records its result. A run
/// that is over stays as it is.
pub(crate) async fn finish(
    connection: &mut PgConnection,
    org: OrgId,
    command: CommandId,
    succeeded: bool,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- run_finish
        UPDATE runs SET state = CASE WHEN $3 THEN 'succeeded' ELSE 'failed' END, finished_at = $4
        WHERE org_id = $1 AND command_id = $2 AND state = 'running'",
        org as OrgId,
        command as CommandId,
        succeeded,
        at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether a run of `workflow` is unfinished.
pub(crate) async fn any_running(
    connection: &mut PgConnection,
    org: OrgId,
    workflow: WorkflowId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- run_any_running
        SELECT EXISTS (SELECT FROM runs WHERE org_id = $1 AND workflow_id = $2 AND state = 'running') AS "running!""#,
        org as OrgId,
        workflow as WorkflowId,
    )
    .fetch_one(connection)
    .await
}

impl Store {
    pub async fn run_get(&self, org: OrgId, run: RunId) -> Result<Option<Run>, StoreError> {
        sqlx::query_as!(
            Run,
            r#"-- run_get
            SELECT run_id AS "run_id: RunId", workflow_id AS "workflow_id: WorkflowId", due_at,
                slots.trigger_id AS "trigger_id: TriggerId", session_id AS "session_id: SessionId", runs.state, created_at,
                finished_at
            FROM runs JOIN slots USING (org_id, workflow_id, due_at)
            WHERE org_id = $1 AND run_id = $2"#,
            org as OrgId,
            run as RunId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("run_get"))
    }

    /// At most `limit` runs of `org`, newest first, of one workflow or of all, begun before `before`.
    pub async fn run_list(
        &self,
        org: OrgId,
        workflow: Option<WorkflowId>,
        before: Option<RunId>,
        limit: i64,
    ) -> Result<Vec<Run>, StoreError> {
        sqlx::query_as!(
            Run,
            r#"-- run_list
            SELECT run_id AS "run_id: RunId", workflow_id AS "workflow_id: WorkflowId", due_at,
                slots.trigger_id AS "trigger_id: TriggerId", session_id AS "session_id: SessionId", runs.state, created_at,
                finished_at
            FROM runs JOIN slots USING (org_id, workflow_id, due_at)
            WHERE org_id = $1 AND ($2::uuid IS NULL OR workflow_id = $2) AND ($3::uuid IS NULL OR run_id < $3)
            ORDER BY run_id DESC LIMIT $4"#,
            org as OrgId,
            workflow as Option<WorkflowId>,
            before as Option<RunId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("run_list"))
    }
}
