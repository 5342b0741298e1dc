//! How much an org may use.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::etag::{ETag, Tagged, made_for, tagged};
use crate::{Client, Error};

/// A quota.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Quota {
    /// `org`: its own; `plan`: its plan's; `subscription`: of one that has ended.
    pub origin: String,
    /// `turns`, `turn_ms`, `input_tokens`, `output_tokens`, `artifact_bytes`, `deliveries` or `runs`.
    pub kind: String,
    /// `day` or `month`, of the calendar in UTC.
    pub period: String,
    /// As many are allowed in a period.
    pub quantity_max: i64,
}

/// A quota, and how it fares in the present period.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct QuotaUse {
    #[serde(flatten)]
    pub quota: Quota,
    pub used: i64,
    /// When the next period begins.
    pub ends_at: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
struct Quotas {
    items: Vec<QuotaUse>,
}

impl Client {
    pub async fn quota_list(&self) -> Result<Vec<QuotaUse>, Error> {
        Ok(self.get::<Quotas>("/api/quotas").await?.items)
    }

    /// A quota, with the state that a change can be made for.
    pub async fn quota_get(&self, kind: &str) -> Result<Tagged<Quota>, Error> {
        tagged(self.request(Method::GET, &format!("/api/quotas/{kind}"))).await
    }

    /// Takes operator scope. With `seen`, only if nobody has changed it since.
    pub async fn quota_put(
        &self,
        kind: &str,
        period: &str,
        quantity_max: i64,
        seen: Option<&ETag>,
    ) -> Result<Tagged<Quota>, Error> {
        let body = json!({"period": period, "quantity_max": quantity_max});
        let request = self.request(Method::PUT, &format!("/api/quotas/{kind}")).json(&body);
        tagged(made_for(request, seen)).await
    }

    /// Takes operator scope. The quota of the org's plan is in force then, or the org may use any number. With `seen`,
    /// only if nobody has changed it since.
    pub async fn quota_remove(&self, kind: &str, seen: Option<&ETag>) -> Result<(), Error> {
        self.delete_seen(&format!("/api/quotas/{kind}"), seen).await
    }
}
