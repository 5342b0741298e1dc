//! What a workflow does: name, agent, prompt, and what becomes of slots that are missed or overlap. A resource of its own,
//! since it has a version of its own: its ETag stays when slots pass, and when it is paused.
//!
//! Not here: pausing and archiving (`super`), triggers (`super::triggers`).

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::schedule::{MissedPolicy, OverlapPolicy};
use domain::version::RowVersion;
use ids::WorkflowId;
use serde::{Deserialize, Serialize};
use store::{Workflow, WorkflowChange};
use utoipa::ToSchema;

use super::create::{Prompt, check_window};
use crate::agents;
use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Path};
use crate::problem::Problem;
use crate::text::{Name, Word};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowDetails)]
pub(super) struct DetailsView {
    workflow_id: WorkflowId,
    name: String,
    agent: String,
    prompt: String,
    missed_policy: MissedPolicy,
    missed_window_s: i64,
    overlap_policy: OverlapPolicy,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeWorkflow, example = json!({"prompt": "say good evening"}))]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[schema(inline)]
    name: Option<Name>,
    #[schema(inline)]
    agent: Option<Word>,
    #[schema(inline)]
    prompt: Option<Prompt>,
    missed_policy: Option<MissedPolicy>,
    #[serde(default, deserialize_with = "crate::number::whole_or_none")]
    #[schema(minimum = 0, maximum = 2678400)]
    missed_window_s: Option<i64>,
    overlap_policy: Option<OverlapPolicy>,
}

fn shown(workflow: Workflow) -> (RowVersion, DetailsView) {
    let Workflow { workflow_id, name, agent, prompt, missed_policy, missed_window_s, overlap_policy, .. } = workflow;
    let view = DetailsView { workflow_id, name, agent, prompt, missed_policy, missed_window_s, overlap_policy };
    (workflow.version, view)
}

/// What a workflow does.
#[utoipa::path(
    get,
    path = "/api/workflows/{workflow_id}/details",
    operation_id = "workflow_details",
    tag = "workflows",
    responses((status = 200, description = "As it is now.", body = DetailsView, headers(("ETag" = String, description = "Strong; of what is shown here, whatever slots pass."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["workflows.read"])),
)]
pub(super) async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let found = app.store.workflow_get(caller.org, workflow).await?;
    let (version, view) = shown(found.ok_or_else(|| Problem::not_found("workflow"))?);
    etag::tagged_unless_known(&app, version, &request, view)
}

/// Changes what a workflow does from its next run on. What is not named stays as it is.
#[utoipa::path(
    patch,
    path = "/api/workflows/{workflow_id}/details",
    operation_id = "workflow_change",
    tag = "workflows",
    request_body = Change,
    responses((status = 200, description = "As it is now.", body = DetailsView, headers(("ETag" = String, description = "Of the new state."))), (status = 409, description = "It is archived."), (status = 412, description = "It is not in the state that `If-Match` names."), (status = 422, description = "No worker has this agent (`unknown_agent`), or the request can't be carried out as it is written otherwise; `detail` says what to change.")),
    security(("token" = ["workflows.write"])),
)]
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
    request: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    change.missed_window_s.map(check_window).transpose()?;
    if let Some(agent) = &change.agent {
        agents::must_be_usable(&app, caller.org, &agent.trimmed()).await?;
    }
    let change = WorkflowChange {
        name: change.name.map(|name| name.trimmed()),
        agent: change.agent.map(|agent| agent.trimmed()),
        prompt: change.prompt.map(|prompt| prompt.trimmed()),
        missed_policy: change.missed_policy,
        missed_window_s: change.missed_window_s,
        overlap_policy: change.overlap_policy,
    };
    let changed = app.store.workflow_change(caller.org, workflow, &change, &expected, &caller.actor()).await?;
    let (version, view) = shown(changed);
    Ok(etag::tagged(&app, version, view))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    async fn workflow(world: &World) -> String {
        let new = json!({"name": "digest", "prompt": "say good morning", "triggers": []});
        let created = world.post("/api/workflows", new).await.expect(201);
        format!("/api/workflows/{}", created["workflow_id"].as_str().unwrap())
    }

    #[tokio::test]
    async fn a_workflow_runs_with_what_it_was_changed_to() {
        let world = World::new().await;
        let path = workflow(&world).await;
        let details = format!("{path}/details");
        let change =
            json!({"name": "evening", "prompt": "say good evening", "overlap_policy": "skip", "missed_window_s": 60});
        let changed = world.patch(&details, change.clone()).await.expect(200);
        let seen = world.get(&path).await.expect(200);
        for (field, value) in change.as_object().unwrap() {
            assert_eq!((&changed[field], &seen[field]), (value, value), "{field}");
        }
        assert_eq!((&changed["agent"], &changed["missed_policy"]), (&json!("scripted"), &json!("skip")));

        let run = world.post(&format!("{path}/start"), json!({})).await.expect(201);
        let session = world.get(&format!("/api/sessions/{}", run["session_id"].as_str().unwrap())).await.expect(200);
        assert_eq!(session["title"], "evening");

        let audit = world.get("/api/audit?limit=200").await.expect(200);
        let entry = audit["items"].as_array().unwrap().iter().find(|one| one["action"] == "workflow.change").unwrap();
        assert_eq!(entry["detail"]["changed"], json!(["name", "prompt", "missed_window_s", "overlap_policy"]));
        assert!(!audit.to_string().contains("good evening"), "{audit}");
    }

    #[tokio::test]
    async fn of_two_who_edit_a_workflow_the_second_is_told() {
        let world = World::new().await;
        let path = workflow(&world).await;
        let details = format!("{path}/details");
        let tag = world.get(&details).await.headers["etag"].to_str().unwrap().to_owned();
        // Neither is an edit.
        world.post(&format!("{path}/pause"), json!({})).await.expect(200);
        world.post(&format!("{path}/start"), json!({})).await.expect(201);
        world.patch_if(&details, &tag, json!({"name": "first"})).await.expect(200);
        let second = world.patch_if(&details, &tag, json!({"name": "second"})).await;
        second.expect_problem(412, "precondition_failed");
        assert_eq!(world.get(&path).await.expect(200)["name"], "first");
    }

    #[tokio::test]
    async fn what_is_out_of_bounds_or_archived_stays_as_it_is() {
        let world = World::new().await;
        let path = workflow(&world).await;
        let details = format!("{path}/details");
        for body in [
            json!({"name": " "}),
            json!({"prompt": "p".repeat(32_001)}),
            json!({"missed_window_s": -1}),
            json!({"missed_policy": "twice"}),
            json!({"state": "paused"}),
        ] {
            world.patch(&details, body).await.expect_problem(422, "invalid");
        }
        world.post(&format!("{path}/archive"), json!({})).await.expect(200);
        world.patch(&details, json!({"name": "late"})).await.expect_problem(409, "conflict");
        assert_eq!(world.get(&details).await.expect(200)["name"], "digest");
    }
}
