//! What became of workflows: their slots and their runs, newest first.

use axum::extract::State;
use chrono::SecondsFormat;
use clock::Timestamp;
use ids::{OrgId, RunId, SessionId, TriggerId, WorkflowId};
use serde::{Deserialize, Serialize};
use store::{Run, Slot};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub(super) struct RunView {
    run_id: RunId,
    workflow_id: WorkflowId,
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// What started it. `null`: somebody did, by hand.
    trigger_id: Option<TriggerId>,
    session_id: SessionId,
    state: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Slot)]
pub(super) struct SlotView {
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// `null`: started by hand.
    trigger_id: Option<TriggerId>,
    state: String,
    reason: Option<String>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        let Run { run_id, workflow_id, due_at, trigger_id, session_id, state, created_at, finished_at } = run;
        Self { run_id, workflow_id, due_at, trigger_id, session_id, state, created_at, finished_at }
    }
}

impl From<Slot> for SlotView {
    fn from(slot: Slot) -> Self {
        let Slot { due_at, trigger_id, state, reason, claimed_at: _ } = slot;
        Self { due_at, trigger_id, state, reason }
    }
}

/// What slots are found by.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = DateTime)]
pub(super) struct DueAt(Timestamp);

/// The slots of a workflow, newest first.
#[utoipa::path(
    get,
    path = "/api/workflows/{workflow_id}/slots",
    operation_id = "slot_list",
    tag = "workflows",
    params(Paging<DueAt>),
    responses((status = 200, description = "A page of them.", body = Page<SlotView>)),
    security(("token" = ["workflows.read"])),
)]
pub(super) async fn slots(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
    Query(paging): Query<Paging<DueAt>>,
) -> Result<Json<Page<SlotView>>, Problem> {
    exists(&app, caller.org, workflow).await?;
    let before = paging.cursor.map(|DueAt(at)| at);
    let slots = app.store.slot_list(caller.org, workflow, before, paging.limit()).await?;
    // Ends in `Z`: a `+` in a query means a space.
    let key = |slot: &Slot| slot.due_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    Ok(Json(Page::of(slots, paging.limit(), key).map(SlotView::from)))
}

/// The runs of a workflow, newest first.
#[utoipa::path(
    get,
    path = "/api/workflows/{workflow_id}/runs",
    operation_id = "workflow_run_list",
    tag = "workflows",
    params(Paging<RunId>),
    responses((status = 200, description = "A page of them.", body = Page<RunView>)),
    security(("token" = ["workflows.read"])),
)]
pub(super) async fn runs_of_workflow(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
    Query(paging): Query<Paging<RunId>>,
) -> Result<Json<Page<RunView>>, Problem> {
    exists(&app, caller.org, workflow).await?;
    page(&app, caller.org, Some(workflow), &paging).await
}

/// The runs of all workflows of the org, newest first.
#[utoipa::path(
    get,
    path = "/api/runs",
    operation_id = "run_list",
    tag = "workflows",
    params(Paging<RunId>),
    responses((status = 200, description = "A page of them.", body = Page<RunView>)),
    security(("token" = ["workflows.read"])),
)]
pub(super) async fn runs(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<RunId>>,
) -> Result<Json<Page<RunView>>, Problem> {
    page(&app, caller.org, None, &paging).await
}

/// A run of any workflow of the org.
#[utoipa::path(
    get,
    path = "/api/runs/{run_id}",
    operation_id = "run_view",
    tag = "workflows",
    responses((status = 200, description = "As it is now.", body = RunView)),
    security(("token" = ["workflows.read"])),
)]
pub(super) async fn run(
    State(app): State<App>,
    caller: Caller,
    Path(run): Path<RunId>,
) -> Result<Json<RunView>, Problem> {
    let found = app.store.run_get(caller.org, run).await?;
    found.map(|run| Json(run.into())).ok_or_else(|| Problem::not_found("run"))
}

async fn page(
    app: &App,
    org: OrgId,
    workflow: Option<WorkflowId>,
    paging: &Paging<RunId>,
) -> Result<Json<Page<RunView>>, Problem> {
    let runs = app.store.run_list(org, workflow, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(runs, paging.limit(), |run| run.run_id).map(RunView::from)))
}

/// An empty list would say that nothing happened yet to something that isn't there.
async fn exists(app: &App, org: OrgId, workflow: WorkflowId) -> Result<(), Problem> {
    let found = app.store.workflow_get(org, workflow).await?;
    found.map(|_| ()).ok_or_else(|| Problem::not_found("workflow"))
}
