//! What the org has used, of all its history or of some days, and the plan that it is on.
//!
//! Days are those of the calendar in UTC, as the periods of quotas are. A range begins with `from` and ends before `to`, where the
//! next one would begin: so a month is asked for by the first of it and the first of the next.
//!
//! Not here: what is left of quotas (`quotas`), prices, which are the billing provider's.

use axum::extract::State;
use chrono::NaiveDate;
use clock::Timestamp;
use domain::quota::DayRange;
use serde::{Deserialize, Serialize};
use store::{DayTotal, ModelTotal, UsageTotal};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(usage)).routes(routes!(days))
}

/// A day as RFC 3339 writes it, and in no other way that could be read as one.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Day(NaiveDate);

impl TryFrom<String> for Day {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let day = text.parse::<NaiveDate>().ok();
        // Years beyond four digits are written with a sign.
        let day = day.filter(|day| text.len() == "2026-11-28".len() && day.to_string() == text);
        day.map(Self).ok_or("a day is written as 2026-11-28")
    }
}

/// Of which days, if not of all.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SomeDays {
    /// The first day, in UTC. Only with `to`; without both: all history.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<Day>,
    /// The day after the last one, in UTC: not before `from`, and at most 400 days after it. Only with `from`.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<Day>,
}

/// Of which days.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Days {
    /// The first day, in UTC.
    #[param(value_type = String, format = Date)]
    from: Day,
    /// The day after the last one, in UTC: not before `from`, and at most 400 days after it.
    #[param(value_type = String, format = Date)]
    to: Day,
}

impl Days {
    fn range(self) -> Result<DayRange, Problem> {
        let range = DayRange::new(self.from.0, self.to.0);
        range.map_err(|error| Problem::invalid(format!("{error}; it ends before the day `to`")))
    }
}

impl SomeDays {
    fn range(self) -> Result<Option<DayRange>, Problem> {
        match (self.from, self.to) {
            (None, None) => Ok(None),
            (Some(from), Some(to)) => Days { from, to }.range().map(Some),
            _ => Err(Problem::invalid("`from` and `to` are given together, or neither is")),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Usage {
    items: Vec<Total>,
    /// Of the tokens in `items`, those that agents took through doors, by model.
    models: Vec<Model>,
    /// The days that `items` and `models` are of. `null`: all history.
    period: Option<Period>,
    subscription: Subscription,
}

/// Days of the calendar in UTC.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsagePeriod)]
struct Period {
    /// The first day.
    #[schema(value_type = String, format = Date)]
    from: NaiveDate,
    /// The day after the last one.
    #[schema(value_type = String, format = Date)]
    to: NaiveDate,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageTotal)]
struct Total {
    /// `turn_ms` is the milliseconds that turns were at work: of the attempt that ended, and not while one waited for a person.
    kind: String,
    quantity: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageDays)]
struct ByDay {
    period: Period,
    /// By day, then by kind. What was not used on a day is not listed.
    items: Vec<OfDay>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageOfDay)]
struct OfDay {
    /// In UTC.
    #[schema(value_type = String, format = Date)]
    day: NaiveDate,
    kind: String,
    quantity: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageModel)]
struct Model {
    provider: String,
    /// As the provider names it; null: it did not say.
    model: Option<String>,
    /// Cached ones included.
    input_tokens: i64,
    output_tokens: i64,
    /// Of the input tokens, those that the provider still had from an earlier request.
    cached_tokens: i64,
    requests: i64,
    /// Of the requests, those of which the provider did not say the whole use: they took more than is counted.
    requests_unknown: i64,
}

impl From<DayRange> for Period {
    fn from(range: DayRange) -> Self {
        Self { from: range.from(), to: range.to() }
    }
}

impl From<UsageTotal> for Total {
    fn from(UsageTotal { kind, quantity }: UsageTotal) -> Self {
        Self { kind, quantity }
    }
}

impl From<DayTotal> for OfDay {
    fn from(DayTotal { day, kind, quantity }: DayTotal) -> Self {
        Self { day, kind, quantity }
    }
}

impl From<ModelTotal> for Model {
    fn from(total: ModelTotal) -> Self {
        Self {
            provider: total.provider,
            model: Some(total.model).filter(|model| !model.is_empty()),
            input_tokens: total.input_tokens,
            output_tokens: total.output_tokens,
            cached_tokens: total.cached_tokens,
            requests: total.requests,
            requests_unknown: total.requests_unknown,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageSubscription)]
struct Subscription {
    plan: String,
    /// More of it is in `GET /api/subscription`.
    state: String,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
}

/// What the org has used, of all its history or of some days, and the plan that it is on.
///
/// A turn counts on the day on which it ended, all of it. A month is from its first day to the first of the next.
#[utoipa::path(
    get,
    path = "/api/usage",
    operation_id = "usage",
    tag = "usage",
    params(SomeDays),
    responses((status = 200, description = "Totals by kind and by model, and the plan.", body = Usage)),
    security(("token" = ["usage.read"])),
)]
async fn usage(State(app): State<App>, caller: Caller, Query(days): Query<SomeDays>) -> Result<Json<Usage>, Problem> {
    let range = days.range()?;
    let totals = app.store.usage_totals(caller.org, range).await?;
    let models = app.store.usage_by_model(caller.org, range).await?;
    let subscription = app.store.subscription_get(caller.org).await?;
    let subscription = subscription.ok_or_else(Problem::no_subscription)?;
    Ok(Json(Usage {
        items: totals.into_iter().map(Total::from).collect(),
        models: models.into_iter().map(Model::from).collect(),
        period: range.map(Period::from),
        subscription: Subscription {
            plan: subscription.plan,
            state: subscription.state.to_string(),
            started_at: subscription.started_at,
        },
    }))
}

/// What the org has used on each of some days. All of them are in one answer.
#[utoipa::path(
    get,
    path = "/api/usage/days",
    operation_id = "usage_days",
    tag = "usage",
    params(Days),
    responses((status = 200, description = "Totals by day and kind.", body = ByDay)),
    security(("token" = ["usage.read"])),
)]
async fn days(State(app): State<App>, caller: Caller, Query(days): Query<Days>) -> Result<Json<ByDay>, Problem> {
    let range = days.range()?;
    let totals = app.store.usage_by_day(caller.org, range).await?;
    Ok(Json(ByDay { period: range.into(), items: totals.into_iter().map(OfDay::from).collect() }))
}

#[cfg(test)]
mod tests;
