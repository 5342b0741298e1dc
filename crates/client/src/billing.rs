//! Plans, the org's subscription to one, and where it is bought.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::etag::{ETag, Tagged, made_for, tagged};
use crate::{Client, Error};

/// A named set of quotas.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Plan {
    pub name: String,
    pub title: String,
    /// Whether a checkout can be begun for it.
    pub buyable: bool,
    /// A kind that is not listed may be used without end.
    pub quotas: Vec<Allowance>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Allowance {
    pub kind: String,
    /// `day` or `month`.
    pub period: String,
    pub quantity_max: i64,
}

/// The plan that the org is on, and on which terms.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SubscriptionTerms {
    pub plan: String,
    /// `active`, `past_due` or `cancelled`.
    pub state: String,
    pub provider: String,
    pub reference: Option<String>,
    pub started_at: DateTime<Utc>,
    pub period_ends_at: Option<DateTime<Utc>>,
    /// From then on nothing new begins.
    pub refused_from: Option<DateTime<Utc>>,
    /// `false`: the system was restored since, and it may have changed in the lost one.
    pub confirmed: bool,
}

#[derive(Debug, Deserialize)]
struct Page {
    url: String,
}

#[derive(Debug, Deserialize)]
struct Plans {
    items: Vec<Plan>,
}

impl Client {
    pub async fn plan_list(&self) -> Result<Vec<Plan>, Error> {
        Ok(self.get::<Plans>("/api/plans").await?.items)
    }

    /// The org's subscription, with the state that a change can be made for.
    pub async fn subscription_get(&self) -> Result<Tagged<SubscriptionTerms>, Error> {
        tagged(self.request(Method::GET, "/api/subscription")).await
    }

    /// Takes operator scope. With `seen`, only if nobody has changed it since. `ends_at`: until when a cancelled one goes on.
    pub async fn subscription_put(
        &self,
        plan: &str,
        state: &str,
        ends_at: Option<DateTime<Utc>>,
        seen: Option<&ETag>,
    ) -> Result<Tagged<SubscriptionTerms>, Error> {
        let body = json!({"plan": plan, "state": state, "period_ends_at": ends_at});
        tagged(made_for(self.request(Method::PUT, "/api/subscription").json(&body), seen)).await
    }

    /// Where a browser goes to buy a plan.
    pub async fn subscription_checkout(&self, plan: &str) -> Result<String, Error> {
        self.page_of("/api/subscription/checkout", &json!({"plan": plan})).await
    }

    /// Where a browser goes to pay, change or end the org's subscription.
    pub async fn subscription_portal(&self) -> Result<String, Error> {
        self.page_of("/api/subscription/portal", &json!({})).await
    }

    async fn page_of(&self, path: &str, body: &serde_json::Value) -> Result<String, Error> {
        Ok(self.post::<Page>(path, body).await?.url)
    }
}
