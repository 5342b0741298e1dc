//! What a supervisor asks every role: does it live, may it be sent work, how is it doing. No token is needed.
//!
//! `/livez` says only that the process answers: restarting it because the database is away would help nobody.
//! `/readyz` and `/healthz` say whether it can do its work now.
//!
//! Not here: `/api/metrics`, which adds what only the database knows.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use store::Store;
use tokio_util::sync::CancellationToken;

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
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probes)
}

#[derive(Debug, Serialize)]
struct Health {
    /// `ok`, or why not.
    status: &'static str,
    generation: i64,
}

async fn ready(State(probes): State<Probes>) -> impl IntoResponse {
    let (code, status) = match probes.state().await {
        Ok(()) => (StatusCode::OK, "ok"),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    };
    (code, Json(Health { status, generation: probes.generation }))
}

async fn metrics(State(probes): State<Probes>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], probes.metrics.render())
}

impl Probes {
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
