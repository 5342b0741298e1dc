//! Stripe: subscriptions that are bought in its checkout, managed in its portal, and told of by its webhooks.
//!
//! The key goes into one header, which is marked as sensitive, and nowhere else. Answers are read up to a bound. What a subscription is
//! called here: `trialing` is active; `past_due`, `unpaid`, `paused` and `incomplete` are past due; `canceled` and `incomplete_expired`
//! are over.
//!
//! Not promised: that the real Stripe was ever called by a test; a server on this machine stands in for it. The place where a period
//! ends moved from the subscription to its items between two versions of its API, and is read from both.
//!
//! Not here: signatures (`signature`), whether news are taken (`domain::subscription`).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use clock::Timestamp;
use domain::egress::Egress;
use domain::plan::Plans;
use domain::subscription::{SubscriptionState, Terms};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::{BillingError, BillingProvider, Notice, NoticeError, Order, Page, Told, signature};

const ADDRESS: &str = "https://api.stripe.com/";
/// Bytes of an answer: a page of subscriptions has a few kilobytes for each.
const ANSWER_MAX: usize = 1024 * 1024;
/// Subscriptions of a page.
const PAGE: &str = "50";
/// Bytes of an id of theirs, and of an address that a browser is sent to.
const ID_MAX: usize = 255;
const URL_MAX: usize = 4_096;

/// What an operator has to say about Stripe.
#[derive(Debug, Clone)]
pub struct StripeSettings {
    pub api_key: SecretString,
    pub webhook_secret: SecretString,
    /// Where browsers come back to.
    pub return_url: String,
}

#[derive(Debug)]
pub struct Stripe {
    client: Client,
    address: Url,
    egress: Egress,
    settings: StripeSettings,
    plans: Arc<Plans>,
}

impl Stripe {
    /// `timeout` is for one question.
    ///
    /// # Errors
    /// If the HTTP client can't be set up, which is the machine's fault.
    pub fn new(
        settings: StripeSettings,
        plans: Arc<Plans>,
        timeout: Duration,
        egress: &Egress,
    ) -> Result<Self, reqwest::Error> {
        let client = egress::guarded(timeout, egress.clone()).https_only(true).build()?;
        let address = ADDRESS.parse().expect("it is a URL");
        Ok(Self { client, address, egress: egress.clone(), settings, plans })
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut address = self.address.clone();
        address.path_segments_mut().expect("it has a host").clear().extend(path);
        address
    }

    async fn post(&self, path: &[&str], form: &[(&str, &str)]) -> Result<String, BillingError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.client.post(self.at(path)).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = self.send(request.body(body)).await?;
        let answer: Session = read(succeeded(answer)?).await?;
        let fits = answer.url.len() <= URL_MAX && Url::parse(&answer.url).is_ok();
        if fits { Ok(answer.url) } else { Err(BillingError::Unreadable) }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, BillingError> {
        self.egress.judge_url(&self.address).map_err(|refused| {
            tracing::warn!(error = %refused, "the billing provider was not called");
            BillingError::Unreachable
        })?;
        let key = Zeroizing::new(format!("Bearer {}", self.settings.api_key.expose_secret()));
        let mut key = HeaderValue::from_str(&key).map_err(|_| BillingError::Refused(401))?;
        key.set_sensitive(true);
        request.header(AUTHORIZATION, key).send().await.map_err(|error| {
            tracing::warn!(error = egress::root_cause(&error), "the billing provider could not be called");
            BillingError::Unreachable
        })
    }

    fn parsed(&self, object: Value, at: Timestamp) -> Result<Told, BillingError> {
        let subscription: Subscription = serde_json::from_value(object).map_err(|_| BillingError::Unreadable)?;
        let item = subscription.items.data.into_iter().next();
        let ends = subscription.current_period_end.or(item.as_ref().and_then(|item| item.current_period_end));
        let ends = ends.map(instant).transpose()?;
        let plan = item.and_then(|item| self.plans.of_price(&item.price.id).map(str::to_owned));
        if plan.is_none() {
            tracing::warn!("the billing provider names a price that no plan has");
        }
        let fits = |id: &str| !id.is_empty() && id.len() <= ID_MAX && !id.contains('\0');
        if !fits(&subscription.id) {
            return Err(BillingError::Unreadable);
        }
        Ok(Told {
            org: subscription.metadata.org_id.and_then(|org| org.parse().ok()),
            terms: Terms {
                plan,
                state: state(&subscription.status).ok_or(BillingError::Unreadable)?,
                period_ends_at: ends,
                customer: subscription.customer.as_str().filter(|id| fits(id)).map(str::to_owned),
                reference: subscription.id,
                at,
            },
        })
    }
}

#[async_trait]
impl BillingProvider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    async fn checkout(&self, order: &Order<'_>) -> Result<String, BillingError> {
        let org = order.org.to_string();
        let mut form = vec![
            ("mode", "subscription"),
            ("line_items[0][price]", order.price),
            ("line_items[0][quantity]", "1"),
            ("client_reference_id", &org),
            ("subscription_data[metadata][org_id]", &org),
            ("success_url", &self.settings.return_url),
            ("cancel_url", &self.settings.return_url),
        ];
        form.extend(order.customer.map(|customer| ("customer", customer)));
        self.post(&["v1", "checkout", "sessions"], &form).await
    }

    async fn portal(&self, customer: &str) -> Result<String, BillingError> {
        let form = [("customer", customer), ("return_url", &self.settings.return_url)];
        self.post(&["v1", "billing_portal", "sessions"], &form).await
    }

    async fn page(&self, after: Option<&str>, now: Timestamp) -> Result<Page, BillingError> {
        let mut address = self.at(&["v1", "subscriptions"]);
        let query =
            [("status", "all"), ("limit", PAGE)].into_iter().chain(after.map(|after| ("starting_after", after)));
        address.query_pairs_mut().extend_pairs(query);
        let answer = succeeded(self.send(self.client.get(address)).await?)?;
        // By the provider's clock, as the times of its events are.
        let said = answer.headers().get(DATE).and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok());
        let at = said.map_or(now, |date| date.to_utc());
        let list: List = read(answer).await?;
        let next = list.data.last().and_then(|last| Some(last.get("id")?.as_str()?.to_owned()));
        let listed = list.data.len();
        let items: Vec<Told> = list.data.into_iter().filter_map(|one| self.parsed(one, at).ok()).collect();
        let next = next.filter(|next| list.has_more && after != Some(next));
        Ok(Page { unreadable: listed - items.len(), items, next })
    }

    fn read(&self, header: Option<&str>, body: &[u8], now: Timestamp) -> Result<Notice, NoticeError> {
        signature::check(header, body, &self.settings.webhook_secret, now)?;
        let unreadable = |_| NoticeError::Unreadable;
        let event: Event = serde_json::from_slice(body).map_err(|_| NoticeError::Unreadable)?;
        if event.id.is_empty() || event.id.len() > ID_MAX || event.id.contains('\0') {
            return Err(NoticeError::Unreadable);
        }
        if !event.kind.starts_with("customer.subscription.") {
            return Ok(Notice { event: event.id, told: None });
        }
        let at = instant(event.created).map_err(unreadable)?;
        Ok(Notice { event: event.id, told: Some(self.parsed(event.data.object, at).map_err(unreadable)?) })
    }
}

#[derive(Debug, Deserialize)]
struct Session {
    url: String,
}

#[derive(Debug, Deserialize)]
struct List {
    data: Vec<Value>,
    has_more: bool,
}

#[derive(Debug, Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    data: EventData,
}

#[derive(Debug, Deserialize)]
struct EventData {
    object: Value,
}

#[derive(Debug, Deserialize)]
struct Subscription {
    id: String,
    status: String,
    /// An id, or all of the customer.
    #[serde(default)]
    customer: Value,
    current_period_end: Option<i64>,
    items: Items,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
struct Items {
    data: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    price: Price,
    current_period_end: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Price {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    org_id: Option<String>,
}

fn state(status: &str) -> Option<SubscriptionState> {
    match status {
        "active" | "trialing" => Some(SubscriptionState::Active),
        "past_due" | "unpaid" | "paused" | "incomplete" => Some(SubscriptionState::PastDue),
        "canceled" | "incomplete_expired" => Some(SubscriptionState::Cancelled),
        _ => None,
    }
}

/// Of seconds. Postgres has no place for the far ends of what they can say.
fn instant(seconds: i64) -> Result<Timestamp, BillingError> {
    let year_9999 = 253_370_764_800;
    let within = (0..year_9999).contains(&seconds).then(|| Timestamp::from_timestamp(seconds, 0)).flatten();
    within.ok_or(BillingError::Unreadable)
}

fn succeeded(answer: Response) -> Result<Response, BillingError> {
    let status = answer.status();
    if status.is_success() { Ok(answer) } else { Err(BillingError::Refused(status.as_u16())) }
}

async fn read<T: for<'de> Deserialize<'de>>(mut answer: Response) -> Result<T, BillingError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| BillingError::Unreachable)? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(BillingError::Unreadable);
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| BillingError::Unreadable)
}

#[cfg(test)]
mod tests;
