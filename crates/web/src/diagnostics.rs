//! What an operator looks at first: the installation's state in numbers and names.
//!
//! It holds no row's content, no secret, no address of a person and no path of this host: it is made to be handed on.
//!
//! Not here: the health of one process (`probes`), time series (`metrics`).

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::TimeDelta;
use clock::Timestamp;
use ledger::Reach;
use secrets::ReferenceStatus;
use serde::Serialize;
use store::{Backlog, KeyVersion, Store, StoreError};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::Json;
use crate::maintenance::MaintenanceView;
use crate::problem::Problem;

/// A process that has been silent for longer counts as gone. Heartbeats come every 5 seconds.
pub(crate) const ALIVE_WITHIN: TimeDelta = TimeDelta::seconds(15);

/// Every role, so that one without a process shows as 0.
const ROLES: [&str; 4] = ["web", "worker", "scheduler", "gateway"];

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(diagnostics))
}

#[derive(Debug, Serialize, ToSchema)]
struct Diagnostics {
    #[schema(value_type = String, format = DateTime)]
    generated_at: Timestamp,
    generation: i64,
    environment: &'static str,
    build: &'static str,
    /// Of the database, not of this build.
    schema_version: Option<i64>,
    /// Processes of each role that are alive and of this generation.
    roles: BTreeMap<String, i64>,
    /// Rows of each table.
    counts: BTreeMap<String, i64>,
    backlog: BacklogView,
    backups: BackupsView,
    /// Channels whose destination names an address that this process' configuration does not let the gateway call.
    channels_refused: i64,
    maintenance: MaintenanceView,
    secrets: Vec<ReferenceStatus>,
    key_versions: Vec<KeyVersionView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Backlog)]
struct BacklogView {
    commands_pending: i64,
    oldest_command_age_ms: Option<i64>,
    leases_held: i64,
    deliveries_pending: i64,
    deliveries_dead: i64,
    deliveries_unknown: i64,
    effects_untold: i64,
    triggers_due: i64,
}

/// The oldest backup that somebody could restore, as far as archives that took one are known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Backups)]
struct BackupsView {
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest_at: Option<Timestamp>,
    ledger_retention_days: i64,
    /// Whether the recovery ledger is kept long enough to remember all that happened since. `null`: no backup is known.
    ledger_reaches: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeyVersion)]
struct KeyVersionView {
    version: String,
    ciphertexts: i64,
}

/// The installation's state in numbers and names. It holds no row's content and no secret.
#[utoipa::path(
    get,
    path = "/api/diagnostics",
    operation_id = "diagnostics",
    tag = "installation",
    responses((status = 200, description = "The state of the installation.", body = Diagnostics)),
    security(("token" = ["installation.read"])),
)]
async fn diagnostics(State(app): State<App>) -> Result<Json<Diagnostics>, Problem> {
    Ok(Json(Diagnostics {
        generated_at: app.store.sources().now(),
        generation: app.generation.generation,
        environment: app.generation.environment.as_str(),
        build: app.build,
        schema_version: app.store.diagnostics_schema_version().await?,
        roles: roles(&app.store, app.generation.generation).await?,
        counts: app.store.diagnostics_counts().await?,
        backlog: app.store.diagnostics_backlog().await?.into(),
        backups: backups(&app).await?,
        channels_refused: app.store.channel_count_refused(&app.egress).await?,
        maintenance: app.store.maintenance().await?.into(),
        secrets: statuses(&app).await?,
        key_versions: app.store.diagnostics_key_versions().await?.into_iter().map(KeyVersionView::from).collect(),
    }))
}

async fn backups(app: &App) -> Result<BackupsView, StoreError> {
    let oldest = app.store.archive_oldest_backup().await?;
    let reach = Reach::of_retention(app.ledger_retention, app.store.sources().now());
    Ok(BackupsView {
        oldest_at: oldest.map(|oldest| oldest.taken_at),
        ledger_retention_days: app.ledger_retention.num_days(),
        ledger_reaches: oldest.map(|oldest| reach.covers(oldest.taken_at)),
    })
}

/// Live processes of every role, those without any included.
pub(crate) async fn roles(store: &Store, generation: i64) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut roles: BTreeMap<String, i64> = ROLES.into_iter().map(|role| (role.to_owned(), 0)).collect();
    for count in store.instance_counts(generation, store.sources().now() - ALIVE_WITHIN).await? {
        roles.insert(count.role, count.instances);
    }
    Ok(roles)
}

/// Reads files, so it leaves the async threads alone.
async fn statuses(app: &App) -> Result<Vec<ReferenceStatus>, Problem> {
    let secrets = app.secrets.clone();
    let statuses = tokio::task::spawn_blocking(move || secrets.configured.statuses(&secrets.reader));
    statuses.await.map_err(Problem::internal)
}

impl From<Backlog> for BacklogView {
    fn from(backlog: Backlog) -> Self {
        Self {
            commands_pending: backlog.commands_pending,
            oldest_command_age_ms: backlog.oldest_command_age_ms,
            leases_held: backlog.leases_held,
            deliveries_pending: backlog.deliveries_pending,
            deliveries_dead: backlog.deliveries_dead,
            deliveries_unknown: backlog.deliveries_unknown,
            effects_untold: backlog.effects_untold,
            triggers_due: backlog.triggers_due,
        }
    }
}

impl From<KeyVersion> for KeyVersionView {
    fn from(key: KeyVersion) -> Self {
        Self { version: key.version, ciphertexts: key.ciphertexts }
    }
}

#[cfg(test)]
mod tests {
    use store::Instance;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn an_operator_sees_the_installation_in_numbers_and_names() {
        let world = World::new().await;
        let seen = world.get("/api/diagnostics").await.expect(200);
        insta::assert_json_snapshot!(seen, {".schema_version" => "[version]", ".counts" => "[counts]"}, @r#"
        {
          "backlog": {
            "commands_pending": 0,
            "deliveries_dead": 0,
            "deliveries_pending": 0,
            "deliveries_unknown": 0,
            "effects_untold": 0,
            "leases_held": 0,
            "oldest_command_age_ms": null,
            "triggers_due": 0
          },
          "backups": {
            "ledger_reaches": null,
            "ledger_retention_days": 30,
            "oldest_at": null
          },
          "build": "test",
          "channels_refused": 0,
          "counts": "[counts]",
          "environment": "production",
          "generated_at": "2024-10-04T00:00:00Z",
          "generation": 1,
          "key_versions": [],
          "maintenance": {
            "on": false,
            "reason": null,
            "since": null
          },
          "roles": {
            "gateway": 0,
            "scheduler": 0,
            "web": 0,
            "worker": 0
          },
          "schema_version": "[version]",
          "secrets": [
            {
              "name": "adapter_key",
              "reference": "env:adapter_key",
              "resolved": true,
              "version": "1"
            },
            {
              "name": "oidc_client",
              "reference": "env:oidc_client",
              "resolved": true,
              "version": "1"
            },
            {
              "name": "cookie",
              "reference": "env:cookie",
              "resolved": true,
              "version": "1"
            },
            {
              "name": "gateway",
              "reference": "env:gateway",
              "resolved": true,
              "version": "1"
            },
            {
              "name": "channel",
              "reference": "env:channel",
              "resolved": true,
              "version": "1"
            }
          ]
        }
        "#);
        assert_eq!(seen["counts"]["api_tokens"], 1);
    }

    #[tokio::test]
    async fn an_operator_is_told_before_the_ledger_forgets_what_the_oldest_backup_needs() {
        let world = World::new().await;
        let store = &world.app.store;
        let taken_at = store.sources().now();
        store.archive_note(store.sources().id(), taken_at, taken_at).await.unwrap();
        let backups = async || world.get("/api/diagnostics").await.expect(200)["backups"].clone();
        let seen = backups().await;
        assert_eq!((&seen["oldest_at"], &seen["ledger_reaches"]), (&serde_json::json!(taken_at), &true.into()));
        world.clock.advance(world.app.ledger_retention);
        assert_eq!(backups().await["ledger_reaches"], false);
    }

    #[tokio::test]
    async fn a_process_counts_while_it_beats_in_this_generation() {
        let world = World::new().await;
        let beat = async |generation| {
            let (instance, started_at) = (world.app.store.sources().id(), world.app.store.sources().now());
            let roles = vec!["worker".to_owned(), "gateway".to_owned()];
            world
                .app
                .store
                .instance_beat(&Instance {
                    instance,
                    roles,
                    generation,
                    started_at,
                    key_versions: vec!["1".into()],
                    agents: None,
                })
                .await
                .unwrap();
        };
        beat(1).await;
        beat(1).await;
        beat(7).await;
        let roles = world.get("/api/diagnostics").await.expect(200)["roles"].clone();
        assert_eq!(roles, serde_json::json!({"gateway": 2, "scheduler": 0, "web": 0, "worker": 2}));
        world.clock.advance(ALIVE_WITHIN);
        assert_eq!(world.get("/api/diagnostics").await.expect(200)["roles"]["worker"], 0);
    }
}
