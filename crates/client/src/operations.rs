//! What an operator reads: health, workspace, diagnostics, metrics, usage, the API's own description.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use ids::{BackupId, DrillId, OrgId, SystemId};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Client, Error, accepted};

#[derive(Debug, Clone, Deserialize)]
pub struct Workspace {
    pub system_id: SystemId,
    pub generation: i64,
    pub environment: String,
    pub schema_version: i64,
    pub build: String,
    pub org: WorkspaceOrg,
    pub scopes: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct WorkspaceOrg {
    pub org_id: OrgId,
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Diagnostics {
    pub generation: i64,
    pub environment: String,
    /// Live instances of each role.
    pub roles: BTreeMap<String, i64>,
    /// Rows of each table.
    pub counts: BTreeMap<String, i64>,
    pub backlog: Backlog,
    /// `None`: the server is of an older build.
    #[serde(default)]
    pub backups: Option<Backups>,
    /// `None`: the server names no folder of drills, or is of an older build.
    #[serde(default)]
    pub drills: Option<LastDrills>,
    pub secrets: Vec<SecretStatus>,
    pub maintenance: Maintenance,
}

/// Whether the system is read and not written.
#[derive(Debug, Clone, Deserialize)]
pub struct Maintenance {
    pub on: bool,
    /// `None`: it is not.
    pub since: Option<DateTime<Utc>>,
    pub reason: Option<String>,
}

/// Work that waits, and work in hand. An age is `None` where nothing has one, or where the server is of an older build.
#[derive(Debug, Clone, Deserialize)]
pub struct Backlog {
    pub commands_pending: i64,
    #[serde(default)]
    pub oldest_command_age_ms: Option<i64>,
    pub leases_held: i64,
    /// Leases that ran out, and whose sessions no worker has taken over. 0 where the server is of an older build.
    #[serde(default)]
    pub leases_lapsed: i64,
    #[serde(default)]
    pub oldest_lapsed_lease_age_ms: Option<i64>,
    pub deliveries_pending: i64,
    /// For how long a delivery might have been sent that no gateway holds.
    #[serde(default)]
    pub oldest_due_delivery_age_ms: Option<i64>,
    pub deliveries_dead: i64,
    pub deliveries_unknown: i64,
    #[serde(default)]
    pub oldest_unknown_delivery_age_ms: Option<i64>,
    /// Effects that the recovery ledger does not know yet.
    pub effects_untold: i64,
    #[serde(default)]
    pub oldest_untold_effect_age_ms: Option<i64>,
    /// How far schedulers are behind.
    #[serde(default)]
    pub oldest_due_trigger_age_ms: Option<i64>,
}

/// The oldest backup that somebody could restore, and the newest of this generation, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Backups {
    pub oldest_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub newest_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub newest_backup_id: Option<BackupId>,
    /// Whether the recovery ledger remembers all that happened since the oldest. `None`: no backup is known.
    pub ledger_reaches: Option<bool>,
}

/// What the server's folder of drills tells.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LastDrills {
    /// `None`: there is none, or `problem` says why nobody knows.
    pub last: Option<LastDrill>,
    pub problem: Option<String>,
}

/// The drill that began last.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LastDrill {
    pub drill_id: DrillId,
    pub started_at: DateTime<Utc>,
    /// `concluded`, `interrupted` or `unreadable`.
    pub state: String,
    /// `passed`, `failed` or `could_not_verify`, as the report says. `None`: it is not concluded.
    pub verdict: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// A secret reference and whether it resolves; never the value.
#[derive(Debug, Clone, Deserialize)]
pub struct SecretStatus {
    pub name: String,
    pub version: String,
    pub resolved: bool,
}

/// What an org used, and the plan that it is on.
#[derive(Debug, Clone, Deserialize)]
pub struct Usage {
    pub items: Vec<UsageTotal>,
    /// Of the tokens in `items`, those that agents took through doors. Empty where the server is of an older build.
    #[serde(default)]
    pub models: Vec<UsageModel>,
    /// `None`: all history. A server of an older build knows nothing else.
    pub period: Option<UsagePeriod>,
    pub subscription: Subscription,
}

/// Days of the calendar in UTC, at most 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsagePeriod {
    /// The first day.
    pub from: NaiveDate,
    /// The day after the last one.
    pub to: NaiveDate,
}

#[derive(Debug, Clone, Deserialize)]
pub struct UsageTotal {
    pub kind: String,
    pub quantity: i64,
}

/// What an org used of one kind on one day.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UsageOfDay {
    /// In UTC.
    pub day: NaiveDate,
    pub kind: String,
    pub quantity: i64,
}

#[derive(Debug, Deserialize)]
struct UsageDays {
    items: Vec<UsageOfDay>,
}

/// What agents took of one model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UsageModel {
    pub provider: String,
    /// `None`: the provider did not say.
    pub model: Option<String>,
    /// Cached ones included.
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cached_tokens: i64,
    pub requests: i64,
    /// Of those, the ones of which the provider did not say the whole use.
    pub requests_unknown: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Subscription {
    pub plan: String,
    pub state: String,
}

impl Client {
    /// Whether `GET /healthz` says that all is well.
    pub async fn healthz(&self) -> Result<bool, Error> {
        Ok(accepted(self.request(Method::GET, "/healthz")).await?.status().is_success())
    }

    pub async fn workspace(&self) -> Result<Workspace, Error> {
        self.get("/api/workspace").await
    }

    /// Of all history.
    pub async fn usage(&self) -> Result<Usage, Error> {
        self.get("/api/usage").await
    }

    /// Of some days. A server of an older build tells of all history, without a `period`.
    pub async fn usage_within(&self, period: UsagePeriod) -> Result<Usage, Error> {
        self.get_with("/api/usage", &period).await
    }

    /// By day, then by kind. What was not used on a day is absent.
    pub async fn usage_days(&self, period: UsagePeriod) -> Result<Vec<UsageOfDay>, Error> {
        let days: UsageDays = self.get_with("/api/usage/days", &period).await?;
        Ok(days.items)
    }

    /// Takes operator scope.
    pub async fn diagnostics(&self) -> Result<Diagnostics, Error> {
        self.get("/api/diagnostics").await
    }

    /// Takes operator scope.
    pub async fn maintenance(&self) -> Result<Maintenance, Error> {
        self.get("/api/maintenance").await
    }

    /// Refuses what changes something from now on. `reason` is shown to whoever is refused. Takes operator scope.
    pub async fn maintenance_begin(&self, reason: &str) -> Result<Maintenance, Error> {
        self.send(Method::PUT, "/api/maintenance", &json!({"reason": reason})).await
    }

    /// Takes operator scope.
    pub async fn maintenance_end(&self) -> Result<(), Error> {
        self.delete("/api/maintenance").await
    }

    /// Prometheus text. Takes operator scope.
    pub async fn metrics(&self) -> Result<String, Error> {
        self.text("/api/metrics").await
    }

    /// The API's own description: OpenAPI 3.1.
    pub async fn openapi(&self) -> Result<Value, Error> {
        self.get("/api/openapi.json").await
    }

    /// The body of any path, as text.
    pub async fn text(&self, path: &str) -> Result<String, Error> {
        Ok(accepted(self.request(Method::GET, path)).await?.text().await?)
    }
}
