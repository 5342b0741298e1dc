//! Who is calling, and what they may do.
//!
//! [`authenticate`] stands before every route under `/api`, and a handler takes the [`Caller`] that it found. A request that names a
//! token stands and falls with it; only one that names none is looked at for a browser session.
//!
//! Not here: how often somebody may show what is none (`guesses`), cookies and what keeps other sites from using them
//! (`browser_sessions`), whether the caller may use the route (`gate`), what a role or scope permits (`domain::tenancy`).

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use domain::permission::{Permission, Permissions};
use domain::rate::Network;
use domain::tenancy::{RoleName, Scope, permitted};
use ids::{AccountId, OrgId};
use store::{Credential, Identity};

use crate::api_token::ApiToken;
use crate::app::App;
use crate::browser_sessions;
use crate::problem::Problem;

/// The org that an operator wants to act in.
const ORG: HeaderName = HeaderName::from_static("cowork-org");

/// Somebody who showed a token or a browser session that is in force.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The org that the request acts in: that of the token, or for an operator the one of the header `Cowork-Org`.
    pub(crate) org: OrgId,
    /// The org of the token or browser session.
    pub(crate) home: OrgId,
    pub(crate) account: AccountId,
    /// What it showed.
    pub(crate) credential: Credential,
    pub(crate) role: RoleName,
    /// What the role gives as far as the token was made for it.
    pub(crate) permissions: Permissions,
    pub(crate) scopes: Vec<Scope>,
}

impl Caller {
    /// Who it was, for the audit trail.
    pub(crate) fn actor(&self) -> String {
        match self.credential {
            Credential::Token(token) => format!("token:{token}"),
            Credential::BrowserSession(session) => format!("browser_session:{session}"),
        }
    }

    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }

    /// Nobody hands out what they don't have.
    pub(crate) fn must_cover(&self, permissions: Permissions) -> Result<(), Problem> {
        let detail = "nobody gives, takes or changes permissions that they don't have themselves";
        if self.permissions.covers(permissions) { Ok(()) } else { Err(Problem::forbidden(detail)) }
    }
}

/// Lets a request through with its [`Caller`], or answers 401.
pub(crate) async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let from = front::network(request.extensions());
    let caller = caller(&app, from, request.method(), request.headers()).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

async fn caller(app: &App, from: Network, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
    let found = if headers.contains_key(header::AUTHORIZATION) {
        let hash = bearer(headers).ok_or_else(Problem::unauthenticated)?.hash();
        app.guesses.looked_up((from, &hash), app.store.sources(), app.store.token_identify(&hash)).await?
    } else {
        browser_sessions::identify(app, from, method, headers).await?
    };
    let found = found.ok_or_else(Problem::unauthenticated)?;
    let Identity { org, credential, account, role, permissions, scopes } = found;
    let permissions = permitted(permissions, &scopes);
    let caller = Caller { org, home: org, account, credential, role, permissions, scopes };
    match headers.get(ORG) {
        None => Ok(caller),
        Some(value) => acting_in(app, caller, value).await,
    }
}

fn bearer(headers: &HeaderMap) -> Option<ApiToken> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { ApiToken::parse(token.trim()) } else { None }
}

/// The caller in the org that it names. Only an operator may name another than its own.
async fn acting_in(app: &App, caller: Caller, value: &HeaderValue) -> Result<Caller, Problem> {
    let org: Option<OrgId> = value.to_str().ok().and_then(|text| text.parse().ok());
    let org = org.ok_or_else(|| Problem::invalid("the header Cowork-Org holds an org's id"))?;
    if org == caller.org {
        return Ok(caller);
    }
    if !may_act_in(org, caller.home, caller.permissions) {
        return Err(Problem::forbidden("acting in another org takes a token with the scope operator"));
    }
    app.store.org_get(org).await?.ok_or_else(|| Problem::not_found("org"))?;
    Ok(Caller { org, ..caller })
}

/// Whether somebody whose credential is of `home` may act in `org`.
pub(crate) fn may_act_in(org: OrgId, home: OrgId, permissions: Permissions) -> bool {
    org == home || permissions.contains(Permission::InstallationWrite)
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use serde_json::json;

    use domain::tenancy::Role;

    use super::*;
    use crate::testing::{World, request};

    #[tokio::test]
    async fn what_is_no_token_in_force_is_answered_with_a_problem() {
        let world = World::new().await;
        let unknown = ApiToken::generate(world.app.store.sources());
        for value in ["", "Bearer", "Bearer cow_short", &format!("Bearer {}", unknown.expose()), "Basic YTpi"] {
            let request = Request::get("/api/workspace").header("authorization", value).body(Body::empty()).unwrap();
            let answer = world.send(request).await;
            answer.expect_problem(401, "unauthenticated");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }

    #[tokio::test]
    async fn a_token_gives_what_it_was_made_for_and_no_more() {
        let world = World::new().await;
        let reader = world.member(world.org, Role::Owner, &[Scope::Read]).await;
        let viewer = world.member(world.org, Role::Viewer, &[Scope::Read, Scope::Write]).await;
        let member = world.member(world.org, Role::Member, &[Scope::Read, Scope::Write]).await;
        let token = json!({"name": "t", "scopes": ["read"]});
        let person = json!({"email": "new@example.org", "display_name": "New", "role": "member"});

        world.get_as(&reader, "/api/workspace").await.expect(200);
        world.post_as(&reader, "/api/tokens", token.clone()).await.expect_problem(403, "forbidden");
        world.post_as(&viewer, "/api/tokens", token.clone()).await.expect_problem(403, "forbidden");
        world.post_as(&member, "/api/tokens", token).await.expect(201);
        world.post_as(&member, "/api/members", person).await.expect_problem(403, "forbidden");
        for path in ["/api/diagnostics", "/api/metrics", "/api/orgs"] {
            world.get_as(&member, path).await.expect_problem(403, "forbidden");
            world.get(path).await;
        }
    }

    #[tokio::test]
    async fn only_an_operator_acts_in_another_org() {
        let world = World::new().await;
        let (other, owner) = world.other_org().await;
        let in_org = async |token: &str, org: &str| {
            let request = request("GET", "/api/workspace", token).header("cowork-org", org);
            world.send(request.body(Body::empty()).unwrap()).await
        };
        let seen = in_org(&world.operator, &other.to_string()).await.expect(200);
        assert_eq!(seen["org"], json!({"org_id": other, "name": "Other"}));
        in_org(&owner, &other.to_string()).await.expect(200);
        in_org(&owner, &world.org.to_string()).await.expect_problem(403, "forbidden");
        let unknown: OrgId = world.app.store.sources().id();
        in_org(&world.operator, &unknown.to_string()).await.expect_problem(404, "not_found");
        in_org(&world.operator, "acme").await.expect_problem(422, "invalid");
    }

    #[tokio::test]
    async fn a_revoked_token_is_no_longer_in_force() {
        let world = World::new().await;
        let token = world.member(world.org, Role::Member, &[Scope::Read]).await;
        world.get_as(&token, "/api/workspace").await.expect(200);
        let path = format!("/api/tokens/{}", world.token_id(&token).await);
        world.delete(&path).await.expect(204);
        world.get_as(&token, "/api/workspace").await.expect_problem(401, "unauthenticated");
        world.delete(&path).await.expect(204);
        let audit = world.get("/api/audit").await.expect(200);
        let revocations = audit["items"].as_array().unwrap().iter().filter(|item| item["action"] == "token.revoke");
        assert_eq!(revocations.count(), 1, "revoking twice changes nothing");
    }
}
