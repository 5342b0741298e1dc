//! Quotas: how much of something the org may use in a day or a month. Everybody who sees what is used sees them; operators set
//! them.
//!
//! Not here: who refuses what (`store::quota`), the answer to a prompt over quota (`commands`).

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use clock::Timestamp;
use domain::quota::{QuotaOrigin, QuotaPeriod, UsageKind};
use serde::{Deserialize, Serialize};
use store::{Quota, QuotaRemoval, QuotaUse};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Path};
use crate::problem::Problem;

/// More than anybody can use, and far from overflowing what is added up.
const QUANTITY_MAX: i64 = 1_000_000_000_000_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(view, put, remove))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quota)]
struct QuotaView {
    /// Whether it is the org's own, its plan's, or that of a subscription that has ended.
    origin: QuotaOrigin,
    kind: UsageKind,
    period: QuotaPeriod,
    /// As many are allowed in a period.
    quantity_max: i64,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QuotaUse)]
struct UseView {
    #[serde(flatten)]
    quota: QuotaView,
    /// In the present period. Work that was under way when the quota was used up may have brought it above.
    used: i64,
    /// When the next period begins: at midnight or the first of a month, in UTC.
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
struct Quotas {
    items: Vec<UseView>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PutQuota)]
#[serde(deny_unknown_fields)]
struct Put {
    period: QuotaPeriod,
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    #[serde(deserialize_with = "crate::number::whole")]
    quantity_max: i64,
}

impl From<Quota> for QuotaView {
    fn from(quota: Quota) -> Self {
        let Quota { origin, kind, period, quantity_max, updated_at, version: _ } = quota;
        Self { origin, kind, period, quantity_max, updated_at }
    }
}

impl From<QuotaUse> for UseView {
    fn from(QuotaUse { quota, used, ends_at }: QuotaUse) -> Self {
        Self { quota: quota.into(), used, ends_at }
    }
}

/// The org's quotas, with what is used. A kind that is not listed has none.
#[utoipa::path(
    get,
    path = "/api/quotas",
    operation_id = "quota_list",
    tag = "usage",
    responses((status = 200, description = "All of them, by kind.", body = Quotas)),
    security(("token" = ["usage.read"])),
)]
async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Quotas>, Problem> {
    let quotas = app.store.quota_list(caller.org).await?;
    Ok(Json(Quotas { items: quotas.into_iter().map(UseView::from).collect() }))
}

/// The org's quota of one kind.
#[utoipa::path(
    get,
    path = "/api/quotas/{kind}",
    operation_id = "quota_view",
    tag = "usage",
    responses((status = 200, description = "As it is now.", body = QuotaView, headers(("ETag" = String, description = "Strong; of its present state."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["usage.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(kind): Path<String>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let quota = app.store.quota_get(caller.org, known(&kind)?).await?.ok_or_else(|| Problem::not_found("quota"))?;
    etag::tagged_unless_known(&app, quota.version, &request, QuotaView::from(quota))
}

/// Sets how much the org may use of a kind, whatever its plan says. What waits since a smaller quota was used up goes on.
#[utoipa::path(
    put,
    path = "/api/quotas/{kind}",
    operation_id = "quota_put",
    tag = "usage",
    request_body = Put,
    responses((status = 200, description = "As it is now.", body = QuotaView, headers(("ETag" = String, description = "Of the new state."))), (status = 412, description = "It is not in the state that `If-Match` names, or it is there in spite of `If-None-Match: *`.")),
    security(("token" = ["installation.write"])),
)]
async fn put(
    State(app): State<App>,
    caller: Caller,
    Path(kind): Path<String>,
    request: HeaderMap,
    Json(new): Json<Put>,
) -> Result<Response, Problem> {
    let (expected, kind) = (etag::expected(&app, &request)?, known(&kind)?);
    if !(0..=QUANTITY_MAX).contains(&new.quantity_max) {
        return Err(Problem::invalid(
            "quantity_max is from 0 to 1000000000000000; remove the quota to allow any number",
        ));
    }
    let put = app.store.quota_put(caller.org, kind, new.period, new.quantity_max, &expected, &caller.actor()).await?;
    let quota = put.ok_or_else(Problem::stale)?;
    Ok(etag::tagged(&app, quota.version, QuotaView::from(quota)))
}

/// Takes the org's own quota away: its plan's is in force, or it may use any number.
#[utoipa::path(
    delete,
    path = "/api/quotas/{kind}",
    operation_id = "quota_remove",
    tag = "usage",
    responses((status = 204, description = "It is gone."), (status = 412, description = "It is not in the state that `If-Match` names.")),
    security(("token" = ["installation.write"])),
)]
async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(kind): Path<String>,
    request: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = etag::expected(&app, &request)?;
    match app.store.quota_remove(caller.org, known(&kind)?, &expected, &caller.actor()).await? {
        QuotaRemoval::Done => Ok(StatusCode::NO_CONTENT),
        QuotaRemoval::NoSuchQuota => Err(Problem::not_found("quota")),
        QuotaRemoval::Stale => Err(Problem::stale()),
    }
}

fn known(kind: &str) -> Result<UsageKind, Problem> {
    kind.parse().map_err(|_| Problem::not_found("kind of usage"))
}

#[cfg(test)]
mod tests {
    use domain::tenancy::{Role, Scope};
    use serde_json::{Value, json};

    use crate::testing::{Answer, World};

    async fn prompt(world: &World, session: &str) -> Answer {
        let body = json!({"kind": "prompt", "payload": {"text": "say hi"}});
        world.post(&format!("/api/sessions/{session}/commands"), body).await
    }

    async fn session(world: &World) -> String {
        let created = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
        created["session_id"].as_str().unwrap().to_owned()
    }

    fn month(quantity_max: i64) -> Value {
        json!({"period": "month", "quantity_max": quantity_max})
    }

    #[tokio::test]
    async fn a_prompt_over_quota_is_told_when_to_come_back() {
        let world = World::new().await;
        let session = session(&world).await;
        world.put("/api/quotas/turns", month(0)).await.expect(200);
        let refused = prompt(&world, &session).await;
        // The world's clock stands at the fourth of October.
        assert_eq!(refused.headers["retry-after"].to_str().unwrap(), (28 * 24 * 3600).to_string());
        let problem = refused.expect_problem(429, "over_quota");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("turns") && detail.contains("2024-11-01T00:00:00Z"), "{detail}");
        let abort = json!({"kind": "abort", "payload": {}});
        world.post(&format!("/api/sessions/{session}/commands"), abort).await.expect(202);

        insta::assert_json_snapshot!(world.get("/api/quotas").await.expect(200), @r#"
        {
          "items": [
            {
              "ends_at": "2024-11-01T00:00:00Z",
              "kind": "turns",
              "origin": "org",
              "period": "month",
              "quantity_max": 0,
              "updated_at": "2024-10-04T00:00:00Z",
              "used": 0
            }
          ]
        }
        "#);
        world.put("/api/quotas/turns", month(1)).await.expect(200);
        prompt(&world, &session).await.expect(202);
    }

    #[tokio::test]
    async fn of_two_who_set_a_quota_the_second_is_told() {
        let world = World::new().await;
        let first = world.put("/api/quotas/turns", month(1)).await;
        let tag = first.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(world.get("/api/quotas/turns").await.headers["etag"].to_str().unwrap(), tag);
        world.put("/api/quotas/turns", month(2)).await.expect(200);
        let request = crate::testing::request("DELETE", "/api/quotas/turns", &world.operator).header("if-match", tag);
        let stale = world.send(request.body(axum::body::Body::empty()).unwrap()).await;
        stale.expect_problem(412, "precondition_failed");
        world.delete("/api/quotas/turns").await.expect(204);
        world.delete("/api/quotas/turns").await.expect_problem(404, "not_found");
    }

    #[tokio::test]
    async fn who_works_in_an_org_sees_its_quotas_and_sets_none() {
        let world = World::new().await;
        let owner = world.member(world.org, Role::Owner, &[Scope::Read, Scope::Write]).await;
        world.put_as(&owner, "/api/quotas/turns", month(1)).await.expect_problem(403, "forbidden");
        world.put("/api/quotas/turns", month(1)).await.expect(200);
        world.get_as(&owner, "/api/quotas/turns").await.expect(200);
        world.put("/api/quotas/naps", month(1)).await.expect_problem(404, "not_found");
        world.put("/api/quotas/turns", month(-1)).await.expect_problem(422, "invalid");
        let odd = json!({"period": "week", "quantity_max": 1});
        world.put("/api/quotas/turns", odd).await.expect_problem(422, "invalid");
    }

    #[tokio::test]
    async fn a_run_over_quota_is_not_started() {
        let world = World::new().await;
        let new = json!({"name": "nightly", "agent": "scripted", "prompt": "say hi", "triggers": []});
        let workflow = world.post("/api/workflows", new).await.expect(201)["workflow_id"].as_str().unwrap().to_owned();
        world.put("/api/quotas/runs", month(1)).await.expect(200);
        let start = async || world.post(&format!("/api/workflows/{workflow}/start"), json!({})).await;
        start().await.expect(201);
        start().await.expect_problem(429, "over_quota");
    }
}
