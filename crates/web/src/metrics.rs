//! Metrics for an operator: those of this process, and the gauges that only the database knows.
//!
//! Not here: `/metrics`, which every role has on its own listener without a token (`probes`).

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use store::Backlog;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::diagnostics::roles;
use crate::problem::Problem;

/// Where the metrics of this process come from, as Prometheus text. Cheap to clone.
#[derive(Clone)]
pub struct Exposition(Arc<dyn Fn() -> String + Send + Sync>);

impl Exposition {
    pub fn new(render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(render))
    }

    pub(crate) fn render(&self) -> String {
        (self.0)()
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Exposition")
    }
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Metrics of this process, and the gauges that only the database knows.
#[utoipa::path(
    get,
    path = "/api/metrics",
    operation_id = "metrics",
    tag = "installation",
    responses((status = 200, description = "Prometheus text.", body = String, content_type = "text/plain; version=0.0.4")),
    security(("token" = ["installation.read"])),
)]
async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let gauges = Gauges {
        generation: app.generation.generation,
        sessions: app.store.diagnostics_sessions().await?,
        backlog: app.store.diagnostics_backlog().await?,
        roles: roles(&app.store, app.generation.generation).await?,
        maintenance: app.store.maintenance().await?.is_some().into(),
    };
    let text = format!("{}{}", app.metrics.render(), gauges.render());
    Ok(([("content-type", "text/plain; version=0.0.4")], text))
}

/// What is read from the database at each scrape.
#[derive(Debug)]
struct Gauges {
    generation: i64,
    sessions: i64,
    backlog: Backlog,
    roles: BTreeMap<String, i64>,
    /// 1: nothing is changed.
    maintenance: i64,
}

impl Gauges {
    fn render(&self) -> String {
        let mut text = String::new();
        let backlog = &self.backlog;
        for (name, help, value) in [
            ("cowork_generation", "The number of this life of the system.", self.generation),
            ("cowork_maintenance", "1 while the system is in maintenance.", self.maintenance),
            ("cowork_sessions", "Sessions of all orgs.", self.sessions),
            ("cowork_commands_pending", "Commands that wait for their turn.", backlog.commands_pending),
            ("cowork_leases_held", "Sessions that a worker holds.", backlog.leases_held),
            ("cowork_deliveries_pending", "Deliveries that were not accepted yet.", backlog.deliveries_pending),
            ("cowork_deliveries_dead", "Deliveries that were set aside.", backlog.deliveries_dead),
            (
                "cowork_deliveries_unknown",
                "Deliveries that may have arrived and wait for a person.",
                backlog.deliveries_unknown,
            ),
            ("cowork_ledger_outbox", "Effects that the recovery ledger does not know yet.", backlog.effects_untold),
        ] {
            let written = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
            written.expect("a string can be written to");
        }
        text.push_str("# HELP cowork_role_instances Live processes of this generation.\n");
        text.push_str("# TYPE cowork_role_instances gauge\n");
        for (role, instances) in &self.roles {
            let written = writeln!(text, "cowork_role_instances{{role=\"{role}\"}} {instances}");
            written.expect("a string can be written to");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[tokio::test]
    async fn gauges_come_from_the_database() {
        let world = World::new().await;
        let answer = world.get("/api/metrics").await;
        assert_eq!(answer.status, 200);
        insta::assert_snapshot!(String::from_utf8(answer.body.to_vec()).unwrap(), @r#"
        # HELP cowork_generation The number of this life of the system.
        # TYPE cowork_generation gauge
        cowork_generation 1
        # HELP cowork_maintenance 1 while the system is in maintenance.
        # TYPE cowork_maintenance gauge
        cowork_maintenance 0
        # HELP cowork_sessions Sessions of all orgs.
        # TYPE cowork_sessions gauge
        cowork_sessions 0
        # HELP cowork_commands_pending Commands that wait for their turn.
        # TYPE cowork_commands_pending gauge
        cowork_commands_pending 0
        # HELP cowork_leases_held Sessions that a worker holds.
        # TYPE cowork_leases_held gauge
        cowork_leases_held 0
        # HELP cowork_deliveries_pending Deliveries that were not accepted yet.
        # TYPE cowork_deliveries_pending gauge
        cowork_deliveries_pending 0
        # HELP cowork_deliveries_dead Deliveries that were set aside.
        # TYPE cowork_deliveries_dead gauge
        cowork_deliveries_dead 0
        # HELP cowork_deliveries_unknown Deliveries that may have arrived and wait for a person.
        # TYPE cowork_deliveries_unknown gauge
        cowork_deliveries_unknown 0
        # HELP cowork_ledger_outbox Effects that the recovery ledger does not know yet.
        # TYPE cowork_ledger_outbox gauge
        cowork_ledger_outbox 0
        # HELP cowork_role_instances Live processes of this generation.
        # TYPE cowork_role_instances gauge
        cowork_role_instances{role="gateway"} 0
        cowork_role_instances{role="scheduler"} 0
        cowork_role_instances{role="web"} 0
        cowork_role_instances{role="worker"} 0
        "#);
    }
}
