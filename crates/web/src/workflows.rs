//! Workflows: repeatable work, what starts it, its slots and its runs.
//!
//! Not here: firing slots (`scheduler`), taking calls (`gateway`), carrying runs out (`worker`).

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::policy::RefusedByPolicy;
use domain::schedule::{MissedPolicy, OverlapPolicy, WorkflowState};
use ids::{OrgId, WorkflowId};
use serde::Serialize;
use store::{Workflow, WorkflowError};

use self::history::RunView;
use self::triggers::TriggerView;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

mod create;
mod details;
mod history;
mod triggers;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create::create))
        .routes(routes!(view))
        .routes(routes!(details::view, details::change))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(archive))
        .routes(routes!(start))
        .routes(routes!(triggers::add))
        .routes(routes!(triggers::remove))
        .routes(routes!(triggers::rotate_secret))
        .routes(routes!(history::slots))
        .routes(routes!(history::runs_of_workflow))
        .routes(routes!(history::runs))
        .routes(routes!(history::run))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Workflow)]
struct WorkflowView {
    workflow_id: WorkflowId,
    name: String,
    agent: String,
    prompt: String,
    state: WorkflowState,
    missed_policy: MissedPolicy,
    missed_window_s: i64,
    overlap_policy: OverlapPolicy,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    triggers: Vec<TriggerView>,
}

impl From<Workflow> for WorkflowView {
    fn from(workflow: Workflow) -> Self {
        Self {
            workflow_id: workflow.workflow_id,
            name: workflow.name,
            agent: workflow.agent,
            prompt: workflow.prompt,
            state: workflow.state,
            missed_policy: workflow.missed_policy,
            missed_window_s: workflow.missed_window_s,
            overlap_policy: workflow.overlap_policy,
            created_at: workflow.created_at,
            triggers: workflow.triggers.into_iter().map(TriggerView::from).collect(),
        }
    }
}

impl From<WorkflowError> for Problem {
    fn from(error: WorkflowError) -> Self {
        match error {
            WorkflowError::NoSuchWorkflow => Self::not_found("workflow"),
            WorkflowError::Archived => Self::conflict("the workflow is archived, which is for ever; create another"),
            WorkflowError::NoSuchTrigger => Self::not_found("trigger"),
            WorkflowError::TooManyTriggers => {
                Self::conflict("the workflow has as many triggers as it may; remove one first")
            }
            WorkflowError::NotCalled => Self::conflict("only a trigger of the kind `webhook` has a secret"),
            WorkflowError::Stale => Self::stale(),
            WorkflowError::OverQuota(used_up) => Self::over_quota(&used_up),
            WorkflowError::AgentRefused => RefusedByPolicy::Agent.into(),
            WorkflowError::Store(error) => error.into(),
        }
    }
}

/// The workflows of the org, oldest first.
#[utoipa::path(
    get,
    path = "/api/workflows",
    operation_id = "workflow_list",
    tag = "workflows",
    params(Paging<WorkflowId>),
    responses((status = 200, description = "A page of them.", body = Page<WorkflowView>)),
    security(("token" = ["workflows.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<WorkflowId>>,
) -> Result<Json<Page<WorkflowView>>, Problem> {
    let workflows = app.store.workflow_list(caller.org, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(workflows, paging.limit(), |workflow| workflow.workflow_id).map(WorkflowView::from)))
}

/// A workflow with its triggers.
#[utoipa::path(
    get,
    path = "/api/workflows/{workflow_id}",
    operation_id = "workflow_view",
    tag = "workflows",
    responses((status = 200, description = "As it is now.", body = WorkflowView)),
    security(("token" = ["workflows.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
) -> Result<Json<WorkflowView>, Problem> {
    found(&app, caller.org, workflow).await
}

async fn found(app: &App, org: OrgId, workflow: WorkflowId) -> Result<Json<WorkflowView>, Problem> {
    let workflow = app.store.workflow_get(org, workflow).await?.ok_or_else(|| Problem::not_found("workflow"))?;
    Ok(Json(workflow.into()))
}

/// Lets the slots of a workflow pass until it is resumed.
#[utoipa::path(
    post,
    path = "/api/workflows/{workflow_id}/pause",
    operation_id = "workflow_pause",
    tag = "workflows",
    responses((status = 200, description = "Its triggers start nothing.", body = WorkflowView), (status = 409, description = "It is archived.")),
    security(("token" = ["workflows.write"])),
)]
async fn pause(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
) -> Result<Json<WorkflowView>, Problem> {
    app.store.workflow_pause(caller.org, workflow, &caller.actor()).await?;
    found(&app, caller.org, workflow).await
}

/// Goes on with a paused workflow; its missed policy decides about the slots that passed.
#[utoipa::path(
    post,
    path = "/api/workflows/{workflow_id}/resume",
    operation_id = "workflow_resume",
    tag = "workflows",
    responses((status = 200, description = "Its triggers start it.", body = WorkflowView), (status = 409, description = "It is archived.")),
    security(("token" = ["workflows.write"])),
)]
async fn resume(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
) -> Result<Json<WorkflowView>, Problem> {
    app.store.workflow_resume(caller.org, workflow, &caller.actor()).await?;
    app.effects.flush().await;
    found(&app, caller.org, workflow).await
}

/// Ends a workflow for ever. Its history stays.
#[utoipa::path(
    post,
    path = "/api/workflows/{workflow_id}/archive",
    operation_id = "workflow_archive",
    tag = "workflows",
    responses((status = 200, description = "It is archived.", body = WorkflowView), (status = 409, description = "It is archived.")),
    security(("token" = ["workflows.write"])),
)]
async fn archive(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
) -> Result<Json<WorkflowView>, Problem> {
    app.store.workflow_archive(caller.org, workflow, &caller.actor()).await?;
    found(&app, caller.org, workflow).await
}

/// Starts a run by hand, now.
#[utoipa::path(
    post,
    path = "/api/workflows/{workflow_id}/start",
    operation_id = "workflow_start",
    tag = "workflows",
    responses((status = 201, description = "It runs.", body = RunView), (status = 409, description = "It is archived."), (status = 402, description = "The org's subscription has ended or is not paid (`subscription_ended`)."), (status = 429, description = "The org's quota of runs is used up (`over_quota`); `Retry-After` says when it begins anew.")),
    security(("token" = ["workflows.run"])),
)]
async fn start(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let run = app.store.slot_start(caller.org, workflow, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(run.into())))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    async fn create(world: &World, change: Value) -> crate::testing::Answer {
        let mut new = json!({
            "name": "digest",
            "prompt": "say good morning",
            "triggers": [{"kind": "cron", "expression": "0 9 * * 1-5", "time_zone": "Europe/Berlin"}],
        });
        for (field, value) in change.as_object().unwrap() {
            new[field] = value.clone();
        }
        world.post("/api/workflows", new).await
    }

    #[tokio::test]
    async fn a_workflow_is_created_with_its_defaults_and_its_next_slot() {
        let world = World::new().await;
        let created = create(&world, json!({})).await.expect(201);
        insta::assert_json_snapshot!(created, {".workflow_id" => "[id]", ".triggers[].trigger_id" => "[id]"}, @r#"
        {
          "agent": "scripted",
          "created_at": "2024-10-04T00:00:00Z",
          "missed_policy": "skip",
          "missed_window_s": 3600,
          "name": "digest",
          "overlap_policy": "allow",
          "prompt": "say good morning",
          "state": "active",
          "triggers": [
            {
              "kind": "cron",
              "next_due_at": "2024-10-04T07:00:00Z",
              "spec": {
                "expression": "0 9 * * 1-5",
                "time_zone": "Europe/Berlin"
              },
              "trigger_id": "[id]"
            }
          ],
          "workflow_id": "[id]"
        }
        "#);
        let id = created["workflow_id"].as_str().unwrap();
        assert_eq!(world.get(&format!("/api/workflows/{id}")).await.expect(200), created);
        assert_eq!(world.get("/api/workflows").await.expect(200)["items"], json!([created]));
    }

    #[tokio::test]
    async fn what_could_never_work_is_refused_with_a_sentence() {
        let world = World::new().await;
        let cron = |expression: &str, time_zone: &str| json!({"triggers": [{"kind": "cron", "expression": expression, "time_zone": time_zone}]});
        let once = json!({"kind": "once", "at": "2024-10-05T00:00:00Z"});
        let mut details = Vec::new();
        for change in [
            cron("every morning", "UTC"),
            cron("0 0 30 2 *", "UTC"),
            cron("0 9 * * *", "Mars/Olympus"),
            json!({"triggers": [{"kind": "interval", "every_s": 0}]}),
            json!({"triggers": [{"kind": "once", "at": "2024-10-03T00:00:00Z"}]}),
            json!({"triggers": vec![once; 21]}),
            json!({"name": "n".repeat(201)}),
            json!({"prompt": "p".repeat(32_001)}),
            json!({"missed_window_s": -1}),
            json!({"state": "archived"}),
        ] {
            let problem = create(&world, change).await.expect_problem(422, "invalid");
            details.push(problem["detail"].as_str().unwrap().to_owned());
        }
        insta::assert_snapshot!(details.join("\n"), @r#"
        triggers[0]: the cron expression "every morning" can't be read: Invalid pattern: Pattern must have 5 fields when seconds are disallowed.
        triggers[0]: the cron expression "0 0 30 2 *" names no time that ever comes
        triggers[0]: the time zone "Mars/Olympus" is unknown; use a name such as Europe/Berlin or UTC
        triggers[0]: an interval of 0 s is not between 1 and 31622400 s
        triggers[0]: the one time 2024-10-03 00:00:00 UTC has passed
        a workflow has at most 20 triggers
        Failed to deserialize the JSON body into the target type: name: it has 1 to 200 characters at line 1 column 211
        Failed to deserialize the JSON body into the target type: prompt: it has 1 to 32000 characters, and no NUL at line 1 column 32029
        missed_window_s is 0 to 2678400 seconds
        Failed to deserialize the JSON body into the target type: state: unknown variant `archived`, expected `active` or `paused` at line 1 column 63
        "#);
        create(&world, json!({"missed_policy": "twice"})).await.expect_problem(422, "invalid");
        create(&world, json!({"promt": "say"})).await.expect_problem(422, "invalid");
        assert_eq!(world.get("/api/workflows").await.expect(200)["items"], json!([]));
    }

    #[tokio::test]
    async fn a_workflow_started_by_hand_has_a_slot_and_a_run() {
        let world = World::new().await;
        let id = create(&world, json!({"triggers": []})).await.expect(201)["workflow_id"].clone();
        let path = format!("/api/workflows/{}", id.as_str().unwrap());
        let run = world.post(&format!("{path}/start"), json!({})).await.expect(201);
        assert_eq!((&run["workflow_id"], &run["state"]), (&id, &json!("running")));
        assert_eq!(world.get(&format!("{path}/runs")).await.expect(200)["items"], json!([run]));
        assert_eq!(world.get("/api/runs").await.expect(200)["items"], json!([run]));
        let alone = format!("/api/runs/{}", run["run_id"].as_str().unwrap());
        assert_eq!(world.get(&alone).await.expect(200), run);
        let (_, stranger) = world.other_org().await;
        world.get_as(&stranger, &alone).await.expect_problem(404, "not_found");
        let slots = world.get(&format!("{path}/slots")).await.expect(200);
        let slot = json!({"due_at": run["due_at"], "trigger_id": null, "state": "fired", "reason": null});
        assert_eq!(slots["items"], json!([slot]));
    }

    #[tokio::test]
    async fn pages_of_slots_and_runs_go_on_where_the_last_one_ended() {
        let world = World::new().await;
        let id = create(&world, json!({"triggers": []})).await.expect(201)["workflow_id"].clone();
        let path = format!("/api/workflows/{}", id.as_str().unwrap());
        for _ in 0..3 {
            world.post(&format!("{path}/start"), json!({})).await.expect(201);
        }
        for list in ["slots", "runs"] {
            let all = world.get(&format!("{path}/{list}")).await.expect(200);
            let first = world.get(&format!("{path}/{list}?limit=2")).await.expect(200);
            let cursor = first["next_cursor"].as_str().unwrap();
            let rest = world.get(&format!("{path}/{list}?limit=2&cursor={cursor}")).await.expect(200);
            assert_eq!(rest["next_cursor"], Value::Null);
            let both = [first["items"].as_array().unwrap().as_slice(), rest["items"].as_array().unwrap()].concat();
            assert_eq!(all["items"], json!(both));
        }
    }

    #[tokio::test]
    async fn a_workflow_is_paused_resumed_and_archived_for_ever() {
        let world = World::new().await;
        let id = create(&world, json!({})).await.expect(201)["workflow_id"].clone();
        let path = format!("/api/workflows/{}", id.as_str().unwrap());
        for (verb, state) in [("pause", "paused"), ("resume", "active"), ("archive", "archived")] {
            assert_eq!(world.post(&format!("{path}/{verb}"), json!({})).await.expect(200)["state"], state);
        }
        for verb in ["pause", "resume", "archive", "start"] {
            world.post(&format!("{path}/{verb}"), json!({})).await.expect_problem(409, "conflict");
        }
    }

    #[tokio::test]
    async fn a_workflow_of_another_org_is_not_there() {
        let world = World::new().await;
        let id = create(&world, json!({})).await.expect(201)["workflow_id"].clone();
        let path = format!("/api/workflows/{}", id.as_str().unwrap());
        let (_, stranger) = world.other_org().await;
        for list in ["", "/runs", "/slots"] {
            world.get_as(&stranger, &format!("{path}{list}")).await.expect_problem(404, "not_found");
        }
        for verb in ["pause", "resume", "archive", "start"] {
            world.post_as(&stranger, &format!("{path}/{verb}"), json!({})).await.expect_problem(404, "not_found");
        }
        assert_eq!(world.get_as(&stranger, "/api/workflows").await.expect(200)["items"], json!([]));
    }
}
