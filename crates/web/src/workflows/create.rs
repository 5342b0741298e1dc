//! A new workflow, checked before anything is written.

use std::error::Error;

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::profile::ProfileName;
use domain::schedule::{
    MAX_MISSED_WINDOW_S, MAX_TRIGGERS, MissedPolicy, NewTrigger, OverlapPolicy, ScheduleError, TriggerSpec,
    WorkflowState,
};
use ids::OrgId;
use serde::Deserialize;
use store::NewWorkflow;

use super::{WorkflowView, triggers};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::Json;
use crate::problem::Problem;
use crate::profiles;
use crate::text::{Name, Text, Word};

/// The longest prompt, in characters.
const MAX_PROMPT: usize = 32_000;

pub(super) type Prompt = Text<1, MAX_PROMPT>;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWorkflow, example = json!({
    "name": "digest",
    "prompt": "say good morning",
    "triggers": [{"kind": "cron", "expression": "0 9 * * 1-5", "time_zone": "Europe/Berlin"}]
}))]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    #[schema(inline)]
    name: Name,
    /// Without it that of the profile, or `scripted`.
    #[schema(inline)]
    agent: Option<Word>,
    /// The workflow takes its agent, if none is named.
    #[schema(inline)]
    profile: Option<ProfileName>,
    #[schema(inline)]
    prompt: Prompt,
    #[serde(default = "skip_missed")]
    missed_policy: MissedPolicy,
    #[serde(default = "an_hour", deserialize_with = "crate::number::whole")]
    #[schema(minimum = 0, maximum = 2678400)]
    missed_window_s: i64,
    #[serde(default = "allow_overlaps")]
    overlap_policy: OverlapPolicy,
    #[serde(default)]
    state: Beginning,
    /// None: it is started by hand only.
    #[schema(max_items = 20, example = json!([{"kind": "cron", "expression": "0 9 * * 1-5", "time_zone": "Europe/Berlin"}]))]
    triggers: Vec<TriggerSpec>,
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

/// The states that a workflow can begin in.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[schema(as = NewWorkflowState)]
#[serde(rename_all = "snake_case")]
enum Beginning {
    #[default]
    Active,
    Paused,
}

impl From<Beginning> for WorkflowState {
    fn from(beginning: Beginning) -> Self {
        match beginning {
            Beginning::Active => Self::Active,
            Beginning::Paused => Self::Paused,
        }
    }
}

/// Makes a workflow.
#[utoipa::path(
    post,
    path = "/api/workflows",
    operation_id = "workflow_create",
    tag = "workflows",
    request_body = Create,
    responses((status = 201, description = "It is there. The signing secrets of its webhook triggers are shown only here.", body = WorkflowView), (status = 422, description = "No worker has this agent (`unknown_agent`), or the request can't be carried out as it is written otherwise; `detail` says what to change.")),
    security(("token" = ["workflows.write"])),
)]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<WorkflowView>), Problem> {
    let (agent, _) = profiles::resolve(&app, caller.org, new.agent.as_ref(), new.profile.as_ref()).await?;
    let secret_version = app.secrets.configured.channel.version.clone();
    let new = new.check(caller.org, agent, secret_version, app.store.sources().now())?;
    let workflow = app.store.workflow_create(&new, &caller.actor()).await?;
    let made = app.store.workflow_get(caller.org, workflow).await?.ok_or_else(|| Problem::not_found("workflow"))?;
    let shown = made.triggers.iter().cloned().map(|trigger| triggers::with_secret(&app, trigger)).collect();
    Ok((StatusCode::CREATED, Json(WorkflowView { triggers: shown, ..made.into() })))
}

impl Create {
    fn check(self, org: OrgId, agent: String, secret_version: String, now: Timestamp) -> Result<NewWorkflow, Problem> {
        check_window(self.missed_window_s)?;
        Ok(NewWorkflow {
            org,
            name: self.name.trimmed(),
            agent,
            prompt: self.prompt.trimmed(),
            state: self.state.into(),
            missed_policy: self.missed_policy,
            missed_window_s: self.missed_window_s,
            overlap_policy: self.overlap_policy,
            secret_version,
            triggers: check_triggers(self.triggers, now)?,
        })
    }
}

pub(super) fn check_window(missed_window_s: i64) -> Result<(), Problem> {
    if (0..=MAX_MISSED_WINDOW_S).contains(&missed_window_s) {
        return Ok(());
    }
    Err(Problem::invalid(format!("missed_window_s is 0 to {MAX_MISSED_WINDOW_S} seconds")))
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
    Problem::invalid(format!("triggers[{index}]: {}", refusal(error)))
}

/// What is wrong with a trigger, in a sentence.
pub(super) fn refusal(error: &ScheduleError) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
