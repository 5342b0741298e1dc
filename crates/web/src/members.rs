//! Members: accounts and what they are in the caller's org.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use clock::Timestamp;
use domain::permission::Permissions;
use domain::tenancy::RoleName;
use ids::{AccountId, OrgId};
use serde::{Deserialize, Serialize};
use store::{Member, Removal};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::{Email, Name};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(view, remove, change))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberView {
    account_id: AccountId,
    email: String,
    display_name: String,
    #[schema(value_type = String)]
    role: RoleName,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        let Member { account_id, email, display_name, role, created_at, version: _ } = member;
        Self { account_id, email, display_name, role, created_at }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"email": "bob@example.org", "display_name": "Bob", "role": "member"}))]
#[serde(deny_unknown_fields)]
struct NewMember {
    #[schema(inline)]
    email: Email,
    #[schema(inline)]
    display_name: Name,
    role: RoleName,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeMember)]
#[serde(deny_unknown_fields)]
struct Change {
    role: RoleName,
}

/// Adds an account to the org. One that nobody has yet is made.
#[utoipa::path(
    post,
    path = "/api/members",
    operation_id = "member_create",
    tag = "members",
    request_body = NewMember,
    responses((status = 201, description = "The account belongs to the org.", body = MemberView), (status = 409, description = "The account belongs to the org already.")),
    security(("token" = ["members.write"])),
)]
async fn add(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewMember>,
) -> Result<(StatusCode, Json<MemberView>), Problem> {
    let Email(email) = new.email;
    let display_name = new.display_name.trimmed();
    caller.must_cover(known(&app, caller.org, &new.role).await?)?;
    app.store.policy_get(caller.org).await?.policy.judge_email(&email)?;
    let new = store::NewMember { email, display_name, role: new.role };
    let added = app.store.member_add(caller.org, &new, &caller.actor()).await?;
    let member = added.ok_or_else(|| Problem::conflict("this account is a member of the org already"))?;
    Ok((StatusCode::CREATED, Json(member.into())))
}

/// A member.
#[utoipa::path(
    get,
    path = "/api/members/{account_id}",
    operation_id = "member_view",
    tag = "members",
    responses((status = 200, description = "As it is now.", body = MemberView, headers(("ETag" = String, description = "Strong; of its present state."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["members.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<AccountId>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let member = app.store.member_get(caller.org, account).await?.ok_or_else(|| Problem::not_found("member"))?;
    let version = member.version;
    etag::tagged_unless_known(&app, version, &request, MemberView::from(member))
}

/// Gives a member another role. Takes all permissions of both roles: nobody gives or takes more than they have.
#[utoipa::path(
    patch,
    path = "/api/members/{account_id}",
    operation_id = "member_change",
    tag = "members",
    request_body = Change,
    responses((status = 200, description = "As it is now.", body = MemberView, headers(("ETag" = String, description = "Of the new state."))), (status = 409, description = "An org keeps at least one owner."), (status = 412, description = "It is not in the state that `If-Match` names.")),
    security(("token" = ["members.write"])),
)]
async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<AccountId>,
    request: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    held(&app, &caller, account).await?;
    caller.must_cover(known(&app, caller.org, &change.role).await?)?;
    match app.store.member_change(caller.org, account, &change.role, &expected, &caller.actor()).await? {
        Removal::NoSuchMember => return Err(Problem::not_found("member")),
        Removal::LastOwner => return Err(Problem::conflict("an org keeps at least one owner")),
        Removal::Stale => return Err(Problem::stale()),
        Removal::Done => {}
    }
    let member = app.store.member_get(caller.org, account).await?.ok_or_else(|| Problem::not_found("member"))?;
    Ok(etag::tagged(&app, member.version, MemberView::from(member)))
}

/// What a role of the org permits.
pub(crate) async fn known(app: &App, org: OrgId, role: &RoleName) -> Result<Permissions, Problem> {
    let permissions = app.store.role_permissions(org, role).await?;
    permissions.ok_or_else(|| Problem::not_found("role"))
}

/// Whether the caller stands above a member: it has all permissions that the member has.
pub(crate) async fn held(app: &App, caller: &Caller, account: AccountId) -> Result<(), Problem> {
    let member = app.store.member_get(caller.org, account).await?.ok_or_else(|| Problem::not_found("member"))?;
    caller.must_cover(app.store.role_permissions(caller.org, &member.role).await?.unwrap_or_default())
}

/// Takes an account out of the org. Its tokens and browser sessions there are revoked for good.
#[utoipa::path(
    delete,
    path = "/api/members/{account_id}",
    operation_id = "member_remove",
    tag = "members",
    responses((status = 204, description = "It is no member any more."), (status = 409, description = "An org keeps at least one owner."), (status = 412, description = "It is not in the state that `If-Match` names."), (status = 503, description = "It is done here, and the recovery ledger does not know of it yet: ask again.")),
    security(("token" = ["members.write"])),
)]
async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<AccountId>,
    request: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = etag::expected(&app, &request)?;
    if app.store.member_get(caller.org, account).await?.is_none() {
        // Perhaps somebody asks again who was not told that it is remembered.
        app.remember().await?;
        return Err(Problem::not_found("member"));
    }
    held(&app, &caller, account).await?;
    match app.store.member_remove(caller.org, account, &expected, &caller.actor()).await? {
        Removal::NoSuchMember => Err(Problem::not_found("member")),
        Removal::LastOwner => Err(Problem::conflict("an org keeps at least one owner")),
        Removal::Stale => Err(Problem::stale()),
        Removal::Done => app.remember().await.map(|()| StatusCode::NO_CONTENT),
    }
}

/// Who belongs to the org, and as what.
#[utoipa::path(
    get,
    path = "/api/members",
    operation_id = "member_list",
    tag = "members",
    params(Paging<AccountId>),
    responses((status = 200, description = "A page of them.", body = Page<MemberView>)),
    security(("token" = ["members.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<AccountId>>,
) -> Result<Json<Page<MemberView>>, Problem> {
    let members = app.store.member_list(caller.org, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(members, paging.limit(), |member| member.account_id).map(MemberView::from)))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use domain::tenancy::{Role, Scope};
    use serde_json::json;

    use crate::testing::{World, request};

    #[tokio::test]
    async fn a_member_gets_another_role_from_somebody_who_has_more() {
        let world = World::new().await;
        let admin = world.member(world.org, Role::Admin, &[Scope::Read, Scope::Write]).await;
        let member = world.member(world.org, Role::Member, &[Scope::Read, Scope::Write]).await;
        let me = world.get_as(&member, "/api/workspace").await.expect(200)["account"]["account_id"].clone();
        let path = format!("/api/members/{}", me.as_str().unwrap());
        world.patch_as(&member, &path, json!({"role": "owner"})).await.expect_problem(403, "forbidden");
        world.patch_as(&admin, &path, json!({"role": "owner"})).await.expect_problem(403, "forbidden");
        world.patch_as(&admin, &path, json!({"role": "nobody"})).await.expect_problem(404, "not_found");
        assert_eq!(world.patch_as(&admin, &path, json!({"role": "auditor"})).await.expect(200)["role"], "auditor");
        world.get_as(&member, "/api/audit").await.expect(200);
        world.get_as(&member, "/api/sessions").await.expect_problem(403, "forbidden");
        let owner = format!("/api/members/{}", world.owner);
        world.patch_as(&admin, &owner, json!({"role": "viewer"})).await.expect_problem(403, "forbidden");
        world.delete_as(&admin, &owner).await.expect_problem(403, "forbidden");
        world.patch(&owner, json!({"role": "viewer"})).await.expect_problem(409, "conflict");
        let (_, stranger) = world.other_org().await;
        world.patch_as(&stranger, &path, json!({"role": "viewer"})).await.expect_problem(404, "not_found");
    }

    #[tokio::test]
    async fn of_two_who_change_a_member_the_second_is_told() {
        let world = World::new().await;
        let new = json!({"email": "bob@example.org", "display_name": "Bob", "role": "member"});
        let id = world.post("/api/members", new).await.expect(201)["account_id"].clone();
        let path = format!("/api/members/{}", id.as_str().unwrap());
        let tag = world.get(&path).await.headers["etag"].clone();
        let send = async |method: &str, role: &str| {
            let request = request(method, &path, &world.operator).header("content-type", "application/json");
            let body = json!({"role": role}).to_string();
            world.send(request.header("if-match", tag.clone()).body(Body::from(body)).unwrap()).await
        };
        send("PATCH", "viewer").await.expect(200);
        send("PATCH", "admin").await.expect_problem(412, "precondition_failed");
        send("DELETE", "admin").await.expect_problem(412, "precondition_failed");
        assert_eq!(world.get(&path).await.expect(200)["role"], "viewer");
    }

    #[tokio::test]
    async fn somebody_joins_an_org_once() {
        let world = World::new().await;
        let body = json!({"email": " Bob@Example.org", "display_name": "Bob", "role": "member"});
        let added = world.post("/api/members", body.clone()).await.expect(201);
        insta::assert_json_snapshot!(added, {".account_id" => "[id]"}, @r#"
        {
          "account_id": "[id]",
          "created_at": "2024-10-04T00:00:00Z",
          "display_name": "Bob",
          "email": "bob@example.org",
          "role": "member"
        }
        "#);
        world.post("/api/members", body).await.expect_problem(409, "conflict");
        assert_eq!(world.get("/api/members").await.expect(200)["items"].as_array().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn an_account_that_exists_joins_another_org_under_its_own_name() {
        let world = World::new().await;
        let (_, stranger) = world.other_org().await;
        let body = json!({"email": "ada@example.org", "display_name": "Impostor", "role": "viewer"});
        let added = world.post_as(&stranger, "/api/members", body).await.expect(201);
        assert_eq!((&added["account_id"], &added["display_name"]), (&json!(world.owner), &json!("Ada")));
    }

    #[tokio::test]
    async fn an_org_sees_its_own_members_only() {
        let world = World::new().await;
        let (_, stranger) = world.other_org().await;
        let seen = world.get_as(&stranger, "/api/members").await.expect(200);
        assert_eq!(seen["items"].as_array().unwrap().len(), 1);
        assert_ne!(seen["items"][0]["account_id"], json!(world.owner));
    }
}
