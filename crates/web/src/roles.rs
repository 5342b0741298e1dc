//! Roles: names for sets of permissions. Six are built in; an org makes others.

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::permission::{Permission, Permissions};
use domain::tenancy::{Role, RoleName};
use serde::{Deserialize, Serialize};
use store::{CustomRole, RoleDeletion};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put, delete))
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

#[derive(Debug, Serialize, ToSchema)]
struct Roles {
    items: Vec<RoleView>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PutRole)]
#[serde(deny_unknown_fields)]
struct Put {
    #[schema(min_items = 1)]
    permissions: Vec<Permission>,
}

/// The roles that members can have: those that are built in, then the org's own by name.
#[utoipa::path(
    get,
    path = "/api/roles",
    operation_id = "role_list",
    tag = "members",
    responses((status = 200, description = "All of them.", body = Roles)),
    security(("token" = ["members.read"])),
)]
async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Roles>, Problem> {
    let own = app.store.role_list(caller.org).await?;
    let items = Role::ALL.into_iter().map(RoleView::from).chain(own.into_iter().map(RoleView::from));
    Ok(Json(Roles { items: items.collect() }))
}

/// Makes a role, or changes what it permits, at once for all who have it. Nobody puts into a role what they don't have.
#[utoipa::path(
    put,
    path = "/api/roles/{role}",
    operation_id = "role_put",
    tag = "members",
    request_body = Put,
    responses((status = 200, description = "As it is now.", body = RoleView)),
    security(("token" = ["roles.write"])),
)]
async fn put(
    State(app): State<App>,
    caller: Caller,
    Path(role): Path<String>,
    Json(new): Json<Put>,
) -> Result<Json<RoleView>, Problem> {
    let name = custom(&role)?;
    let permissions: Permissions = new.permissions.into_iter().collect();
    if permissions == Permissions::default() {
        return Err(Problem::invalid("a role has at least one permission"));
    }
    if permissions.iter().any(Permission::above_orgs) {
        return Err(Problem::invalid("no role of an org reaches above it: leave out what begins with installation"));
    }
    if let Some(before) = app.store.role_permissions(caller.org, &RoleName::Custom(name.clone())).await? {
        caller.must_cover(before)?;
    }
    caller.must_cover(permissions)?;
    Ok(Json(app.store.role_put(caller.org, &name, permissions, &caller.actor()).await?.into()))
}

/// Takes a role away that no member has.
#[utoipa::path(
    delete,
    path = "/api/roles/{role}",
    operation_id = "role_delete",
    tag = "members",
    responses((status = 204, description = "It is gone.")),
    security(("token" = ["roles.write"])),
)]
async fn delete(State(app): State<App>, caller: Caller, Path(role): Path<String>) -> Result<StatusCode, Problem> {
    let Ok(RoleName::Custom(name)) = role.parse() else { return Err(Problem::not_found("role of the org's own")) };
    match app.store.role_delete(caller.org, &name, &caller.actor()).await? {
        RoleDeletion::Done => Ok(StatusCode::NO_CONTENT),
        RoleDeletion::NoSuchRole => Err(Problem::not_found("role")),
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
    use domain::tenancy::Scope;
    use serde_json::json;

    use super::*;
    use crate::testing::World;

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
