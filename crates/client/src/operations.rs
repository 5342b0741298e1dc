//! What an operator reads: health, workspace, diagnostics, metrics, usage, audit.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ids::{AuditId, OrgId, SystemId};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Client, Error, Page, accepted};

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

#[derive(Debug, Clone, Deserialize)]
pub struct Backlog {
    pub commands_pending: i64,
    pub leases_held: i64,
    pub deliveries_pending: i64,
    pub deliveries_dead: i64,
    pub deliveries_unknown: i64,
    /// Effects that the recovery ledger does not know yet.
    pub effects_untold: i64,
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
    pub subscription: Subscription,
}

#[derive(Debug, Clone, Deserialize)]
pub struct UsageTotal {
    pub kind: String,
    pub quantity: i64,
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

/// Who did what to what.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditRecord {
    pub audit_id: AuditId,
    pub position: i64,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub detail: Value,
    pub recorded_at: DateTime<Utc>,
}

/// What a verification of the audit trail saw.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditVerification {
    /// Whether everything that was looked at holds.
    pub intact: bool,
    /// Whether that was all, to the end. Else go on from `number` and `hash`.
    pub complete: bool,
    pub verified: i64,
    /// The last link that holds, to be noted elsewhere.
    pub number: i64,
    /// Lower-case hex.
    pub hash: String,
    pub erased: i64,
    pub unsealed: i64,
}

impl Client {
    /// Compares the org's audit trail with its seals, from a link that was noted (number and hash), or from the first.
    pub async fn audit_verify(&self, from: Option<(i64, &str)>) -> Result<AuditVerification, Error> {
        let query: Vec<(&str, String)> = from
            .map_or_else(Vec::new, |(number, hash)| vec![("number", number.to_string()), ("hash", hash.to_owned())]);
        self.get_with("/api/audit/verification", &query).await
    }

    /// The sealed records after a number, a JSON object on each line; at most `limit` (1 to 1,000,000), in memory.
    pub async fn audit_export(&self, after: i64, limit: i64) -> Result<Bytes, Error> {
        let query = [("after", after), ("limit", limit)];
        Ok(accepted(self.request(Method::GET, "/api/audit/export").query(&query)).await?.bytes().await?)
    }

    /// Whether `GET /healthz` says that all is well.
    pub async fn healthz(&self) -> Result<bool, Error> {
        Ok(accepted(self.request(Method::GET, "/healthz")).await?.status().is_success())
    }

    pub async fn workspace(&self) -> Result<Workspace, Error> {
        self.get("/api/workspace").await
    }

    pub async fn usage(&self) -> Result<Usage, Error> {
        self.get("/api/usage").await
    }

    /// Oldest first.
    pub async fn audit_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<AuditRecord>, Error> {
        self.get_page("/api/audit", cursor, limit).await
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

    /// The body of any path, as text.
    pub async fn text(&self, path: &str) -> Result<String, Error> {
        Ok(accepted(self.request(Method::GET, path)).await?.text().await?)
    }
}
