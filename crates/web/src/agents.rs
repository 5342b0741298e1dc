//! Agents: what sessions can be begun with.
//!
//! The truth is what the workers say that are alive now: each names its agents when it starts. So nothing has to be configured, and
//! what nobody can run is refused when a session is made instead of failing its first turn.
//!
//! Not promised: that an agent that is refused is gone for ever, or that one that is taken can be run later. While no worker
//! is alive, or one of an older release does not say, any name is taken.
//!
//! Not here: running them (`worker`), presets of them (`profiles`), which of them an org allows (`policy`).

use axum::extract::State;
use ids::OrgId;
use serde::Serialize;
use store::{Offer, OfferedAgent, StoreError};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::diagnostics::ALIVE_WITHIN;
use crate::extract::Json;
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agent)]
struct AgentView {
    name: String,
    /// Workers that are alive and can run it.
    workers: i64,
}

impl From<OfferedAgent> for AgentView {
    fn from(agent: OfferedAgent) -> Self {
        let OfferedAgent { name, workers } = agent;
        Self { name, workers }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Agents {
    items: Vec<AgentView>,
    /// Whether an agent that is not listed is refused: a worker is alive, and every one says which agents it has.
    complete: bool,
}

/// The agents that workers offer at this moment, by name.
#[utoipa::path(
    get,
    path = "/api/agents",
    operation_id = "agent_list",
    tag = "sessions",
    responses((status = 200, description = "All of them.", body = Agents)),
    security(("token" = ["sessions.read"])),
)]
async fn list(State(app): State<App>, _: Caller) -> Result<Json<Agents>, Problem> {
    let offer = offer(&app).await?;
    let complete = complete(&offer);
    Ok(Json(Agents { items: offer.agents.into_iter().map(AgentView::from).collect(), complete }))
}

async fn offer(app: &App) -> Result<Offer, StoreError> {
    let since = app.store.sources().now() - ALIVE_WITHIN;
    app.store.instance_agents(app.generation.generation, since).await
}

fn complete(offer: &Offer) -> bool {
    offer.silent == 0 && !offer.agents.is_empty()
}

/// Refuses an agent that the org's policy does not allow, or that no worker can run, as far as that is known.
pub(crate) async fn must_be_usable(app: &App, org: OrgId, agent: &str) -> Result<(), Problem> {
    app.store.policy_get(org).await?.policy.judge_agent(agent)?;
    let offer = offer(app).await?;
    if !complete(&offer) || offer.agents.iter().any(|offered| offered.name == agent) {
        return Ok(());
    }
    let names: Vec<&str> = offer.agents.iter().map(|offered| offered.name.as_str()).collect();
    Err(Problem::unknown_agent(&names))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::{Value, json};
    use store::Instance;

    use super::*;
    use crate::testing::World;

    async fn beat(world: &World, role: &str, generation: i64, agents: Option<&[&str]>) {
        let store = &world.app.store;
        let agents = agents.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let (instance, started_at) = (store.sources().id(), store.sources().now());
        let instance =
            Instance { instance, roles: vec![role.into()], generation, started_at, key_versions: Vec::new(), agents };
        store.instance_beat(&instance).await.unwrap();
    }

    async fn agents(world: &World) -> Value {
        world.get("/api/agents").await.expect(200)
    }

    async fn begin(world: &World, agent: &str) -> crate::testing::Answer {
        world.post("/api/sessions", json!({"title": "Plan", "agent": agent})).await
    }

    #[tokio::test]
    async fn what_no_worker_can_run_is_refused_when_workers_say_what_they_can() {
        let world = World::new().await;
        assert_eq!(agents(&world).await, json!({"items": [], "complete": false}));
        begin(&world, "dancer").await.expect(201);

        beat(&world, "worker", 1, Some(&["scripted"])).await;
        beat(&world, "worker", 1, Some(&["painter", "scripted"])).await;
        beat(&world, "worker", 7, Some(&["of another generation"])).await;
        beat(&world, "web", 1, None).await;
        let items = json!([{"name": "painter", "workers": 1}, {"name": "scripted", "workers": 2}]);
        assert_eq!(agents(&world).await, json!({"items": items, "complete": true}));
        begin(&world, "painter").await.expect(201);
        let problem = begin(&world, "dancer").await.expect_problem(422, "unknown_agent");
        assert!(problem["detail"].as_str().unwrap().contains("painter, scripted"), "{problem}");

        let workflow = |agent: &str| json!({"name": "n", "agent": agent, "prompt": "say hi", "triggers": []});
        world.post("/api/workflows", workflow("dancer")).await.expect_problem(422, "unknown_agent");
        let made = world.post("/api/workflows", workflow("painter")).await.expect(201);
        let details = format!("/api/workflows/{}/details", made["workflow_id"].as_str().unwrap());
        world.patch(&details, json!({"agent": "dancer"})).await.expect_problem(422, "unknown_agent");
        world.patch(&details, json!({"agent": "scripted"})).await.expect(200);
        let message = json!([{"role": "user", "text": "hi"}]);
        let import = json!({"title": "t", "agent": "dancer", "source": "s", "messages": message});
        world.post("/api/sessions/import", import).await.expect_problem(422, "unknown_agent");
    }

    #[tokio::test]
    async fn any_agent_is_taken_while_it_is_not_known_what_there_is() {
        let world = World::new().await;
        beat(&world, "worker", 1, Some(&["scripted"])).await;
        begin(&world, "dancer").await.expect_problem(422, "unknown_agent");
        beat(&world, "worker", 1, None).await;
        assert_eq!(agents(&world).await["complete"], false);
        begin(&world, "dancer").await.expect(201);
        world.clock.advance(ALIVE_WITHIN + TimeDelta::seconds(1));
        assert_eq!(agents(&world).await, json!({"items": [], "complete": false}));
        begin(&world, "dancer").await.expect(201);
    }
}
