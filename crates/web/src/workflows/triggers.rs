//! Triggers of workflows: one more, one less, another secret for one that is called.
//!
//! The signing secret of a trigger is in the answer that makes the trigger or rotates the secret, and nowhere else. It is derived, not
//! stored; whoever lost it rotates it. A rotation and a removal are answered when the recovery ledger knows of them, so that no restore
//! brings a secret back into force.
//!
//! Not here: the calls (`gateway`).

use axum::extract::State;
use axum::http::StatusCode;
use chrono::TimeDelta;
use clock::Timestamp;
use domain::schedule::{NewTrigger, TriggerSpec};
use ids::{TriggerId, WorkflowId};
use secrets::derive_trigger_secret;
use serde::{Deserialize, Serialize};
use store::Trigger;
use utoipa::{IntoParams, ToSchema};

use super::create::refusal;
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::problem::Problem;

/// Long enough for callers that are changed over by people.
const OVERLAP_MAX_S: i64 = 604_800;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Trigger)]
pub(super) struct TriggerView {
    trigger_id: TriggerId,
    kind: &'static str,
    /// As it was written, without the kind; an interval has its anchor.
    spec: serde_json::Value,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_due_at: Option<Timestamp>,
    /// Of a webhook: where it is called, at a gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Of a webhook: what signs calls. Only in the answer that makes the trigger or rotates the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
    /// Of a webhook whose secret was rotated with an overlap: until then the secret of before signs calls, too.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap_until: Option<Timestamp>,
}

impl From<Trigger> for TriggerView {
    fn from(trigger: Trigger) -> Self {
        let Trigger { trigger_id, workflow_id: _, spec, next_due_at, secret, overlap_until } = trigger;
        let path = secret.map(|_| format!("/hooks/triggers/{trigger_id}"));
        Self {
            trigger_id,
            kind: spec.kind(),
            spec: spec.fields(),
            next_due_at,
            path,
            signing_secret: None,
            overlap_until,
        }
    }
}

/// With the secret, for whoever just had it made.
pub(super) fn with_secret(app: &App, trigger: Trigger) -> TriggerView {
    let number = trigger.secret.as_ref().map(|secret| secret.number);
    let signing_secret = number.map(|number| derive_trigger_secret(&app.secrets.channel, trigger.trigger_id, number));
    TriggerView { signing_secret, ..trigger.into() }
}

/// Gives a workflow one more trigger.
#[utoipa::path(
    post,
    path = "/api/workflows/{workflow_id}/triggers",
    operation_id = "trigger_create",
    tag = "workflows",
    request_body = TriggerSpec,
    responses((status = 201, description = "It is there. The signing secret of a webhook is shown only here.", body = TriggerView), (status = 409, description = "The workflow is archived, or has as many triggers as it may.")),
    security(("token" = ["workflows.write"])),
)]
pub(super) async fn add(
    State(app): State<App>,
    caller: Caller,
    Path(workflow): Path<WorkflowId>,
    Json(spec): Json<TriggerSpec>,
) -> Result<(StatusCode, Json<TriggerView>), Problem> {
    let new = NewTrigger::new(spec, app.store.sources().now()).map_err(|error| Problem::invalid(refusal(&error)))?;
    let version = &app.secrets.configured.channel.version;
    let trigger = app.store.trigger_add(caller.org, workflow, &new, version, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(with_secret(&app, trigger))))
}

/// Takes a trigger away. Its slots and runs stay; a webhook's address is gone for ever.
#[utoipa::path(
    delete,
    path = "/api/workflows/{workflow_id}/triggers/{trigger_id}",
    operation_id = "trigger_remove",
    tag = "workflows",
    responses((status = 204, description = "It starts nothing any more."), (status = 409, description = "The workflow is archived.")),
    security(("token" = ["workflows.write"])),
)]
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path((workflow, trigger)): Path<(WorkflowId, TriggerId)>,
) -> Result<StatusCode, Problem> {
    let removed = app.store.trigger_remove(caller.org, workflow, trigger, &caller.actor()).await;
    app.remember().await?;
    removed?;
    Ok(StatusCode::NO_CONTENT)
}

/// For how long a secret stays in force that was rotated.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Overlap {
    /// Seconds in which the secret of before signs calls, too. After a leak, leave it out: then that one is void at once.
    #[param(minimum = 0, maximum = 604_800, default = 0)]
    #[serde(default)]
    overlap_s: i64,
}

impl Overlap {
    fn time(&self) -> Result<TimeDelta, Problem> {
        let within = (0..=OVERLAP_MAX_S).contains(&self.overlap_s);
        let time = within.then(|| TimeDelta::seconds(self.overlap_s));
        time.ok_or_else(|| Problem::invalid("overlap_s is from 0 to 604800"))
    }
}

/// Gives a webhook trigger another signing secret. The one before is void at once, or after an overlap; another rotation ends that.
#[utoipa::path(
    post,
    path = "/api/workflows/{workflow_id}/triggers/{trigger_id}/rotate-secret",
    operation_id = "trigger_rotate_secret",
    tag = "workflows",
    params(Overlap),
    responses((status = 200, description = "The new secret, which is shown only here.", body = TriggerView), (status = 409, description = "The trigger is no webhook, or its workflow is archived."), (status = 503, description = "The secret of before is void, and the recovery ledger does not know of it yet: rotate again.")),
    security(("token" = ["workflows.write"])),
)]
pub(super) async fn rotate_secret(
    State(app): State<App>,
    caller: Caller,
    Path((workflow, trigger)): Path<(WorkflowId, TriggerId)>,
    Query(overlap): Query<Overlap>,
) -> Result<Json<TriggerView>, Problem> {
    let (version, overlap) = (&app.secrets.configured.channel.version, overlap.time()?);
    let actor = caller.actor();
    let rotated = app.store.trigger_rotate_secret(caller.org, workflow, trigger, version, overlap, &actor).await?;
    app.remember().await?;
    Ok(Json(with_secret(&app, rotated)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use testkit::Mood;

    use crate::testing::World;

    /// The path of a workflow without triggers.
    async fn workflow(world: &World) -> String {
        let new = json!({"name": "triage", "prompt": "say thanks", "triggers": []});
        let created = world.post("/api/workflows", new).await.expect(201);
        format!("/api/workflows/{}", created["workflow_id"].as_str().unwrap())
    }

    #[tokio::test]
    async fn a_webhooks_secret_is_shown_when_it_is_made_and_when_it_is_rotated() {
        let world = World::new().await;
        let webhook = json!({"kind": "webhook"});
        let new = json!({"name": "triage", "prompt": "say thanks", "triggers": [webhook]});
        let created = world.post("/api/workflows", new).await.expect(201);
        let trigger = &created["triggers"][0];
        let id = trigger["trigger_id"].as_str().unwrap();
        assert_eq!(trigger["path"], format!("/hooks/triggers/{id}"));
        let first = trigger["signing_secret"].as_str().unwrap();
        assert!(first.starts_with("whsec_"));

        let path = format!("/api/workflows/{}", created["workflow_id"].as_str().unwrap());
        let added = world.post(&format!("{path}/triggers"), webhook).await.expect(201);
        assert_ne!(added["signing_secret"], first);
        let rotated = world.post(&format!("{path}/triggers/{id}/rotate-secret"), json!({})).await.expect(200);
        assert_eq!(rotated["trigger_id"], id);
        assert_ne!(rotated["signing_secret"], first);
        assert_eq!(rotated.get("overlap_until"), None);
        let overlapping = format!("{path}/triggers/{id}/rotate-secret?overlap_s=");
        let rotated = world.post(&format!("{overlapping}3600"), json!({})).await.expect(200);
        assert_eq!(rotated["overlap_until"], "2024-10-04T01:00:00Z");
        for odd in ["-1", "604801", "soon"] {
            world.post(&format!("{overlapping}{odd}"), json!({})).await.expect_problem(422, "invalid");
        }
        let viewed = world.get(&path).await.expect(200);
        assert_eq!(viewed["triggers"][0]["overlap_until"], "2024-10-04T01:00:00Z");
        assert_eq!(viewed["triggers"].as_array().unwrap().len(), 2);
        assert!(viewed["triggers"].as_array().unwrap().iter().all(|trigger| trigger.get("signing_secret").is_none()));
    }

    #[tokio::test]
    async fn a_trigger_is_added_and_removed() {
        let world = World::new().await;
        let path = workflow(&world).await;
        let daily = json!({"kind": "cron", "expression": "0 9 * * *", "time_zone": "UTC"});
        let added = world.post(&format!("{path}/triggers"), daily).await.expect(201);
        insta::assert_json_snapshot!(added, {".trigger_id" => "[id]"}, @r#"
        {
          "kind": "cron",
          "next_due_at": "2024-10-04T09:00:00Z",
          "spec": {
            "expression": "0 9 * * *",
            "time_zone": "UTC"
          },
          "trigger_id": "[id]"
        }
        "#);
        assert_eq!(world.get(&path).await.expect(200)["triggers"], json!([added]));
        let trigger = format!("{path}/triggers/{}", added["trigger_id"].as_str().unwrap());
        world.post(&format!("{trigger}/rotate-secret"), json!({})).await.expect_problem(409, "conflict");
        world.delete(&trigger).await.expect(204);
        world.delete(&trigger).await.expect_problem(404, "not_found");
        assert_eq!(world.get(&path).await.expect(200)["triggers"], json!([]));
    }

    #[tokio::test]
    async fn a_trigger_that_could_never_work_is_refused() {
        let world = World::new().await;
        let path = format!("{}/triggers", workflow(&world).await);
        let problem = world.post(&path, json!({"kind": "interval", "every_s": 0})).await.expect_problem(422, "invalid");
        assert_eq!(problem["detail"], "an interval of 0 s is not between 1 and 31622400 s");
        world.post(&path, json!({"kind": "webhook", "secret": "mine"})).await.expect_problem(422, "invalid");
        for _ in 0..20 {
            world.post(&path, json!({"kind": "webhook"})).await.expect(201);
        }
        world.post(&path, json!({"kind": "webhook"})).await.expect_problem(409, "conflict");
    }

    #[tokio::test]
    async fn a_rotation_that_the_ledger_does_not_know_is_not_answered_with_its_secret() {
        let mut world = World::new().await;
        let path = format!("{}/triggers", workflow(&world).await);
        let added = world.post(&path, json!({"kind": "webhook"})).await.expect(201);
        let trigger = format!("{path}/{}", added["trigger_id"].as_str().unwrap());
        let ledger = world.moody_ledger();
        ledger.set(Mood { fail: 100, ..Mood::default() });
        let rotate = format!("{trigger}/rotate-secret");
        world.post(&rotate, json!({})).await.expect_problem(503, "not_remembered");
        world.delete(&trigger).await.expect_problem(503, "not_remembered");
        ledger.set(Mood::default());
        world.delete(&trigger).await.expect_problem(404, "not_found");
        let audit: Value = world.get("/api/audit?action=trigger.rotate_secret").await.expect(200);
        assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    }
}
