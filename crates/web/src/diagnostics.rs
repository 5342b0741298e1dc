//! What an operator looks at first: the installation's state in numbers and names.
//!
//! It holds no row's content, no secret, no address of a person and no path of this host: it is made to be handed on.
//!
//! Not here: the health of one process (`probes`), time series (`metrics`).

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::TimeDelta;
use clock::Timestamp;
use ids::BackupId;
use ledger::Reach;
use secrets::ReferenceStatus;
use serde::Serialize;
use store::{Backlog, KeyVersion, Store, StoreError};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::drills::{DrillRecords, LastDrill};
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
    /// `null`: the configuration of the web role names no folder of drills.
    drills: Option<DrillsView>,
    /// Channels whose destination names an address that this process' configuration does not let the gateway call.
    channels_refused: i64,
    maintenance: MaintenanceView,
    secrets: Vec<ReferenceStatus>,
    key_versions: Vec<KeyVersionView>,
}

/// Work that waits, and work in hand. An age is `null` where there is nothing that could have one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Backlog)]
struct BacklogView {
    commands_pending: i64,
    oldest_command_age_ms: Option<i64>,
    leases_held: i64,
    /// Leases that ran out, and whose sessions no worker has taken over.
    leases_lapsed: i64,
    /// Since the first of those ran out.
    oldest_lapsed_lease_age_ms: Option<i64>,
    deliveries_pending: i64,
    /// For how long a delivery might have been sent that no gateway holds. What waits for its next attempt, or behind another one of
    /// its thread, does not count.
    oldest_due_delivery_age_ms: Option<i64>,
    deliveries_dead: i64,
    /// They may have arrived, and wait for a person.
    deliveries_unknown: i64,
    oldest_unknown_delivery_age_ms: Option<i64>,
    /// Effects that the recovery ledger does not know yet.
    effects_untold: i64,
    oldest_untold_effect_age_ms: Option<i64>,
    /// Triggers of active workflows whose slot has come, and has not fired.
    triggers_due: i64,
    /// How far schedulers are behind: since the first of those slots has come.
    oldest_due_trigger_age_ms: Option<i64>,
}

/// The oldest backup that somebody could restore, and the newest, as far as archives that took one are known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Backups)]
struct BackupsView {
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest_at: Option<Timestamp>,
    /// The snapshot of the newest backup of this generation. `null`: none is known. So it is after a restore, until the next backup.
    #[schema(value_type = Option<String>, format = DateTime)]
    newest_at: Option<Timestamp>,
    newest_backup_id: Option<BackupId>,
    ledger_retention_days: i64,
    /// Whether the recovery ledger is kept long enough to remember all that happened since. `null`: no backup is known.
    ledger_reaches: Option<bool>,
}

/// What the folder of drills tells.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DiagnosticsDrills)]
struct DrillsView {
    /// `null`: there is none, or `problem` says why nobody knows.
    last: Option<LastDrill>,
    /// Why the folder can't be read.
    problem: Option<String>,
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
        drills: drills(&app.drills).await,
        channels_refused: app.store.channel_count_refused(&app.egress).await?,
        maintenance: app.store.maintenance().await?.into(),
        secrets: statuses(&app).await?,
        key_versions: app.store.diagnostics_key_versions().await?.into_iter().map(KeyVersionView::from).collect(),
    }))
}

async fn backups(app: &App) -> Result<BackupsView, StoreError> {
    let oldest = app.store.archive_oldest_backup().await?;
    let newest = app.store.archive_newest_backup().await?;
    let reach = Reach::of_retention(app.ledger_retention, app.store.sources().now());
    Ok(BackupsView {
        oldest_at: oldest.map(|oldest| oldest.taken_at),
        newest_at: newest.map(|newest| newest.taken_at),
        newest_backup_id: newest.map(|newest| newest.backup_id),
        ledger_retention_days: app.ledger_retention.num_days(),
        ledger_reaches: oldest.map(|oldest| reach.covers(oldest.taken_at)),
    })
}

/// A folder that can't be read is told, and takes nothing else away.
async fn drills(records: &DrillRecords) -> Option<DrillsView> {
    if !records.named() {
        return None;
    }
    Some(match records.last().await {
        Ok(last) => DrillsView { last, problem: None },
        Err(error) => {
            tracing::warn!(error = %error, "the folder of drills can't be read");
            // Its kind alone: what else stands there may name a path.
            DrillsView { last: None, problem: Some(error.kind().to_string()) }
        }
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
            leases_lapsed: backlog.leases_lapsed,
            oldest_lapsed_lease_age_ms: backlog.oldest_lapsed_lease_age_ms,
            deliveries_pending: backlog.deliveries_pending,
            oldest_due_delivery_age_ms: backlog.oldest_due_delivery_age_ms,
            deliveries_dead: backlog.deliveries_dead,
            deliveries_unknown: backlog.deliveries_unknown,
            oldest_unknown_delivery_age_ms: backlog.oldest_unknown_delivery_age_ms,
            effects_untold: backlog.effects_untold,
            oldest_untold_effect_age_ms: backlog.oldest_untold_effect_age_ms,
            triggers_due: backlog.triggers_due,
            oldest_due_trigger_age_ms: backlog.oldest_due_trigger_age_ms,
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
    use domain::tenancy::{Role, Scope};
    use serde_json::json;
    use store::{Effect, Environment, Instance, NotedBackup};

    use super::*;
    use crate::drills::tests::left;
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
            "leases_lapsed": 0,
            "oldest_command_age_ms": null,
            "oldest_due_delivery_age_ms": null,
            "oldest_due_trigger_age_ms": null,
            "oldest_lapsed_lease_age_ms": null,
            "oldest_unknown_delivery_age_ms": null,
            "oldest_untold_effect_age_ms": null,
            "triggers_due": 0
          },
          "backups": {
            "ledger_reaches": null,
            "ledger_retention_days": 30,
            "newest_at": null,
            "newest_backup_id": null,
            "oldest_at": null
          },
          "build": "test",
          "channels_refused": 0,
          "counts": "[counts]",
          "drills": {
            "last": null,
            "problem": null
          },
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
        let backup = NotedBackup { backup_id: store.sources().id(), generation: 1, taken_at };
        store.archive_note(store.sources().id(), backup, taken_at, taken_at).await.unwrap();
        let backups = async || world.get("/api/diagnostics").await.expect(200)["backups"].clone();
        let seen = backups().await;
        assert_eq!((&seen["oldest_at"], &seen["ledger_reaches"]), (&json!(taken_at), &true.into()));
        assert_eq!((&seen["newest_at"], &seen["newest_backup_id"]), (&json!(taken_at), &json!(backup.backup_id)));
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

    #[tokio::test]
    async fn an_operator_is_told_how_long_work_has_waited() {
        let world = World::new().await;
        let store = &world.app.store;
        let revoked = Effect::TokenRevoked { org: world.org, token: store.sources().id() };
        store.outbox_add(&[revoked]).await.unwrap();
        world.clock.advance(TimeDelta::seconds(90));
        let seen = world.get("/api/diagnostics").await.expect(200)["backlog"].clone();
        assert_eq!((&seen["effects_untold"], &seen["oldest_untold_effect_age_ms"]), (&json!(1), &json!(90_000)));
    }

    #[tokio::test]
    async fn a_restored_system_claims_no_newest_backup() {
        let world = World::new().await;
        let store = &world.app.store;
        let taken_at = store.sources().now();
        let backup = NotedBackup { backup_id: store.sources().id(), generation: 1, taken_at };
        store.archive_note(store.sources().id(), backup, taken_at, taken_at).await.unwrap();
        store.generation_start(backup.backup_id, Environment::Production).await.unwrap();
        let seen = world.get("/api/diagnostics").await.expect(200)["backups"].clone();
        assert_eq!((&seen["newest_at"], &seen["newest_backup_id"]), (&json!(null), &json!(null)));
        assert_eq!(seen["oldest_at"], json!(taken_at));
    }

    #[tokio::test]
    async fn an_operator_is_told_of_the_last_drill_where_a_folder_is_named() {
        let mut world = World::new().await;
        let folder = world.drill_folder();
        left(&folder.join("first"), 1);
        let last = left(&folder.join("second"), 2);
        let drills = world.get("/api/diagnostics").await.expect(200)["drills"].clone();
        let expected = json!({
            "drill_id": last, "started_at": "1970-01-01T00:02:00Z", "state": "concluded", "verdict": "passed",
            "finished_at": "1970-01-01T00:03:00Z",
        });
        assert_eq!(drills, json!({"last": expected, "problem": null}));

        let file = folder.join("no folder");
        std::fs::write(&file, "").unwrap();
        world.drills(DrillRecords::new(Some(file), None, None));
        let drills = world.get("/api/diagnostics").await.expect(200)["drills"].clone();
        assert_eq!(drills, json!({"last": null, "problem": "not a directory"}));

        world.drills(DrillRecords::new(None, None, None));
        assert_eq!(world.get("/api/diagnostics").await.expect(200)["drills"], json!(null));
    }

    #[tokio::test]
    async fn diagnostics_are_for_operators_alone() {
        let world = World::new().await;
        let viewer = world.member(world.org, Role::Viewer, &[Scope::Read]).await;
        let owner = world.member(world.org, Role::Owner, &[Scope::Read, Scope::Write]).await;
        for token in [viewer, owner] {
            world.get_as(&token, "/api/diagnostics").await.expect_problem(403, "forbidden");
        }
    }
}
