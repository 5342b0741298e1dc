//! What a supervisor asks every role: does it live, may it be sent work, how is it doing. No token is needed.
//!
//! `/livez` says only that the process answers: restarting it because the database is away would help nobody.
//! `/readyz` and `/healthz` say whether it can do its work now.
//!
//! Not here: `/api/metrics`, which adds what only the database knows.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Json, Router};
use serde::Serialize;
use store::Store;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::metrics::Exposition;

/// What the probes look at.
#[derive(Debug, Clone)]
pub struct Probes {
    pub store: Store,
    pub generation: i64,
    pub metrics: Exposition,
    /// Cancelled when the process drains; it is not ready from then on.
    pub shutdown: CancellationToken,
}

/// `/livez`, `/readyz`, `/healthz` and `/metrics`.
pub fn probes(probes: Probes) -> Router {
    Router::from(routes()).with_state(probes)
}

/// As they are described, of every role alike.
pub(crate) fn routes() -> OpenApiRouter<Probes> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(healthy)).routes(routes!(metrics))
}

#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`, or why not.
    status: &'static str,
    generation: i64,
}

/// Whether the process answers, and nothing else. Every role has it, on its own listener.
///
/// Authentication: none; it says nothing of the system, and the listener is for whoever supervises it. Limit: none of its own.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "livez",
    tag = "probes",
    responses((status = 200, description = "It answers.", body = String, content_type = "text/plain")),
)]
async fn live() -> &'static str {
    "ok\n"
}

/// Whether the process may be sent work. Every role has it, on its own listener.
///
/// Authentication: none; the listener is for whoever supervises it. Limit: none of its own; it asks the database once.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "probes",
    responses((status = 200, description = "It may.", body = Health), (status = 503, description = "It drains, the database does not answer, or a restore began another generation.", body = Health)),
)]
async fn ready(State(probes): State<Probes>) -> impl IntoResponse {
    probes.health().await
}

/// How the process is doing: the same as `/readyz`, by the name that some supervisors ask for.
///
/// Authentication: none; the listener is for whoever supervises it. Limit: none of its own; it asks the database once.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "probes",
    responses((status = 200, description = "Well.", body = Health), (status = 503, description = "It drains, the database does not answer, or a restore began another generation.", body = Health)),
)]
async fn healthy(State(probes): State<Probes>) -> impl IntoResponse {
    probes.health().await
}

/// Metrics of this process. Every role has it, on its own listener.
///
/// Authentication: none; no label names a person or an org, and the listener is for whoever supervises it. Limit: none of its own.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "process_metrics",
    tag = "probes",
    responses((status = 200, description = "Prometheus text.", body = String, content_type = "text/plain; version=0.0.4")),
)]
async fn metrics(State(probes): State<Probes>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], probes.metrics.render())
}

impl Probes {
    async fn health(&self) -> (StatusCode, Json<Health>) {
        let (code, status) = match self.state().await {
            Ok(()) => (StatusCode::OK, "ok"),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        };
        (code, Json(Health { status, generation: self.generation }))
    }

    /// Whether the process can do its work; if not, why.
    ///
    /// # Errors
    /// If it drains, the database does not answer, or a restore began another generation than the one it serves.
    pub async fn state(&self) -> Result<(), &'static str> {
        if self.shutdown.is_cancelled() {
            return Err("draining");
        }
        match self.store.generation_current().await {
            Ok(Some(current)) if current.generation == self.generation => Ok(()),
            Ok(_) => Err("the database is of another generation; restart this process"),
            Err(_) => Err("the database does not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ids::BackupId;
    use store::Environment;

    use super::*;
    use crate::testing::World;

    fn probes_of(world: &World) -> Probes {
        Probes {
            store: world.app.store.clone(),
            generation: world.app.generation.generation,
            metrics: world.app.metrics.clone(),
            shutdown: world.app.shutdown.clone(),
        }
    }

    #[tokio::test]
    async fn a_process_that_drains_is_sent_no_more_work() {
        let world = World::new().await;
        assert_eq!(probes_of(&world).state().await, Ok(()));
        world.app.shutdown.cancel();
        assert_eq!(probes_of(&world).state().await, Err("draining"));
    }

    #[tokio::test]
    async fn a_process_of_an_older_generation_is_not_ready() {
        let world = World::new().await;
        let backup: BackupId = world.app.store.sources().id();
        world.app.store.generation_start(backup, Environment::Production).await.unwrap();
        assert!(probes_of(&world).state().await.unwrap_err().contains("another generation"));
    }
}
