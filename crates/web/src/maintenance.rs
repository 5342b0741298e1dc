//! Maintenance: what changes something is refused until an operator ends it, and reads go on.
//!
//! One layer for every route, so that none forgets it. Not held to it: ending maintenance, and signing in and out, without which
//! nobody could read either.
//!
//! Not here: who else holds still (`store::maintenance`).

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use clock::Timestamp;
use serde::{Deserialize, Serialize};
use store::Maintenance;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::Json;
use crate::problem::Problem;
use crate::text::Name;

pub(crate) const PATH: &str = "/api/maintenance";
const SIGNING_OUT: &str = "/api/browser-sessions/current";

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(view, begin, end))
}

/// Refuses a request that would change something.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if request.method().is_safe() || [PATH, SIGNING_OUT].contains(&path) {
        return Ok(next.run(request).await);
    }
    match app.store.maintenance_remembered().await? {
        None => Ok(next.run(request).await),
        Some(maintenance) => Err(Problem::maintenance(&maintenance.reason)),
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Maintenance)]
pub(crate) struct MaintenanceView {
    /// Whether the system is read only.
    on: bool,
    /// `null`: it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    reason: Option<String>,
}

impl From<Option<Maintenance>> for MaintenanceView {
    fn from(maintenance: Option<Maintenance>) -> Self {
        let (since, reason) = maintenance.map(|it| (it.since, it.reason)).unzip();
        Self { on: since.is_some(), since, reason }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"reason": "the database is moved"}))]
#[serde(deny_unknown_fields)]
struct BeginMaintenance {
    // Shown to everybody who is refused.
    #[schema(inline)]
    reason: Name,
}

/// Whether the system is in maintenance.
#[utoipa::path(
    get,
    path = "/api/maintenance",
    operation_id = "maintenance_view",
    tag = "installation",
    responses((status = 200, description = "As it is now.", body = MaintenanceView)),
    security(("token" = ["installation.read"])),
)]
async fn view(State(app): State<App>) -> Result<Json<MaintenanceView>, Problem> {
    Ok(Json(app.store.maintenance().await?.into()))
}

/// Begins maintenance, or gives it another reason. Requests that change something are refused with 503 (`maintenance`) from then on, and
/// workers, schedulers and gateways begin nothing.
#[utoipa::path(
    put,
    path = "/api/maintenance",
    operation_id = "maintenance_begin",
    tag = "installation",
    request_body = BeginMaintenance,
    responses((status = 200, description = "As it is now.", body = MaintenanceView)),
    security(("token" = ["installation.write"])),
)]
async fn begin(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<BeginMaintenance>,
) -> Result<Json<MaintenanceView>, Problem> {
    let reason = new.reason.trimmed();
    let begun = app.store.maintenance_begin(&reason, &caller.actor()).await?;
    Ok(Json(Some(begun).into()))
}

/// Ends maintenance. Ending it twice changes nothing.
#[utoipa::path(
    delete,
    path = "/api/maintenance",
    operation_id = "maintenance_end",
    tag = "installation",
    responses((status = 204, description = "The system works.")),
    security(("token" = ["installation.write"])),
)]
async fn end(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    app.store.maintenance_end(&caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use domain::tenancy::{Role, Scope};
    use serde_json::{Value, json};

    use crate::openapi;
    use crate::testing::World;

    #[tokio::test]
    async fn in_maintenance_every_change_is_refused_and_reads_go_on() {
        let world = World::new().await;
        let session = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
        world.put("/api/maintenance", json!({"reason": "moving"})).await.expect(200);
        let path = format!("/api/sessions/{}", session["session_id"].as_str().unwrap());
        let prompt = json!({"kind": "prompt", "payload": {"text": "say hi"}});
        let refused = world.post(&format!("{path}/commands"), prompt.clone()).await;
        assert_eq!(refused.headers["retry-after"], "60");
        let problem = refused.expect_problem(503, "maintenance");
        assert!(problem["detail"].as_str().unwrap().contains("moving"), "{problem}");
        world.get(&path).await.expect(200);
        let diagnostics = world.get("/api/diagnostics").await.expect(200);
        assert_eq!(diagnostics["maintenance"], world.get("/api/maintenance").await.expect(200));

        world.delete("/api/maintenance").await.expect(204);
        world.delete("/api/maintenance").await.expect(204);
        world.post(&format!("{path}/commands"), prompt).await.expect(202);
    }

    #[tokio::test]
    async fn no_route_that_changes_something_forgets_maintenance() {
        let world = World::new().await;
        world.put("/api/maintenance", json!({"reason": "moving"})).await.expect(200);
        let document = serde_json::to_value(openapi::document()).unwrap();
        let mut refused = 0;
        // What the billing provider tells is told it again later: its own test says so.
        let paths = document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/api/"));
        for (path, item) in paths {
            let unsafe_ones = ["post", "put", "patch", "delete"].into_iter().filter(|method| item[*method].is_object());
            for method in unsafe_ones.filter(|_| ![super::PATH, super::SIGNING_OUT].contains(&path.as_str())) {
                let path = path.replace(['{', '}'], "");
                let request = crate::testing::request(&method.to_uppercase(), &path, &world.operator);
                let answer = world.send(request.body(axum::body::Body::empty()).unwrap()).await;
                let body: Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!((answer.status.as_u16(), &body["code"]), (503, &json!("maintenance")), "{method} {path}");
                refused += 1;
            }
        }
        assert!(refused > 30, "{refused}");
    }

    #[tokio::test]
    async fn only_an_operator_begins_and_ends_maintenance() {
        let world = World::new().await;
        let owner = world.member(world.org, Role::Owner, &[Scope::Read, Scope::Write]).await;
        let reason = json!({"reason": "moving"});
        world.put_as(&owner, "/api/maintenance", reason).await.expect_problem(403, "forbidden");
        world.delete_as(&owner, "/api/maintenance").await.expect_problem(403, "forbidden");
        world.put("/api/maintenance", json!({"reason": ""})).await.expect_problem(422, "invalid");
    }
}
