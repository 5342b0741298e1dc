//! Browser sessions: what a cookie stands for, and the list in which people see and end theirs.
//!
//! A browser sends its cookie whoever made it ask. So a request that changes something counts only if the browser says that it comes
//! from our own origin, and if it brings a token that only somebody who reads our answers has: a tag of the session,
//! which is not stored. Requests with an API token are not affected: no browser adds one by itself.
//!
//! Not here: beginning a session (`sign_in`), what it permits (`store::browser_session`, `domain::tenancy`).

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::Timestamp;
use domain::permission::Permission;
use domain::rate::Network;
use ids::{AccountId, BrowserSessionId};
use serde::Serialize;
use store::{BrowserSession, Credential, Identity};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::sign_in::SignIn;
use crate::sign_in::cookie::{Cookie, SessionSecret};

const CSRF: HeaderName = HeaderName::from_static("cowork-csrf-token");
const PURPOSE: &[u8] = b"csrf v1";

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(current, sign_out)).routes(routes!(revoke))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BrowserSession)]
struct View {
    browser_session_id: BrowserSessionId,
    account_id: AccountId,
    /// What the browser calls itself.
    user_agent: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Up to a minute old.
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Timestamp,
    /// Whether it is used or not. One that is not used ends earlier.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<BrowserSession> for View {
    fn from(session: BrowserSession) -> Self {
        let BrowserSession {
            browser_session_id,
            account_id,
            user_agent,
            created_at,
            last_used_at,
            expires_at,
            revoked_at,
        } = session;
        Self { browser_session_id, account_id, user_agent, created_at, last_used_at, expires_at, revoked_at }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct CurrentBrowserSession {
    #[serde(flatten)]
    view: View,
    /// What a request that changes something brings in the header `Cowork-Csrf-Token`.
    csrf_token: String,
}

/// Whom the request's cookie stands for. `None`: nobody.
///
/// # Errors
/// If the request changes something and may have been made by another site.
pub(crate) async fn identify(
    app: &App,
    from: Network,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Identity>, Problem> {
    let Some(sign_in) = &app.sign_in else { return Ok(None) };
    let Some(secret) = SessionSecret::read(headers, sign_in.secure()) else { return Ok(None) };
    let hash = secret.hash();
    let look = app.store.browser_session_identify(&hash, sign_in.idle());
    let found = app.guesses.looked_up((from, &hash), app.store.sources(), look).await?;
    if found.is_some() && !method.is_safe() && !from_here(app, sign_in, &secret, headers) {
        return Err(Problem::cross_site());
    }
    Ok(found)
}

fn from_here(app: &App, sign_in: &SignIn, secret: &SessionSecret, headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes() == sign_in.origin().as_bytes());
    let shown = headers.get(&CSRF).and_then(|token| URL_SAFE_NO_PAD.decode(token).ok()).unwrap_or_default();
    let tag = app.secrets.cookie.tag(PURPOSE, &secret.hash());
    origin & bool::from(tag[..].ct_eq(&shown))
}

/// The browser sessions of the caller's account in the org, oldest first; with `tokens.manage` those of all accounts. Those that ended
/// are listed for a month after they would have expired.
#[utoipa::path(
    get,
    path = "/api/browser-sessions",
    operation_id = "browser_session_list",
    tag = "browser sessions",
    params(Paging<BrowserSessionId>),
    responses((status = 200, description = "A page of them.", body = Page<View>)),
    security(("token" = [])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<BrowserSessionId>>,
) -> Result<Json<Page<View>>, Problem> {
    let sessions = app.store.browser_session_list(caller.org, theirs(&caller), paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(sessions, paging.limit(), |session| session.browser_session_id).map(View::from)))
}

/// Whose sessions the caller sees and ends. `None`: everybody's.
fn theirs(caller: &Caller) -> Option<AccountId> {
    (!caller.may(Permission::TokensManage)).then_some(caller.account)
}

/// The browser session that the request comes with, and the token that requests which change something need. Not found: it comes
/// with an API token.
#[utoipa::path(
    get,
    path = "/api/browser-sessions/current",
    operation_id = "browser_session_current",
    tag = "browser sessions",
    responses(
        (status = 200, description = "It is in force.", body = CurrentBrowserSession),
        (status = 404, description = "The request comes with an API token."),
        (status = 503, description = "It is no longer in force here, and the recovery ledger does not know of it yet.")
    ),
    security(("token" = [])),
)]
async fn current(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Result<impl IntoResponse, Problem> {
    let (sign_in, session) = of_request(&app, &caller)?;
    let secret = SessionSecret::read(&headers, sign_in.secure()).ok_or_else(Problem::unauthenticated)?;
    let found = app.store.browser_session_get(caller.org, session).await?;
    let view = found.ok_or_else(|| Problem::not_found("browser session"))?.into();
    let csrf_token = URL_SAFE_NO_PAD.encode(app.secrets.cookie.tag(PURPOSE, &secret.hash()));
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(CurrentBrowserSession { view, csrf_token })))
}

/// Signs out: the browser session that the request comes with is no longer in force. The provider is not told: a browser that is
/// signed in there signs in here again without being asked.
#[utoipa::path(
    delete,
    path = "/api/browser-sessions/current",
    operation_id = "browser_session_sign_out",
    tag = "browser sessions",
    responses(
        (status = 204, description = "It is no longer in force."),
        (status = 404, description = "The request comes with an API token."),
        (status = 503, description = "It is no longer in force here, and the recovery ledger does not know of it yet.")
    ),
    security(("token" = [])),
)]
async fn sign_out(State(app): State<App>, caller: Caller) -> Result<impl IntoResponse, Problem> {
    let (sign_in, session) = of_request(&app, &caller)?;
    app.store.browser_session_revoke(caller.org, session, Some(caller.account), &caller.actor()).await?;
    // The browser forgets it in any case: it could not ask again with it.
    let answer = app.remember().await.map(|()| StatusCode::NO_CONTENT);
    Ok(([(header::SET_COOKIE, Cookie::Session.clear(sign_in.secure()))], answer))
}

fn of_request<'a>(app: &'a App, caller: &Caller) -> Result<(&'a SignIn, BrowserSessionId), Problem> {
    match (&app.sign_in, caller.credential) {
        (Some(sign_in), Credential::BrowserSession(session)) => Ok((sign_in, session)),
        _ => Err(Problem::not_found("browser session")),
    }
}

/// Takes a browser session out of force: one's own, or with `tokens.manage` anybody's in the org. An API token needs
/// `tokens.write` for its account's. Revoking twice changes nothing.
#[utoipa::path(
    delete,
    path = "/api/browser-sessions/{browser_session_id}",
    operation_id = "browser_session_revoke",
    tag = "browser sessions",
    responses((status = 204, description = "It is no longer in force."), (status = 503, description = "It is done here, and the recovery ledger does not know of it yet: ask again.")),
    security(("token" = [])),
)]
async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<BrowserSessionId>,
) -> Result<StatusCode, Problem> {
    let needs_none = matches!(caller.credential, Credential::BrowserSession(_));
    if !needs_none && !caller.may(Permission::TokensWrite) && !caller.may(Permission::TokensManage) {
        return Err(Problem::forbidden(
            "this takes the permission tokens.write, of the token and of its account's role",
        ));
    }
    let found = app.store.browser_session_revoke(caller.org, session, theirs(&caller), &caller.actor()).await?;
    app.remember().await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("browser session")) }
}
