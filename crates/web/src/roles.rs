//! Roles: names for sets of permissions. Six are built in; an org makes others.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use clock::Timestamp;
use domain::permission::{Permission, Permissions};
use domain::tenancy::{Role, RoleName};
use serde::{Deserialize, Serialize};
use store::{CustomRole, RoleDeletion};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(view, put, delete))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Role)]
struct RoleView {
    name: String,
    /// Every org has it, and nobody changes it.
    built_in: bool,
    permissions: Vec<Permission>,
    /// `null`: it is built in.
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
}

impl From<Role> for RoleView {
    fn from(role: Role) -> Self {
        let permissions = role.permissions().iter().collect();
        Self { name: role.as_str().to_owned(), built_in: true, permissions, updated_at: None }
    }
}

impl From<CustomRole> for RoleView {
    fn from(role: CustomRole) -> Self {
        let permissions = role.permissions.iter().collect();
        Self { name: role.name, built_in: false, permissions, updated_at: Some(role.updated_at) }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PutRole)]
#[serde(deny_unknown_fields)]
struct Put {
    /// One that is named again counts once.
    #[schema(min_items = 1)]
    permissions: Vec<OfAnOrg>,
}

/// A permission that roles can have: one that does not reach above orgs.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Permission")]
pub(crate) struct OfAnOrg(Permission);

impl OfAnOrg {
    pub(crate) fn all() -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(|permission| !permission.above_orgs())
    }
}

impl TryFrom<Permission> for OfAnOrg {
    type Error = &'static str;

    fn try_from(permission: Permission) -> Result<Self, Self::Error> {
        let above = "no role of an org reaches above it: leave out what begins with installation";
        if permission.above_orgs() { Err(above) } else { Ok(Self(permission)) }
    }
}

impl PartialSchema for OfAnOrg {
    fn schema() -> RefOr<Schema> {
        let names = Self::all().map(Permission::as_str);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build().into()
    }
}

impl ToSchema for OfAnOrg {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("OrgPermission")
    }
}

/// The roles that members can have: those that are built in, then the org's own by name.
#[utoipa::path(
    get,
    path = "/api/roles",
    operation_id = "role_list",
    tag = "members",
    params(Paging<RoleName>),
    responses((status = 200, description = "A page of them.", body = Page<RoleView>)),
    security(("token" = ["members.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<RoleName>>,
) -> Result<Json<Page<RoleView>>, Problem> {
    let limit = paging.limit();
    let (seen, after) = match &paging.cursor {
        None => (0, None),
        Some(RoleName::BuiltIn(last)) => (1 + Role::ALL.iter().take_while(|role| *role != last).count(), None),
        Some(RoleName::Custom(last)) => (Role::ALL.len(), Some(last.as_str())),
    };
    let own = app.store.role_list(caller.org, after, limit).await?;
    let all = Role::ALL.into_iter().skip(seen).map(RoleView::from).chain(own.into_iter().map(RoleView::from));
    let items = all.take(usize::try_from(limit).unwrap_or_default()).collect();
    Ok(Json(Page::of(items, limit, |role: &RoleView| role.name.clone())))
}

/// A role of the org's own.
#[utoipa::path(
    get,
    path = "/api/roles/{role}",
    operation_id = "role_view",
    tag = "members",
    responses((status = 200, description = "As it is now.", body = RoleView, headers(("ETag" = String, description = "Strong; of its present state."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["members.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(role): Path<String>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let role =
        app.store.role_get(caller.org, &role).await?.ok_or_else(|| Problem::not_found("role of the org's own"))?;
    let version = role.version;
    etag::tagged_unless_known(&app, version, &request, RoleView::from(role))
}

/// Makes a role, or changes what it permits, at once for all who have it. Nobody puts into a role what they don't have.
/// With `If-None-Match: *` it is made only if there is none of this name.
#[utoipa::path(
    put,
    path = "/api/roles/{role}",
    operation_id = "role_put",
    tag = "members",
    request_body = Put,
    responses((status = 200, description = "As it is now.", body = RoleView, headers(("ETag" = String, description = "Of the new state."))), (status = 412, description = "It is not in the state that `If-Match` names, or it is there in spite of `If-None-Match: *`.")),
    security(("token" = ["roles.write"])),
)]
async fn put(
    State(app): State<App>,
    caller: Caller,
    Path(role): Path<String>,
    request: HeaderMap,
    Json(new): Json<Put>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    let name = custom(&role)?;
    let all = OfAnOrg::all().count();
    if new.permissions.len() > all {
        return Err(Problem::invalid(format!("permissions has at most {all} entries: there are no more permissions")));
    }
    let permissions: Permissions = new.permissions.into_iter().map(|OfAnOrg(permission)| permission).collect();
    if permissions == Permissions::default() {
        return Err(Problem::invalid("a role has at least one permission"));
    }
    if let Some(before) = app.store.role_permissions(caller.org, &RoleName::Custom(name.clone())).await? {
        caller.must_cover(before)?;
    }
    caller.must_cover(permissions)?;
    let put = app.store.role_put(caller.org, &name, permissions, &expected, &caller.actor()).await?;
    let role = put.ok_or_else(Problem::stale)?;
    Ok(etag::tagged(&app, role.version, RoleView::from(role)))
}

/// Takes a role away that no member has.
#[utoipa::path(
    delete,
    path = "/api/roles/{role}",
    operation_id = "role_delete",
    tag = "members",
    responses((status = 204, description = "It is gone."), (status = 412, description = "It is not in the state that `If-Match` names.")),
    security(("token" = ["roles.write"])),
)]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(role): Path<String>,
    request: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = etag::expected(&app, &request)?;
    let Ok(RoleName::Custom(name)) = role.parse() else { return Err(Problem::not_found("role of the org's own")) };
    match app.store.role_delete(caller.org, &name, &expected, &caller.actor()).await? {
        RoleDeletion::Done => Ok(StatusCode::NO_CONTENT),
        RoleDeletion::NoSuchRole => Err(Problem::not_found("role")),
        RoleDeletion::Stale => Err(Problem::stale()),
        RoleDeletion::InUse => Err(Problem::conflict("members have this role: give them another one first")),
    }
}

fn custom(role: &str) -> Result<String, Problem> {
    match role.parse() {
        Ok(RoleName::Custom(name)) => Ok(name),
        Ok(RoleName::BuiltIn(_)) => Err(Problem::conflict("this role is built in: choose another name")),
        Err(_) => Err(Problem::invalid(
            "a role's name has lower-case letters, digits and hyphens, 50 at most, a letter first",
        )),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use domain::tenancy::Scope;
    use serde_json::json;

    use super::*;
    use crate::testing::{World, request};

    #[tokio::test]
    async fn a_role_of_the_orgs_own_gives_what_it_names_at_once() {
        let world = World::new().await;
        let put = world.put("/api/roles/on-call", json!({"permissions": ["channels.read"]})).await.expect(200);
        assert_eq!((&put["name"], &put["built_in"]), (&json!("on-call"), &json!(false)));
        let role = RoleName::Custom("on-call".into());
        let token = world.member(world.org, role, &[Scope::Read, Scope::Write]).await;
        world.get_as(&token, "/api/deliveries").await.expect(200);
        world.get_as(&token, "/api/sessions").await.expect_problem(403, "forbidden");
        world.put("/api/roles/on-call", json!({"permissions": ["sessions.read"]})).await.expect(200);
        world.get_as(&token, "/api/sessions").await.expect(200);
        world.get_as(&token, "/api/deliveries").await.expect_problem(403, "forbidden");
        world.delete("/api/roles/on-call").await.expect_problem(409, "conflict");
        let names: Vec<_> = world.get("/api/roles").await.expect(200)["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|role| role["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["owner", "admin", "member", "viewer", "operator", "auditor", "on-call"]);
    }

    #[tokio::test]
    async fn of_two_who_change_a_role_the_second_is_told() {
        let world = World::new().await;
        let send = async |method: &str, condition: (&str, &str), permission: &str| {
            let request =
                request(method, "/api/roles/ours", &world.operator).header("content-type", "application/json");
            let body = json!({"permissions": [permission]}).to_string();
            world.send(request.header(condition.0, condition.1).body(Body::from(body)).unwrap()).await
        };
        let made = send("PUT", ("if-none-match", "*"), "audit.read").await;
        made.expect(200);
        send("PUT", ("if-none-match", "*"), "usage.read").await.expect_problem(412, "precondition_failed");
        let first = made.headers["etag"].to_str().unwrap();
        assert_eq!(world.get("/api/roles/ours").await.headers["etag"], first);
        let second = send("PUT", ("if-match", first), "usage.read").await;
        second.expect(200);
        send("PUT", ("if-match", first), "audit.read").await.expect_problem(412, "precondition_failed");
        send("DELETE", ("if-match", first), "audit.read").await.expect_problem(412, "precondition_failed");
        let second = second.headers["etag"].to_str().unwrap();
        send("DELETE", ("if-match", second), "audit.read").await.expect(204);
        world.clock.advance(chrono::TimeDelta::microseconds(1));
        world.put("/api/roles/ours", json!({"permissions": ["audit.read"]})).await.expect(200);
        send("PUT", ("if-match", first), "usage.read").await.expect_problem(412, "precondition_failed");
    }

    #[tokio::test]
    async fn nobody_makes_a_role_that_gives_more_than_they_have() {
        let world = World::new().await;
        let admin = world.member(world.org, Role::Admin, &[Scope::Read, Scope::Write]).await;
        let erase = json!({"permissions": ["subjects.erase"]});
        world.put_as(&admin, "/api/roles/eraser", erase.clone()).await.expect_problem(403, "forbidden");
        world.put("/api/roles/eraser", erase).await.expect(200);
        let tamer = json!({"permissions": ["sessions.read"]});
        world.put_as(&admin, "/api/roles/eraser", tamer).await.expect_problem(403, "forbidden");
        let above = json!({"permissions": ["installation.write"]});
        world.put("/api/roles/root", above).await.expect_problem(422, "invalid");
    }

    #[tokio::test]
    async fn pages_of_roles_go_on_where_the_last_one_ended_also_among_those_that_are_built_in() {
        let world = World::new().await;
        for name in ["a", "b", "zz"] {
            let body = json!({"permissions": ["sessions.read"]});
            world.put(&format!("/api/roles/{name}"), body).await.expect(200);
        }
        let all = world.get("/api/roles").await.expect(200);
        assert_eq!((all["items"].as_array().unwrap().len(), &all["next_cursor"]), (9, &json!(null)));
        for limit in [1, 4, 6, 7] {
            let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}"));
            loop {
                let page = world.get(&format!("/api/roles{query}")).await.expect(200);
                assert!(page["items"].as_array().unwrap().len() <= limit, "{page}");
                seen.extend(page["items"].as_array().unwrap().clone());
                let Some(cursor) = page["next_cursor"].as_str() else { break };
                query = format!("?limit={limit}&cursor={cursor}");
            }
            assert_eq!(all["items"], json!(seen), "{limit}");
        }
    }

    #[tokio::test]
    async fn a_role_names_at_most_as_many_permissions_as_there_are() {
        let world = World::new().await;
        let most = OfAnOrg::all().count();
        let put = async |names: Vec<&str>| world.put("/api/roles/ours", json!({"permissions": names})).await;
        let put_once = put(vec!["audit.read"; most]).await.expect(200);
        assert_eq!(put_once["permissions"], json!(["audit.read"]));
        put(vec!["audit.read"; most + 1]).await.expect_problem(422, "invalid");
    }

    #[tokio::test]
    async fn a_name_that_could_be_taken_for_another_is_refused() {
        let world = World::new().await;
        let body = json!({"permissions": ["sessions.read"]});
        for (name, status) in [("owner", 409), ("%D0%B0dmin", 422), ("On-Call", 422), ("a%20b", 422)] {
            let answer = world.put(&format!("/api/roles/{name}"), body.clone()).await;
            assert_eq!(answer.status, status, "{name}");
        }
        world.put("/api/roles/empty", json!({"permissions": []})).await.expect_problem(422, "invalid");
        world.put("/api/roles/odd", json!({"permissions": ["dance"]})).await.expect_problem(422, "invalid");
        let (_, stranger) = world.other_org().await;
        world.put("/api/roles/ours", body).await.expect(200);
        world.delete_as(&stranger, "/api/roles/ours").await.expect_problem(404, "not_found");
        world.delete("/api/roles/ours").await.expect(204);
    }
}
