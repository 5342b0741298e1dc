//! A new workflow, checked before anything is written.

use std::error::Error;

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::schedule::{
    MAX_MISSED_WINDOW_S, MAX_TRIGGERS, MissedPolicy, NewTrigger, OverlapPolicy, ScheduleError, TriggerSpec,
    WorkflowState,
};
use ids::OrgId;
use serde::Deserialize;
use store::NewWorkflow;

use super::{WorkflowView, found};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::Json;
use crate::problem::Problem;
use crate::validate;

/// The longest prompt, in characters.
const MAX_PROMPT: usize = 32_000;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWorkflow)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    #[schema(min_length = 1, max_length = 200, example = "digest")]
    name: String,
    #[serde(default = "scripted")]
    #[schema(min_length = 1, max_length = 100, example = "scripted")]
    agent: String,
    #[schema(min_length = 1, max_length = 32000, example = "say good morning")]
    prompt: String,
    #[serde(default = "skip_missed")]
    missed_policy: MissedPolicy,
    #[serde(default = "an_hour")]
    #[schema(minimum = 0, maximum = 2678400)]
    missed_window_s: i64,
    #[serde(default = "allow_overlaps")]
    overlap_policy: OverlapPolicy,
    #[serde(default = "active")]
    state: WorkflowState,
    /// None: it is started by hand only.
    #[schema(max_items = 20, example = json!([{"kind": "cron", "expression": "0 9 * * 1-5", "time_zone": "Europe/Berlin"}]))]
    triggers: Vec<TriggerSpec>,
}

fn scripted() -> String {
    "scripted".to_owned()
}

fn skip_missed() -> MissedPolicy {
    MissedPolicy::Skip
}

fn an_hour() -> i64 {
    3_600
}

fn allow_overlaps() -> OverlapPolicy {
    OverlapPolicy::Allow
}

fn active() -> WorkflowState {
    WorkflowState::Active
}

/// Makes a workflow.
#[utoipa::path(
    post,
    path = "/api/workflows",
    operation_id = "workflow_create",
    tag = "workflows",
    request_body = Create,
    responses((status = 201, description = "It is there.", body = WorkflowView)),
    security(("token" = ["workflows.write"])),
)]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<WorkflowView>), Problem> {
    let new = new.check(caller.org, app.store.sources().now())?;
    let workflow = app.store.workflow_create(&new, &caller.actor()).await?;
    Ok((StatusCode::CREATED, found(&app, caller.org, workflow).await?))
}

impl Create {
    fn check(self, org: OrgId, now: Timestamp) -> Result<NewWorkflow, Problem> {
        if self.state == WorkflowState::Archived {
            return Err(Problem::invalid("state is active or paused"));
        }
        if !(0..=MAX_MISSED_WINDOW_S).contains(&self.missed_window_s) {
            return Err(Problem::invalid(format!("missed_window_s is 0 to {MAX_MISSED_WINDOW_S} seconds")));
        }
        Ok(NewWorkflow {
            org,
            name: validate::text("name", &self.name, 1..=200)?,
            agent: validate::text("agent", &self.agent, 1..=100)?,
            prompt: validate::text("prompt", &self.prompt, 1..=MAX_PROMPT)?,
            state: self.state,
            missed_policy: self.missed_policy,
            missed_window_s: self.missed_window_s,
            overlap_policy: self.overlap_policy,
            triggers: check_triggers(self.triggers, now)?,
        })
    }
}

fn check_triggers(specs: Vec<TriggerSpec>, now: Timestamp) -> Result<Vec<NewTrigger>, Problem> {
    if specs.len() > MAX_TRIGGERS {
        return Err(Problem::invalid(format!("a workflow has at most {MAX_TRIGGERS} triggers")));
    }
    let numbered = specs.into_iter().enumerate();
    numbered.map(|(index, spec)| NewTrigger::new(spec, now).map_err(|error| refused(index, &error))).collect()
}

/// Names the trigger as the request does: its place in the list, from 0.
fn refused(index: usize, error: &ScheduleError) -> Problem {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem::invalid(format!("triggers[{index}]: {error}{cause}"))
}
