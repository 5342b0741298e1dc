//! What the org has used, and the plan that it is on.

use axum::extract::State;
use clock::Timestamp;
use serde::Serialize;
use store::ModelTotal;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::Json;
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(usage))
}

#[derive(Debug, Serialize, ToSchema)]
struct Usage {
    items: Vec<Total>,
    /// Of the tokens in `items`, those that agents took through doors, by model.
    models: Vec<Model>,
    subscription: Subscription,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageTotal)]
struct Total {
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

/// What the org has used, and the plan that it is on.
#[utoipa::path(
    get,
    path = "/api/usage",
    operation_id = "usage",
    tag = "usage",
    responses((status = 200, description = "Totals by kind and by model, and the plan.", body = Usage)),
    security(("token" = ["usage.read"])),
)]
async fn usage(State(app): State<App>, caller: Caller) -> Result<Json<Usage>, Problem> {
    let totals = app.store.usage_totals(caller.org).await?;
    let models = app.store.usage_by_model(caller.org).await?;
    let subscription = app.store.subscription_get(caller.org).await?;
    let subscription = subscription.ok_or_else(Problem::no_subscription)?;
    Ok(Json(Usage {
        items: totals.into_iter().map(|total| Total { kind: total.kind, quantity: total.quantity }).collect(),
        models: models.into_iter().map(Model::from).collect(),
        subscription: Subscription {
            plan: subscription.plan,
            state: subscription.state.to_string(),
            started_at: subscription.started_at,
        },
    }))
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[tokio::test]
    async fn an_org_that_used_nothing_still_has_a_plan() {
        let world = World::new().await;
        insta::assert_json_snapshot!(world.get("/api/usage").await.expect(200), @r#"
        {
          "items": [],
          "models": [],
          "subscription": {
            "plan": "self-hosted",
            "started_at": "2024-10-04T00:00:00Z",
            "state": "active"
          }
        }
        "#);
    }
}
