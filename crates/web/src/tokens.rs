//! API tokens. Everybody makes and revokes their own; owners and admins those of others, too.
//!
//! A token's text is in the answer that creates it and nowhere else, ever.

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::permission::Permission;
use domain::tenancy::{Scope, may_grant};
use ids::{AccountId, TokenId};
use serde::{Deserialize, Serialize};
use store::Token;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api_token::ApiToken;
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::members;
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::Name;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(view, revoke))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenView {
    token_id: TokenId,
    account_id: AccountId,
    name: String,
    /// What it begins with. `null`: it was made before that was kept, or its account was erased.
    prefix: Option<String>,
    last_four: String,
    #[schema(value_type = Vec<String>, example = json!(["read"]))]
    scopes: Vec<Scope>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// To the minute: a use is told when about one has passed. `null`: never, or not since it is noted.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        let Token { token_id, account_id, name, prefix, last_four, scopes, created_at, .. } = token;
        // Tokens of before may name one more than once.
        let scopes = each_once(&scopes);
        Self {
            token_id,
            account_id,
            name,
            prefix,
            last_four,
            scopes,
            created_at,
            last_used_at: token.last_used_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct CreatedToken {
    #[serde(flatten)]
    view: TokenView,
    token: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "ci", "scopes": ["read"]}))]
#[serde(deny_unknown_fields)]
struct NewToken {
    #[schema(inline)]
    name: Name,
    /// One that is named again counts once.
    #[schema(min_items = 1, example = json!(["read"]))]
    scopes: Vec<Scope>,
    /// Default: the caller's own.
    account_id: Option<AccountId>,
    /// Default: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// Makes a token, for the caller's own account or, by an owner or admin, for another.
#[utoipa::path(
    post,
    path = "/api/tokens",
    operation_id = "token_create",
    tag = "tokens",
    request_body = NewToken,
    responses((status = 201, description = "It is in force. Its text is shown only here.", body = CreatedToken)),
    security(("token" = ["tokens.write"])),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Json<CreatedToken>), Problem> {
    let account = new.account_id.unwrap_or(caller.account);
    check(&caller, account, &new.scopes)?;
    if account != caller.account && app.store.member_get(caller.org, account).await?.is_some() {
        members::held(&app, &caller, account).await?;
    }
    let now = app.store.sources().now();
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(Problem::invalid("expires_at is in the future"));
    }
    app.store.policy_get(caller.org).await?.policy.judge_token(new.expires_at, now)?;
    let token = ApiToken::generate(app.store.sources());
    let hash = token.hash();
    let new = store::NewToken {
        account,
        name: new.name.trimmed(),
        hash,
        prefix: token.prefix(),
        last_four: token.last_four(),
        scopes: each_once(&new.scopes),
        expires_at: new.expires_at,
    };
    let created = app.store.token_create(caller.org, &new, &caller.actor()).await?;
    let view = created.ok_or_else(|| Problem::not_found("account"))?.into();
    app.guesses.prove(hash, now);
    Ok((StatusCode::CREATED, Json(CreatedToken { view, token: token.expose().to_owned() })))
}

fn check(caller: &Caller, account: AccountId, scopes: &[Scope]) -> Result<(), Problem> {
    if scopes.is_empty() {
        return Err(Problem::invalid("scopes has at least one of read, write, operator, or the name of a permission"));
    }
    let all = Scope::all().count();
    if scopes.len() > all {
        return Err(Problem::invalid(format!("scopes has at most {all} entries: there are no more scopes")));
    }
    if !may_grant(&caller.scopes, scopes) {
        return Err(Problem::forbidden("a token can't have a scope that the token which makes it lacks"));
    }
    if account != caller.account && !caller.may(Permission::TokensManage) {
        return Err(Problem::forbidden("making a token for another account takes the permission tokens.manage"));
    }
    Ok(())
}

/// In the order in which they came.
pub(crate) fn each_once(scopes: &[Scope]) -> Vec<Scope> {
    let mut kept = Vec::new();
    for scope in scopes {
        if !kept.contains(scope) {
            kept.push(*scope);
        }
    }
    kept
}

/// The tokens of the org, without their texts, oldest first.
#[utoipa::path(
    get,
    path = "/api/tokens",
    operation_id = "token_list",
    tag = "tokens",
    params(Paging<TokenId>),
    responses((status = 200, description = "A page of them.", body = Page<TokenView>)),
    security(("token" = ["tokens.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<TokenId>>,
) -> Result<Json<Page<TokenView>>, Problem> {
    let tokens = app.store.token_list(caller.org, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(tokens, paging.limit(), |token| token.token_id).map(TokenView::from)))
}

/// A token of the org, without its text.
#[utoipa::path(
    get,
    path = "/api/tokens/{token_id}",
    operation_id = "token_view",
    tag = "tokens",
    responses((status = 200, description = "As it is now; also one that was revoked.", body = TokenView)),
    security(("token" = ["tokens.read"])),
)]
async fn view(State(app): State<App>, caller: Caller, Path(token): Path<TokenId>) -> Result<Json<TokenView>, Problem> {
    let found = app.store.token_get(caller.org, token).await?;
    found.map(|token| Json(token.into())).ok_or_else(|| Problem::not_found("token"))
}

/// Takes a token out of force. Revoking twice changes nothing.
#[utoipa::path(
    delete,
    path = "/api/tokens/{token_id}",
    operation_id = "token_revoke",
    tag = "tokens",
    responses((status = 204, description = "It is no longer in force."), (status = 503, description = "It is done here, and the recovery ledger does not know of it yet: ask again.")),
    security(("token" = ["tokens.write"])),
)]
async fn revoke(State(app): State<App>, caller: Caller, Path(token): Path<TokenId>) -> Result<StatusCode, Problem> {
    let only = (!caller.may(Permission::TokensManage)).then_some(caller.account);
    let found = app.store.token_revoke(caller.org, token, only, &caller.actor()).await?;
    app.remember().await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("token")) }
}

#[cfg(test)]
mod tests {
    use domain::tenancy::Role;
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn a_token_is_shown_once_and_works() {
        let world = World::new().await;
        let body = json!({"name": "ci", "scopes": ["read"]});
        let created = world.post("/api/tokens", body).await.expect(201);
        insta::assert_json_snapshot!(created, {
            ".token_id" => "[id]", ".account_id" => "[id]", ".token" => "[token]", ".last_four" => "[last_four]",
            ".prefix" => "[prefix]",
        }, @r#"
        {
          "account_id": "[id]",
          "created_at": "2024-10-04T00:00:00Z",
          "expires_at": null,
          "last_four": "[last_four]",
          "last_used_at": null,
          "name": "ci",
          "prefix": "[prefix]",
          "revoked_at": null,
          "scopes": [
            "read"
          ],
          "token": "[token]",
          "token_id": "[id]"
        }
        "#);
        let token = created["token"].as_str().unwrap();
        world.get_as(token, "/api/usage").await.expect(200);
        let list = world.get("/api/tokens").await;
        assert!(!String::from_utf8_lossy(&list.body).contains(token));
    }

    #[tokio::test]
    async fn a_token_is_read_by_itself_as_it_stands_in_the_list_and_by_nobody_of_another_org() {
        let world = World::new().await;
        let made = world.post("/api/tokens", json!({"name": "ci", "scopes": ["read"]})).await.expect(201);
        let path = format!("/api/tokens/{}", made["token_id"].as_str().unwrap());
        let listed = async || {
            let all = world.get("/api/tokens").await.expect(200)["items"].as_array().unwrap().clone();
            all.into_iter().find(|one| one["token_id"] == made["token_id"]).unwrap()
        };
        let shown = world.get(&path).await.expect(200);
        assert_eq!((&shown, &shown["revoked_at"]), (&listed().await, &serde_json::Value::Null));
        assert_eq!(shown.get("token"), None);
        let (_, stranger) = world.other_org().await;
        world.get_as(&stranger, &path).await.expect_problem(404, "not_found");

        world.delete(&path).await.expect(204);
        let revoked = world.get(&path).await.expect(200);
        assert_eq!(revoked["revoked_at"], "2024-10-04T00:00:00Z");
        assert_eq!(revoked, listed().await);
    }

    #[tokio::test]
    async fn a_token_tells_how_it_begins_and_when_it_was_last_used() {
        let world = World::new().await;
        let made = async || world.post("/api/tokens", json!({"name": "t", "scopes": ["read"]})).await.expect(201);
        let (used, unused) = (made().await, made().await);
        let text = used["token"].as_str().unwrap();
        world.clock.advance(chrono::TimeDelta::minutes(3));
        world.get_as(text, "/api/usage").await.expect(200);
        world.app.store.token_uses_write().await.unwrap();
        let listed = world.get("/api/tokens").await.expect(200);
        let shown = |made: &serde_json::Value| {
            let items = listed["items"].as_array().unwrap();
            items.iter().find(|item| item["token_id"] == made["token_id"]).unwrap().clone()
        };
        assert_eq!(shown(&used)["last_used_at"], "2024-10-04T00:03:00Z");
        assert_eq!(shown(&unused)["last_used_at"], serde_json::Value::Null);
        assert_eq!((&shown(&used)["prefix"], &used["prefix"]), (&json!(text[..8]), &json!(text[..8])));
    }

    #[tokio::test]
    async fn a_scope_that_is_named_again_is_kept_once_and_more_than_there_are_are_refused() {
        let world = World::new().await;
        let make = async |scopes: &[&str]| world.post("/api/tokens", json!({"name": "t", "scopes": scopes})).await;
        let created = make(&["write", "read", "write", "audit.read", "read"]).await.expect(201);
        assert_eq!(created["scopes"], json!(["write", "read", "audit.read"]));
        let listed = world.get("/api/tokens").await.expect(200);
        let kept = listed["items"].as_array().unwrap().iter().find(|item| item["token_id"] == created["token_id"]);
        assert_eq!(kept.unwrap()["scopes"], created["scopes"]);

        let most = Scope::all().count();
        assert_eq!(make(&vec!["read"; most]).await.expect(201)["scopes"], json!(["read"]));
        make(&vec!["read"; most + 1]).await.expect_problem(422, "invalid");
        let described = serde_json::to_value(crate::openapi::document()).unwrap();
        let described = &described["components"]["schemas"]["NewToken"]["properties"]["scopes"];
        assert_eq!(described["maxItems"], most, "the description says the same");
    }

    #[tokio::test]
    async fn nobody_makes_a_token_that_is_stronger_than_their_own() {
        let world = World::new().await;
        let admin = world.member(world.org, Role::Admin, &[Scope::Read, Scope::Write]).await;
        let body = json!({"name": "t", "scopes": ["read", "operator"]});
        world.post_as(&admin, "/api/tokens", body).await.expect_problem(403, "forbidden");
        let body = json!({"name": "t", "scopes": []});
        world.post_as(&admin, "/api/tokens", body).await.expect_problem(422, "invalid");
    }

    #[tokio::test]
    async fn tokens_of_others_take_an_owner_or_admin() {
        let world = World::new().await;
        let member = world.member(world.org, Role::Member, &[Scope::Read, Scope::Write]).await;
        let admin = world.member(world.org, Role::Admin, &[Scope::Read, Scope::Write]).await;
        let body = json!({"name": "t", "scopes": ["read"], "account_id": world.owner});
        world.post_as(&member, "/api/tokens", body.clone()).await.expect_problem(403, "forbidden");
        // An admin with an owner's token would be an owner.
        world.post_as(&admin, "/api/tokens", body).await.expect_problem(403, "forbidden");
        let other = world.member(world.org, Role::Member, &[Scope::Read]).await;
        let account = world.get_as(&other, "/api/workspace").await.expect(200)["account"]["account_id"].clone();
        let body = json!({"name": "t", "scopes": ["read"], "account_id": account});
        let created = world.post_as(&admin, "/api/tokens", body).await.expect(201);
        let path = format!("/api/tokens/{}", created["token_id"].as_str().unwrap());
        world.delete_as(&member, &path).await.expect_problem(404, "not_found");
        let (_, stranger) = world.other_org().await;
        world.delete_as(&stranger, &path).await.expect_problem(404, "not_found");
        world.delete_as(&admin, &path).await.expect(204);
    }

    #[tokio::test]
    async fn a_token_ends_when_it_was_said_to_and_gives_only_what_it_names() {
        let world = World::new().await;
        let body = json!({"name": "t", "scopes": ["audit.read"], "expires_at": "2024-10-04T00:01:00Z"});
        let token = world.post("/api/tokens", body).await.expect(201)["token"].as_str().unwrap().to_owned();
        world.get_as(&token, "/api/audit").await.expect(200);
        world.get_as(&token, "/api/usage").await.expect_problem(403, "forbidden");
        world.clock.advance(chrono::TimeDelta::minutes(1));
        world.get_as(&token, "/api/audit").await.expect_problem(401, "unauthenticated");
        let late = json!({"name": "t", "scopes": ["read"], "expires_at": "2024-10-04T00:01:00Z"});
        world.post("/api/tokens", late).await.expect_problem(422, "invalid");
    }

    #[tokio::test]
    async fn an_account_of_another_org_gets_no_token_here() {
        let world = World::new().await;
        let (_, stranger) = world.other_org().await;
        let body = json!({"name": "t", "scopes": ["read"], "account_id": world.owner});
        world.post_as(&stranger, "/api/tokens", body).await.expect_problem(404, "not_found");
    }
}
