//! Orgs: tenants of the installation. For operators.

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use ids::OrgId;
use serde::{Deserialize, Serialize};
use store::Org;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::Name;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Org)]
struct OrgView {
    org_id: OrgId,
    name: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Org> for OrgView {
    fn from(org: Org) -> Self {
        Self { org_id: org.org_id, name: org.name, created_at: org.created_at }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Acme"}))]
#[serde(deny_unknown_fields)]
struct NewOrg {
    #[schema(inline)]
    name: Name,
}

/// Makes an org, without members; the first is added with the header `Cowork-Org`.
#[utoipa::path(
    post,
    path = "/api/orgs",
    operation_id = "org_create",
    tag = "installation",
    request_body = NewOrg,
    responses((status = 201, description = "It is there.", body = OrgView)),
    security(("token" = ["installation.write"])),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewOrg>,
) -> Result<(StatusCode, Json<OrgView>), Problem> {
    let name = new.name.trimmed();
    let org = app.store.org_create(&name, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(org.into())))
}

/// The orgs of the installation, oldest first.
#[utoipa::path(
    get,
    path = "/api/orgs",
    operation_id = "org_list",
    tag = "installation",
    params(Paging<OrgId>),
    responses((status = 200, description = "A page of them.", body = Page<OrgView>)),
    security(("token" = ["installation.read"])),
)]
async fn list(State(app): State<App>, Query(paging): Query<Paging<OrgId>>) -> Result<Json<Page<OrgView>>, Problem> {
    let orgs = app.store.org_list(paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(orgs, paging.limit(), |org| org.org_id).map(OrgView::from)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn an_org_begins_with_a_subscription_and_an_audit_trail() {
        let world = World::new().await;
        let created = world.post("/api/orgs", json!({"name": "Beta"})).await.expect(201);
        insta::assert_json_snapshot!(created, {".org_id" => "[id]"}, @r#"
        {
          "created_at": "2024-10-04T00:00:00Z",
          "name": "Beta",
          "org_id": "[id]"
        }
        "#);
        let org = created["org_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(world.app.store.subscription_get(org).await.unwrap().unwrap().plan, "self-hosted");
        let (audit, _) = world.app.store.audit_list(org, &store::AuditFilter::default(), 0, 10).await.unwrap();
        assert_eq!(audit[0].actor, format!("token:{}", world.token_id(&world.operator).await));
        assert_eq!((audit[0].action.as_str(), &audit[0].detail), ("org.create", &json!({"name": "Beta"})));
    }

    #[tokio::test]
    async fn orgs_are_listed_page_by_page() {
        let world = World::new().await;
        for name in ["B", "C"] {
            world.post("/api/orgs", json!({"name": name})).await.expect(201);
        }
        let first = world.get("/api/orgs?limit=2").await.expect(200);
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = world.get(&format!("/api/orgs?limit=2&cursor={cursor}")).await.expect(200);
        let count = |page: &serde_json::Value| page["items"].as_array().unwrap().len();
        assert_eq!((count(&first), count(&second)), (2, 1));
        assert!(second["next_cursor"].is_null());
    }
}
