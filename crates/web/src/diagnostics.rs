//! What an operator looks at first: the installation's state in numbers and names.
//!
//! It holds no row's content, no secret, no address of a person and no path of this host: it is made to be handed on.
//!
//! Not here: the health of one process (`probes`), time series (`metrics`).

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chrono::TimeDelta;
use clock::Timestamp;
use secrets::ReferenceStatus;
use serde::Serialize;
use store::{Backlog, KeyVersion, Store, StoreError};

use crate::app::App;
use crate::auth::Operator;
use crate::extract::Json;
use crate::problem::Problem;

/// A process that has been silent for longer counts as gone. Heartbeats come every 5 seconds.
const ALIVE_WITHIN: TimeDelta = TimeDelta::seconds(15);

/// Every role, so that one without a process shows as 0.
const ROLES: [&str; 4] = ["web", "worker", "scheduler", "gateway"];

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/api/diagnostics", get(diagnostics))
}

#[derive(Debug, Serialize)]
struct Diagnostics {
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
    secrets: Vec<ReferenceStatus>,
    key_versions: Vec<KeyVersionView>,
}

#[derive(Debug, Serialize)]
struct BacklogView {
    commands_pending: i64,
    oldest_command_age_ms: Option<i64>,
    leases_held: i64,
    deliveries_pending: i64,
    deliveries_dead: i64,
    triggers_due: i64,
}

#[derive(Debug, Serialize)]
struct KeyVersionView {
    version: String,
    ciphertexts: i64,
}

async fn diagnostics(State(app): State<App>, _: Operator) -> Result<Json<Diagnostics>, Problem> {
    Ok(Json(Diagnostics {
        generated_at: app.store.sources().now(),
        generation: app.generation.generation,
        environment: app.generation.environment.as_str(),
        build: app.build,
        schema_version: app.store.diagnostics_schema_version().await?,
        roles: roles(&app.store, app.generation.generation).await?,
        counts: app.store.diagnostics_counts().await?,
        backlog: app.store.diagnostics_backlog().await?.into(),
        secrets: statuses(&app).await?,
        key_versions: app.store.diagnostics_key_versions().await?.into_iter().map(KeyVersionView::from).collect(),
    }))
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
            triggers_due: backlog.triggers_due,
        }
    }
}

impl From<KeyVersion> for KeyVersionView {
    fn from(key: KeyVersion) -> Self {
        Self { version: key.version, ciphertexts: key.ciphertexts }
    }
}
