//! Orgs: tenants of the installation, which operators list and make; and the org of the caller, which has a name.
//!
//! A name is for people. Nothing is found by it, so two orgs may have the same, and an org keeps all that it has when it is
//! renamed.
//!
//! Not here: closing an org, which nothing does; what an org allows (`policy`).

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use clock::Timestamp;
use ids::OrgId;
use serde::{Deserialize, Serialize};
use store::Org;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::Name;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(view, rename))
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

/// The org that the request acts in.
#[utoipa::path(
    get,
    path = "/api/org",
    operation_id = "org_view",
    tag = "installation",
    responses((status = 200, description = "As it is now.", body = OrgView, headers(("ETag" = String, description = "Strong; changes with the name."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = [])),
)]
async fn view(State(app): State<App>, caller: Caller, request: HeaderMap) -> Result<Response, Problem> {
    let org = app.store.org_get(caller.org).await?.ok_or_else(|| Problem::not_found("org"))?;
    etag::tagged_unless_known(&app, org.version, &request, OrgView::from(org))
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RenameOrg, example = json!({"name": "Acme"}))]
#[serde(deny_unknown_fields)]
struct Rename {
    #[schema(inline)]
    name: Name,
}

/// Gives the org that the request acts in another name.
///
/// Its id stays, and so does everything that it has. Titles that were made of the old name stay as they are.
#[utoipa::path(
    patch,
    path = "/api/org",
    operation_id = "org_rename",
    tag = "installation",
    request_body = Rename,
    responses((status = 200, description = "As it is now.", body = OrgView, headers(("ETag" = String, description = "Of the new state."))), (status = 412, description = "It is not in the state that `If-Match` names.")),
    security(("token" = ["org.write"])),
)]
async fn rename(
    State(app): State<App>,
    caller: Caller,
    request: HeaderMap,
    Json(new): Json<Rename>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    let name = new.name.trimmed();
    let renamed = app.store.org_rename(caller.org, &name, &expected, &caller.actor()).await?;
    Ok(etag::tagged(&app, renamed.version, OrgView::from(renamed)))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use domain::tenancy::{Role, Scope};
    use serde_json::json;

    use crate::testing::{World, request};

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

    #[tokio::test]
    async fn an_org_is_renamed_by_whoever_has_seen_it_as_it_is() {
        let world = World::new().await;
        let found = world.get("/api/org").await;
        let tag = found.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(found.expect(200)["name"], "Acme");
        let renamed = world.patch_if("/api/org", &tag, json!({"name": " Acme & Co "})).await;
        assert_eq!(renamed.expect(200)["name"], "Acme & Co");
        world.patch_if("/api/org", &tag, json!({"name": "Late"})).await.expect_problem(412, "precondition_failed");
        let same = world.patch("/api/org", json!({"name": "Acme & Co"})).await;
        assert_eq!(same.headers["etag"], renamed.headers["etag"], "nothing changed");
        assert_eq!(world.get("/api/workspace").await.expect(200)["org"]["name"], "Acme & Co");

        let audit = world.get("/api/audit?limit=200").await.expect(200);
        let entries = audit["items"].as_array().unwrap().iter().filter(|one| one["action"] == "org.rename");
        let details: Vec<_> = entries.map(|one| &one["detail"]).collect();
        assert_eq!(details, [&json!({"before": "Acme", "after": "Acme & Co"})]);
    }

    #[tokio::test]
    async fn owners_and_admins_rename_their_own_org_and_nobody_elses() {
        let world = World::new().await;
        let both = [Scope::Read, Scope::Write];
        for role in [Role::Owner, Role::Admin] {
            let token = world.member(world.org, role, &both).await;
            world.patch_as(&token, "/api/org", json!({"name": role.as_str()})).await.expect(200);
        }
        for role in [Role::Member, Role::Viewer, Role::Operator, Role::Auditor] {
            let token = world.member(world.org, role, &both).await;
            world.patch_as(&token, "/api/org", json!({"name": "mine"})).await.expect_problem(403, "forbidden");
            assert_eq!(world.get_as(&token, "/api/org").await.expect(200)["name"], "admin");
        }
        let (other, stranger) = world.other_org().await;
        let body = || Body::from(json!({"name": "theirs"}).to_string());
        let in_org = |token: &str, org: ids::OrgId| {
            let request = request("PATCH", "/api/org", token).header("content-type", "application/json");
            request.header("cowork-org", org.to_string()).body(body()).unwrap()
        };
        world.send(in_org(&stranger, world.org)).await.expect_problem(403, "forbidden");
        world.send(in_org(&world.operator, other)).await.expect(200);
        assert_eq!(world.get("/api/org").await.expect(200)["name"], "admin");
        assert_eq!(world.get_as(&stranger, "/api/org").await.expect(200)["name"], "theirs");
    }
}
