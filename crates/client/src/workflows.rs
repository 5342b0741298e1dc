//! Workflows: create, list, steer; their triggers, slots and runs.

use chrono::{DateTime, Utc};
use ids::{RunId, SessionId, TriggerId, WorkflowId};
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::etag::{made_for, tagged};
use crate::{Client, ETag, Error, Page, Tagged};

/// What a workflow begins with. Absent fields take the server's defaults.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewWorkflow {
    pub name: String,
    /// The name of an agent runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    pub prompt: String,
    /// `skip`, `run_once`, `run_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_window_s: Option<i64>,
    /// `allow`, `skip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_policy: Option<String>,
    /// `active`, `paused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    pub triggers: Vec<NewTrigger>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NewTrigger {
    Cron {
        expression: String,
        time_zone: String,
    },
    Interval {
        every_s: i64,
        anchor_at: Option<DateTime<Utc>>,
    },
    Once {
        at: DateTime<Utc>,
    },
    /// By signed calls.
    Webhook {},
}

#[derive(Debug, Clone, Deserialize)]
pub struct Workflow {
    pub workflow_id: WorkflowId,
    pub name: String,
    /// `active`, `paused`, `archived`.
    pub state: String,
    #[serde(default)]
    pub triggers: Vec<Trigger>,
}

/// What a workflow does.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkflowDetails {
    pub workflow_id: WorkflowId,
    pub name: String,
    pub agent: String,
    pub prompt: String,
    pub missed_policy: String,
    pub missed_window_s: i64,
    pub overlap_policy: String,
}

/// What changes of a workflow; `None` stays as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WorkflowChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_window_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_policy: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Trigger {
    pub trigger_id: TriggerId,
    pub kind: String,
    pub spec: Value,
    pub next_due_at: Option<DateTime<Utc>>,
    /// Of a webhook: where it is called, at a gateway.
    pub path: Option<String>,
    /// Of a webhook. Only in the answer that makes it or rotates the secret.
    pub signing_secret: Option<SecretString>,
    /// Until when the secret of before signs calls, too. `None`: it is void.
    pub overlap_until: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    pub run_id: RunId,
    pub workflow_id: WorkflowId,
    pub due_at: DateTime<Utc>,
    /// `None`: started by hand.
    pub trigger_id: Option<TriggerId>,
    pub session_id: SessionId,
    /// `running`, `succeeded`, `failed`.
    pub state: String,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Slot {
    pub due_at: DateTime<Utc>,
    /// `fired`, `skipped`, `unknown`.
    pub state: String,
    pub reason: Option<String>,
}

/// What can be done to a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkflowAction {
    Pause,
    Resume,
    Archive,
}

impl WorkflowAction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Archive => "archive",
        }
    }
}

impl Client {
    pub async fn workflow_create(&self, workflow: &NewWorkflow) -> Result<Workflow, Error> {
        self.post("/api/workflows", workflow).await
    }

    pub async fn workflow_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Workflow>, Error> {
        self.get_page("/api/workflows", cursor, limit).await
    }

    pub async fn workflow_get(&self, workflow: WorkflowId) -> Result<Workflow, Error> {
        self.get(&format!("/api/workflows/{workflow}")).await
    }

    /// What a workflow does, with the state that a change can be made for.
    pub async fn workflow_details(&self, workflow: WorkflowId) -> Result<Tagged<WorkflowDetails>, Error> {
        tagged(self.request(Method::GET, &format!("/api/workflows/{workflow}/details"))).await
    }

    /// Changes what a workflow does. With `seen`, only if nobody has changed it since; else the problem
    /// `precondition_failed`.
    pub async fn workflow_change(
        &self,
        workflow: WorkflowId,
        change: &WorkflowChange,
        seen: Option<&ETag>,
    ) -> Result<Tagged<WorkflowDetails>, Error> {
        let request = self.request(Method::PATCH, &format!("/api/workflows/{workflow}/details")).json(change);
        tagged(made_for(request, seen)).await
    }

    /// Gives back the workflow as it is then.
    pub async fn workflow_act(&self, workflow: WorkflowId, action: WorkflowAction) -> Result<Workflow, Error> {
        self.post(&format!("/api/workflows/{workflow}/{}", action.as_str()), &json!({})).await
    }

    /// Runs it once, now.
    pub async fn workflow_start(&self, workflow: WorkflowId) -> Result<Run, Error> {
        self.post(&format!("/api/workflows/{workflow}/start"), &json!({})).await
    }

    pub async fn trigger_create(&self, workflow: WorkflowId, trigger: &NewTrigger) -> Result<Trigger, Error> {
        self.post(&format!("/api/workflows/{workflow}/triggers"), trigger).await
    }

    pub async fn trigger_remove(&self, workflow: WorkflowId, trigger: TriggerId) -> Result<(), Error> {
        self.delete(&format!("/api/workflows/{workflow}/triggers/{trigger}")).await
    }

    /// Gives a webhook trigger another signing secret; the one before is void.
    /// The secret of before signs calls for `overlap_s` more seconds.
    pub async fn trigger_rotate_secret(
        &self,
        workflow: WorkflowId,
        trigger: TriggerId,
        overlap_s: u32,
    ) -> Result<Trigger, Error> {
        let path = format!("/api/workflows/{workflow}/triggers/{trigger}/rotate-secret?overlap_s={overlap_s}");
        self.post(&path, &json!({})).await
    }

    pub async fn run_view(&self, run: RunId) -> Result<Run, Error> {
        self.get(&format!("/api/runs/{run}")).await
    }

    /// Runs of all of the org's workflows, newest first.
    pub async fn run_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Run>, Error> {
        self.get_page("/api/runs", cursor, limit).await
    }

    /// Runs of one workflow, newest first.
    pub async fn workflow_runs(
        &self,
        workflow: WorkflowId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Run>, Error> {
        self.get_page(&format!("/api/workflows/{workflow}/runs"), cursor, limit).await
    }

    /// Settled slots, newest first.
    pub async fn slot_list(&self, workflow: WorkflowId, cursor: Option<&str>, limit: u32) -> Result<Page<Slot>, Error> {
        self.get_page(&format!("/api/workflows/{workflow}/slots"), cursor, limit).await
    }
}
