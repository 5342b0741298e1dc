//! The org's audit trail, oldest first.

use axum::extract::State;
use clock::Timestamp;
use ids::AuditId;
use serde::Serialize;
use store::AuditRecord;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::page::{Page, PageQuery, Paging};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditRecord)]
struct AuditView {
    audit_id: AuditId,
    position: i64,
    actor: String,
    action: String,
    target: String,
    detail: serde_json::Value,
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
}

impl From<AuditRecord> for AuditView {
    fn from(record: AuditRecord) -> Self {
        let AuditRecord { audit_id, position, actor, action, target, detail, recorded_at } = record;
        Self { audit_id, position, actor, action, target, detail, recorded_at }
    }
}

/// The org's audit trail, oldest first.
#[utoipa::path(
    get,
    path = "/api/audit",
    operation_id = "audit_list",
    tag = "audit",
    params(PageQuery),
    responses((status = 200, description = "A page of them.", body = Page<AuditView>)),
    security(("token" = ["audit.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<i64>>,
) -> Result<Json<Page<AuditView>>, Problem> {
    let after = paging.cursor.unwrap_or(0);
    let records = app.store.audit_list(caller.org, after, paging.limit()).await?;
    Ok(Json(Page::of(records, paging.limit(), |record| record.position).map(AuditView::from)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    #[tokio::test]
    async fn every_change_is_told_of_and_an_org_reads_its_own_only() {
        let world = World::new().await;
        let (_, stranger) = world.other_org().await;
        world.post("/api/tokens", json!({"name": "t", "scopes": ["read"]})).await.expect(201);
        let trail = world.get("/api/audit").await.expect(200);
        let actions: Vec<&Value> = trail["items"].as_array().unwrap().iter().map(|item| &item["action"]).collect();
        assert_eq!(actions, ["org.create", "token.create"]);
        let theirs = world.get_as(&stranger, "/api/audit").await.expect(200);
        let actions: Vec<&Value> = theirs["items"].as_array().unwrap().iter().map(|item| &item["action"]).collect();
        assert_eq!(actions, ["org.create", "member.add", "token.create"]);
    }

    #[tokio::test]
    async fn a_page_goes_on_after_the_position_it_ended_at() {
        let world = World::new().await;
        for _ in 0..3 {
            world.post("/api/tokens", json!({"name": "t", "scopes": ["read"]})).await.expect(201);
        }
        let first = world.get("/api/audit?limit=3").await.expect(200);
        let next = format!("/api/audit?limit=3&cursor={}", first["next_cursor"].as_str().unwrap());
        assert_eq!(world.get(&next).await.expect(200)["items"].as_array().unwrap().len(), 1);
    }
}
