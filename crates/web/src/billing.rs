//! Plans, the org's subscription to one, and the way to whoever is paid for it.
//!
//! Everybody who sees what is used sees both. Whoever may `billing.write` is sent to the billing provider, where something is bought or
//! ended; what comes of it, the provider tells (`webhook`). An operator sets a subscription by hand.
//!
//! Not here: what a plan's quotas refuse (`store::quota`), providers (crate `billing`).

mod webhook;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use billing::{BillingError, Order};
use clock::Timestamp;
use domain::plan::{Allowance, Plan};
use domain::quota::{QuotaPeriod, UsageKind};
use domain::subscription::SubscriptionState;
use serde::{Deserialize, Serialize};
use store::{NewSubscription, Subscription};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::Json;
use crate::problem::Problem;
use crate::text::Word;

pub(crate) use crate::billing::webhook::{describe, routes as webhook};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(plans))
        .routes(routes!(view, put))
        .routes(routes!(checkout))
        .routes(routes!(portal))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
struct PlanView {
    /// By which subscriptions name it.
    name: String,
    title: String,
    /// Whether a checkout can be begun for it. Otherwise an operator gives it.
    buyable: bool,
    /// A kind that is not listed may be used without end.
    quotas: Vec<AllowanceView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Allowance)]
struct AllowanceView {
    kind: UsageKind,
    period: QuotaPeriod,
    /// As many are allowed in a period.
    quantity_max: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct PlanList {
    items: Vec<PlanView>,
}

impl PlanView {
    fn of(name: &str, plan: &Plan, sold: bool) -> Self {
        let view = |(kind, allowance): (&UsageKind, &Allowance)| {
            let Allowance { period, quantity_max } = *allowance;
            AllowanceView { kind: *kind, period, quantity_max }
        };
        Self {
            name: name.to_owned(),
            title: plan.title.clone().unwrap_or_else(|| name.to_owned()),
            buyable: sold && plan.price.is_some(),
            quotas: plan.quotas.iter().map(view).collect(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscription)]
struct SubscriptionView {
    plan: String,
    state: SubscriptionState,
    /// Who says what it is. `manual`: an operator does.
    provider: String,
    /// What the provider calls it.
    reference: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// `null`: nobody said.
    #[schema(value_type = Option<String>, format = DateTime)]
    period_ends_at: Option<Timestamp>,
    /// From then on nothing new begins: prompts and runs are refused with 402 `subscription_ended`. Nothing is deleted. `null`: it
    /// goes on.
    #[schema(value_type = Option<String>, format = DateTime)]
    refused_from: Option<Timestamp>,
    /// `false`: the system was restored since, and the subscription may have changed in the lost one.
    confirmed: bool,
}

impl From<Subscription> for SubscriptionView {
    fn from(from: Subscription) -> Self {
        Self {
            plan: from.plan,
            state: from.state,
            provider: from.provider,
            reference: from.reference,
            started_at: from.started_at,
            period_ends_at: from.period_ends_at,
            refused_from: from.refused_from,
            confirmed: from.confirmed,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PutSubscription, example = json!({"plan": "self-hosted", "state": "active"}))]
#[serde(deny_unknown_fields)]
struct Put {
    #[schema(inline)]
    plan: Word,
    state: SubscriptionState,
    /// Until when a cancelled one goes on. Absent: it is over at once.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default)]
    period_ends_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Checkout, example = json!({"plan": "self-hosted"}))]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[schema(inline)]
    plan: Word,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BillingPage)]
struct Page {
    /// The billing provider's, for one browser, for a while.
    url: String,
}

/// The plans that this installation offers.
#[utoipa::path(
    get,
    path = "/api/plans",
    operation_id = "plan_list",
    tag = "usage",
    responses((status = 200, description = "All of them, by name.", body = PlanList)),
    security(("token" = ["usage.read"])),
)]
async fn plans(State(app): State<App>) -> Json<PlanList> {
    let sold = app.billing.provider.sells();
    let items = app.billing.plans.iter().map(|(name, plan)| PlanView::of(name, plan, sold));
    Json(PlanList { items: items.collect() })
}

/// The org's subscription.
#[utoipa::path(
    get,
    path = "/api/subscription",
    operation_id = "subscription_view",
    tag = "usage",
    responses((status = 200, description = "As it is now.", body = SubscriptionView, headers(("ETag" = String, description = "Strong; of its present state."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["usage.read"])),
)]
async fn view(State(app): State<App>, caller: Caller, request: HeaderMap) -> Result<Response, Problem> {
    let found = subscription(&app, &caller).await?;
    etag::tagged_unless_known(&app, found.version, &request, SubscriptionView::from(found))
}

/// Sets the org's subscription by hand. One that was bought is ended at the provider first: news that it is active take this one's
/// place again.
#[utoipa::path(
    put,
    path = "/api/subscription",
    operation_id = "subscription_put",
    tag = "usage",
    request_body = Put,
    responses((status = 200, description = "As it is now, with the plan's quotas in force.", body = SubscriptionView, headers(("ETag" = String, description = "Of the new state."))), (status = 412, description = "It is not in the state that `If-Match` names.")),
    security(("token" = ["installation.write"])),
)]
async fn put(
    State(app): State<App>,
    caller: Caller,
    request: HeaderMap,
    Json(new): Json<Put>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    let plan = new.plan.trimmed();
    known(&app, &plan)?;
    let new = NewSubscription { plan, state: new.state, period_ends_at: new.period_ends_at };
    let offered = (&*app.billing.plans, app.billing.grace);
    let put = app.store.subscription_put(caller.org, &new, offered, &expected, &caller.actor()).await?;
    let put = put.ok_or_else(Problem::stale)?;
    Ok(etag::tagged(&app, put.version, SubscriptionView::from(put)))
}

/// Begins the purchase of a plan: where a browser goes next. Nothing is bought by it.
#[utoipa::path(
    post,
    path = "/api/subscription/checkout",
    operation_id = "subscription_checkout",
    tag = "usage",
    request_body = Wanted,
    responses((status = 200, description = "Where to go.", body = Page), (status = 409, description = "Plans are not bought here (`not_offered`), or the present state does not allow it otherwise."), (status = 502, description = "The billing provider did not do it (`billing_provider`).")),
    security(("token" = ["billing.write"])),
)]
async fn checkout(State(app): State<App>, caller: Caller, Json(wanted): Json<Wanted>) -> Result<Json<Page>, Problem> {
    let name = wanted.plan.trimmed();
    let plan = known(&app, &name)?;
    let price = plan.price.as_deref().ok_or_else(Problem::not_offered)?;
    let found = subscription(&app, &caller).await?;
    if found.reference.is_some() && found.state != SubscriptionState::Cancelled {
        return Err(Problem::conflict("the org has a subscription; change it in the provider's portal instead"));
    }
    let order = Order { org: caller.org, price, customer: found.customer.as_deref() };
    Ok(Json(Page { url: app.billing.provider.checkout(&order).await? }))
}

/// Opens the billing provider's portal, where the org's subscription is paid, changed and ended: where a browser goes next.
#[utoipa::path(
    post,
    path = "/api/subscription/portal",
    operation_id = "subscription_portal",
    tag = "usage",
    responses((status = 200, description = "Where to go.", body = Page), (status = 409, description = "Plans are not bought here, or the org has bought none (`not_offered`)."), (status = 502, description = "The billing provider did not do it (`billing_provider`).")),
    security(("token" = ["billing.write"])),
)]
async fn portal(State(app): State<App>, caller: Caller) -> Result<Json<Page>, Problem> {
    let found = subscription(&app, &caller).await?;
    let customer = found.customer.ok_or_else(Problem::not_offered)?;
    Ok(Json(Page { url: app.billing.provider.portal(&customer).await? }))
}

async fn subscription(app: &App, caller: &Caller) -> Result<Subscription, Problem> {
    let found = app.store.subscription_get(caller.org).await?;
    found.ok_or_else(Problem::no_subscription)
}

fn known<'a>(app: &'a App, name: &str) -> Result<&'a Plan, Problem> {
    let plan = app.billing.plans.get(name);
    plan.ok_or_else(|| Problem::invalid("there is no such plan; GET /api/plans has those that there are"))
}

impl From<BillingError> for Problem {
    fn from(error: BillingError) -> Self {
        match error {
            BillingError::NotOffered => Self::not_offered(),
            BillingError::Refused(_) | BillingError::Unreachable | BillingError::Unreadable => {
                Self::billing_provider(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
