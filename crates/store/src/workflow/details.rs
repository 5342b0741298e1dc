//! What a workflow does, changed: its name, prompt and agent, and what becomes of slots that are missed or overlap.
//!
//! A slot that fires reads them under the lock that a change takes, so it fires with those of before or of after, never with
//! half of each. Runs that began go on as they began.
//!
//! Not here: pausing and archiving (`super`), triggers (`trigger`).

use domain::schedule::{MissedPolicy, OverlapPolicy};
use domain::version::Expected;
use ids::{OrgId, WorkflowId};
use serde_json::json;
use sqlx::PgConnection;

use super::{Row, Workflow, WorkflowError};
use crate::{Store, StoreError, audit};

/// What changes; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct WorkflowChange {
    pub name: Option<String>,
    pub agent: Option<String>,
    pub prompt: Option<String>,
    pub missed_policy: Option<MissedPolicy>,
    /// Seconds.
    pub missed_window_s: Option<i64>,
    pub overlap_policy: Option<OverlapPolicy>,
}

impl Store {
    /// Changes what a workflow does, if it is in the state that the change was made for. One that changes nothing writes
    /// nothing. The answer has no triggers.
    pub async fn workflow_change(
        &self,
        org: OrgId,
        workflow: WorkflowId,
        change: &WorkflowChange,
        expected: &Expected,
        actor: &str,
    ) -> Result<Workflow, WorkflowError> {
        let during = || StoreError::during("workflow_change");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        super::lock(&mut tx, org, workflow).await?;
        let found = read(&mut tx, org, workflow).await.map_err(during())?.read()?;
        if !expected.met_by(Some(found.version)) {
            return Err(WorkflowError::Stale);
        }
        let changed = changed(&found, change);
        if changed == found {
            return Ok(found);
        }
        write(&mut tx, org, &changed).await.map_err(during())?;
        let target = format!("workflow:{workflow}");
        let detail = json!({"changed": names(&found, &changed)});
        audit::record(&mut tx, &self.sources, org, actor, "workflow.change", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(changed)
    }
}

async fn read(connection: &mut PgConnection, org: OrgId, workflow: WorkflowId) -> Result<Row, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"-- workflow_details
        SELECT workflow_id AS "workflow_id: WorkflowId", name, agent, prompt, state, missed_policy,
            missed_window_s, overlap_policy, created_at, version
        FROM workflows WHERE org_id = $1 AND workflow_id = $2"#,
        org as OrgId,
        workflow as WorkflowId,
    )
    .fetch_one(connection)
    .await
}

/// The same value, version and all, if nothing changes.
fn changed(found: &Workflow, change: &WorkflowChange) -> Workflow {
    let mut changed = found.clone();
    let WorkflowChange { name, agent, prompt, missed_policy, missed_window_s, overlap_policy } = change.clone();
    changed.name = name.unwrap_or(changed.name);
    changed.agent = agent.unwrap_or(changed.agent);
    changed.prompt = prompt.unwrap_or(changed.prompt);
    changed.missed_policy = missed_policy.unwrap_or(changed.missed_policy);
    changed.missed_window_s = missed_window_s.unwrap_or(changed.missed_window_s);
    changed.overlap_policy = overlap_policy.unwrap_or(changed.overlap_policy);
    if changed != *found {
        changed.version.version += 1;
    }
    changed
}

/// What changed, by name: a prompt is nobody's business in an audit trail.
fn names(found: &Workflow, changed: &Workflow) -> Vec<&'static str> {
    let all = [
        ("name", found.name != changed.name),
        ("agent", found.agent != changed.agent),
        ("prompt", found.prompt != changed.prompt),
        ("missed_policy", found.missed_policy != changed.missed_policy),
        ("missed_window_s", found.missed_window_s != changed.missed_window_s),
        ("overlap_policy", found.overlap_policy != changed.overlap_policy),
    ];
    all.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

async fn write(connection: &mut PgConnection, org: OrgId, changed: &Workflow) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- workflow_change
        UPDATE workflows SET name = $3, agent = $4, prompt = $5, missed_policy = $6, missed_window_s = $7,
            overlap_policy = $8, version = $9
        WHERE org_id = $1 AND workflow_id = $2",
        org as OrgId,
        changed.workflow_id as WorkflowId,
        changed.name,
        changed.agent,
        changed.prompt,
        changed.missed_policy.as_str(),
        changed.missed_window_s,
        changed.overlap_policy.as_str(),
        changed.version.version,
    )
    .execute(connection)
    .await?;
    Ok(())
}
