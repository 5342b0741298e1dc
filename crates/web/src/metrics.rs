//! Metrics for an operator: those of this process, and the gauges that only the database knows.
//!
//! Not here: `/metrics`, which every role has on its own listener without a token (`probes`).

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use store::{Backlog, NewestBackup};
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
        backup: app.store.archive_newest_backup().await?,
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
    backup: Option<NewestBackup>,
    roles: BTreeMap<String, i64>,
    /// 1: nothing is changed.
    maintenance: i64,
}

impl Gauges {
    fn render(&self) -> String {
        let mut text = String::new();
        for (name, help, value) in self.counts().into_iter().chain(self.times()) {
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

    /// Name, help and value.
    fn counts(&self) -> [(&'static str, &'static str, i64); 11] {
        let backlog = &self.backlog;
        [
            ("cowork_generation", "The number of this life of the system.", self.generation),
            ("cowork_maintenance", "1 while the system is in maintenance.", self.maintenance),
            ("cowork_sessions", "Sessions of all orgs.", self.sessions),
            ("cowork_commands_pending", "Commands that wait for their turn.", backlog.commands_pending),
            ("cowork_leases_held", "Sessions that a worker holds.", backlog.leases_held),
            ("cowork_leases_lapsed", "Leases that ran out and were not taken over.", backlog.leases_lapsed),
            ("cowork_deliveries_pending", "Deliveries that were not accepted yet.", backlog.deliveries_pending),
            ("cowork_deliveries_dead", "Deliveries that were set aside.", backlog.deliveries_dead),
            (
                "cowork_deliveries_unknown",
                "Deliveries that may have arrived and wait for a person.",
                backlog.deliveries_unknown,
            ),
            ("cowork_ledger_outbox", "Effects that the recovery ledger does not know yet.", backlog.effects_untold),
            ("cowork_triggers_due", "Triggers whose slot has come and has not fired.", backlog.triggers_due),
        ]
    }

    /// As [`Self::counts`]. An age is that of the oldest, and 0 where there is none; an instant that nobody knows is 0 as well.
    fn times(&self) -> [(&'static str, &'static str, i64); 6] {
        let backlog = &self.backlog;
        let seconds = |age_ms: Option<i64>| age_ms.unwrap_or(0) / 1_000;
        [
            (
                "cowork_leases_lapsed_age_seconds",
                "Since a lease ran out that was not taken over.",
                seconds(backlog.oldest_lapsed_lease_age_ms),
            ),
            (
                "cowork_deliveries_due_age_seconds",
                "Since a delivery might have been sent that nobody holds.",
                seconds(backlog.oldest_due_delivery_age_ms),
            ),
            (
                "cowork_deliveries_unknown_age_seconds",
                "For how long a delivery has waited for a person.",
                seconds(backlog.oldest_unknown_delivery_age_ms),
            ),
            (
                "cowork_ledger_outbox_age_seconds",
                "For how long the recovery ledger has been owed an effect.",
                seconds(backlog.oldest_untold_effect_age_ms),
            ),
            (
                "cowork_triggers_due_age_seconds",
                "Since a slot has come that has not fired.",
                seconds(backlog.oldest_due_trigger_age_ms),
            ),
            (
                "cowork_backup_taken_timestamp_seconds",
                "When the newest backup of this generation was taken.",
                self.backup.map_or(0, |backup| backup.taken_at.timestamp()),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use store::{Effect, NotedBackup};

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
        # HELP cowork_leases_lapsed Leases that ran out and were not taken over.
        # TYPE cowork_leases_lapsed gauge
        cowork_leases_lapsed 0
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
        # HELP cowork_triggers_due Triggers whose slot has come and has not fired.
        # TYPE cowork_triggers_due gauge
        cowork_triggers_due 0
        # HELP cowork_leases_lapsed_age_seconds Since a lease ran out that was not taken over.
        # TYPE cowork_leases_lapsed_age_seconds gauge
        cowork_leases_lapsed_age_seconds 0
        # HELP cowork_deliveries_due_age_seconds Since a delivery might have been sent that nobody holds.
        # TYPE cowork_deliveries_due_age_seconds gauge
        cowork_deliveries_due_age_seconds 0
        # HELP cowork_deliveries_unknown_age_seconds For how long a delivery has waited for a person.
        # TYPE cowork_deliveries_unknown_age_seconds gauge
        cowork_deliveries_unknown_age_seconds 0
        # HELP cowork_ledger_outbox_age_seconds For how long the recovery ledger has been owed an effect.
        # TYPE cowork_ledger_outbox_age_seconds gauge
        cowork_ledger_outbox_age_seconds 0
        # HELP cowork_triggers_due_age_seconds Since a slot has come that has not fired.
        # TYPE cowork_triggers_due_age_seconds gauge
        cowork_triggers_due_age_seconds 0
        # HELP cowork_backup_taken_timestamp_seconds When the newest backup of this generation was taken.
        # TYPE cowork_backup_taken_timestamp_seconds gauge
        cowork_backup_taken_timestamp_seconds 0
        # HELP cowork_role_instances Live processes of this generation.
        # TYPE cowork_role_instances gauge
        cowork_role_instances{role="gateway"} 0
        cowork_role_instances{role="scheduler"} 0
        cowork_role_instances{role="web"} 0
        cowork_role_instances{role="worker"} 0
        "#);
    }

    #[tokio::test]
    async fn ages_are_told_in_seconds_and_the_newest_backup_by_its_instant() {
        let world = World::new().await;
        let store = &world.app.store;
        let taken_at = store.sources().now();
        let backup = NotedBackup { backup_id: store.sources().id(), generation: 1, taken_at };
        store.archive_note(store.sources().id(), backup, taken_at, taken_at).await.unwrap();
        let revoked = Effect::TokenRevoked { org: world.org, token: store.sources().id() };
        store.outbox_add(&[revoked]).await.unwrap();
        world.clock.advance(TimeDelta::milliseconds(90_500));
        let text = String::from_utf8(world.get("/api/metrics").await.body.to_vec()).unwrap();
        let taken = format!("cowork_backup_taken_timestamp_seconds {}", taken_at.timestamp());
        for line in ["cowork_ledger_outbox_age_seconds 90", &taken] {
            assert!(text.lines().any(|told| told == line), "{text}");
        }
    }
}
