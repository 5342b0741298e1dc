//! Signing in with a browser: OpenID Connect, the authorization code flow with PKCE.
//!
//! `GET /auth/sign-in` sends a browser to the provider, `GET /auth/callback` is where it comes back and gets its session. Both
//! are for people: a refusal is a page, unless the client does not read pages. They stand beside `/api` and take no token;
//! what they do is bounded by what the browser carries (`attempt`) and by how many may ask the provider at once (`provider`).
//!
//! Not here: what a session gives (`auth`), listing and ending sessions (`browser_sessions`), who is a member (`store::sign_in`).

mod attempt;
pub(crate) mod cookie;
mod http;
mod invitation;
mod notice;
mod provider;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use clock::Sources;
use domain::name::tidied;
use ids::OrgId;
use secrets::SecretBytes;
use serde::Deserialize;
use store::{NewSignIn, SignInError};
use url::Url;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::Query;
use crate::problem::Problem;
use crate::sign_in::attempt::Attempt;
use crate::sign_in::cookie::{Cookie, SessionSecret};
pub(crate) use crate::sign_in::invitation::InvitationSecret;
use crate::sign_in::notice::{Refusal, SIGNED_IN};
use crate::sign_in::provider::{Person, Provider, ProviderError};

/// Where a browser goes that did not say where it wants to be.
const SIGNED_IN_PATH: &str = "/auth/signed-in";
/// Of somebody who is signed in, in labels of metrics.
const SIGNED_IN_OUTCOME: &str = "signed_in";
/// Bytes of a path to come back to.
const RETURN_TO_MAX: usize = 512;
/// Bytes of what the provider sends with the browser.
const CODE_MAX: usize = 4_096;
/// Characters of what the provider calls a failure, in the log.
const ERROR_MAX: usize = 100;
/// Characters of what a browser calls itself.
const USER_AGENT_MAX: usize = 200;
/// Bytes of a subject (OpenID Connect Core, 2).
const SUBJECT_MAX: usize = 255;

/// What an operator has to say about signing in.
#[derive(Debug, Clone)]
pub struct SignInSettings {
    /// Letter for letter as the provider writes it.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: SecretBytes,
    /// This system's address as browsers know it, with the path of the callback.
    pub redirect_url: String,
    /// Empty: any.
    pub email_domains: Vec<String>,
    /// A session that is not used for so long ends.
    pub idle: TimeDelta,
    /// A session ends after so long.
    pub lifetime: TimeDelta,
}

/// Signing in, of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignIn(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: Provider,
    /// What browsers call us when they say where a request comes from.
    origin: String,
    secure: bool,
}

/// Why nobody could sign in with these settings.
#[derive(Debug, thiserror::Error)]
pub enum SignInSetupError {
    #[error("the redirect address can't be read")]
    Address(#[source] url::ParseError),
    #[error("the HTTP client for the provider can't be set up")]
    Client(#[source] reqwest::Error),
}

impl SignIn {
    /// # Errors
    /// If the redirect address is none, or the machine gives no HTTP client. The provider is not asked yet.
    pub fn new(settings: SignInSettings, sources: Sources) -> Result<Self, SignInSetupError> {
        let address = Url::parse(&settings.redirect_url).map_err(SignInSetupError::Address)?;
        let (origin, secure) = (address.origin().ascii_serialization(), address.scheme() == "https");
        let provider = Provider::new(settings, sources).map_err(SignInSetupError::Client)?;
        Ok(Self(Arc::new(Inner { provider, origin, secure })))
    }

    pub(crate) fn origin(&self) -> &str {
        &self.0.origin
    }

    /// Whether cookies may travel over TLS only.
    pub(crate) fn secure(&self) -> bool {
        self.0.secure
    }

    pub(crate) fn idle(&self) -> TimeDelta {
        self.settings().idle
    }

    fn settings(&self) -> &SignInSettings {
        self.0.provider.settings()
    }
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(begin)).routes(routes!(complete)).routes(routes!(arrived))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// A path of this system, to come back to. Default: a page that says that it is done.
    return_to: Option<String>,
    /// The org to act in. Default: the one that the account joined first.
    org: Option<OrgId>,
    /// The token of an invitation. Then the org is that one's.
    invitation: Option<String>,
}

/// What the provider sends with the browser. It may send more.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Returned {
    /// What the person's name is asked for with.
    code: Option<String>,
    /// What this system had sent along.
    state: Option<String>,
    /// In the place of a code.
    error: Option<String>,
    /// Who the provider says that it is.
    iss: Option<String>,
}

/// Sends a browser to the provider that people sign in with.
///
/// Authentication: none, it is how one begins. The browser gets a cookie, sealed and for ten minutes, without which it can't come
/// back. Limit: an address of at most 8 KiB and headers of at most 16 KiB; how many ask the provider at once is bounded. Refusals are
/// pages for whoever accepts `text/html`, and problems else.
#[utoipa::path(
    get,
    path = "/auth/sign-in",
    operation_id = "sign_in",
    tag = "sign-in",
    params(Wanted),
    responses(
        (status = 303, description = "To the provider.", headers(("Location" = String), ("Set-Cookie" = String))),
        (status = 403, description = "It is no invitation (`sign_in_not_invited`).", body = String, content_type = "text/html"),
        (status = 404, description = "Nobody signs in here with a browser.", body = String, content_type = "text/html"),
        (status = 422, description = "The address is not complete, or leads elsewhere afterwards.", body = String, content_type = "text/html"),
        (status = 503, description = "The provider does not answer.", body = String, content_type = "text/html"),
    ),
)]
async fn begin(
    State(app): State<App>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, Problem>,
) -> Result<Response, Response> {
    let refuse = |refusal: Refusal| refusal.answer(&headers);
    let sign_in = app.sign_in.as_ref().ok_or_else(|| refuse(Refusal::NotConfigured))?;
    let Query(wanted) = wanted.map_err(|_| refuse(Refusal::Malformed))?;
    let return_to = wanted.return_to.unwrap_or_else(|| SIGNED_IN_PATH.to_owned());
    if !is_ours(&return_to) {
        return Err(refuse(Refusal::Malformed));
    }
    let invitation = match &wanted.invitation {
        Some(text) => Some(InvitationSecret::parse(text).ok_or_else(|| refuse(Refusal::NotInvited))?.hash()),
        None => None,
    };
    let sources = app.store.sources();
    let attempt = Attempt::new(sources, return_to, wanted.org, invitation);
    let address = sign_in.0.provider.address(&attempt.secrets()).await.map_err(|error| refuse(failed(error)))?;
    let sealed = attempt.seal(&app.secrets.cookie, sources);
    let cookie = Cookie::SignIn.set(&sealed, attempt::LIFETIME, sign_in.secure());
    go(address.as_str(), [cookie]).ok_or_else(|| refuse(Refusal::Unavailable(None)))
}

/// The page that a browser ends at which did not say where it wants to be.
///
/// Authentication: none, it says the same to everybody. Limit: an address of at most 8 KiB and headers of at most 16 KiB.
#[utoipa::path(
    get,
    path = "/auth/signed-in",
    operation_id = "signed_in",
    tag = "sign-in",
    responses((status = 200, description = "A page.", body = String, content_type = "text/html")),
)]
async fn arrived() -> Response {
    SIGNED_IN.page(StatusCode::OK)
}

/// Takes a browser back from the provider, with a session if the provider vouches for a member.
///
/// Authentication: the cookie that `/auth/sign-in` gave this browser, and `state`, which belongs to it: so no other site can have a
/// browser complete a sign-in that it did not begin. Each completes once. Limit: an address of at most 8 KiB and headers of at most
/// 16 KiB. Refusals are pages for whoever accepts `text/html`, and problems else.
#[utoipa::path(
    get,
    path = "/auth/callback",
    operation_id = "sign_in_callback",
    tag = "sign-in",
    params(Returned),
    responses(
        (status = 303, description = "Signed in; to where the browser wanted to be.", headers(("Location" = String), ("Set-Cookie" = String))),
        (status = 403, description = "Nobody is signed in; `code` of the problem says why.", body = String, content_type = "text/html"),
        (status = 404, description = "Nobody signs in here with a browser.", body = String, content_type = "text/html"),
        (status = 422, description = "What came with the browser is not complete.", body = String, content_type = "text/html"),
        (status = 500, description = "It failed on our side.", body = String, content_type = "text/html"),
        (status = 503, description = "The provider does not answer.", body = String, content_type = "text/html"),
    ),
)]
async fn complete(State(app): State<App>, headers: HeaderMap, returned: Result<Query<Returned>, Problem>) -> Response {
    let Some(sign_in) = &app.sign_in else { return Refusal::NotConfigured.answer(&headers) };
    let done = match returned {
        Ok(Query(returned)) => session(&app, sign_in, &headers, returned).await,
        Err(_) => Err(Refusal::Malformed),
    };
    metrics::counter!("cowork_sign_ins_total", "outcome" => outcome(&done)).increment(1);
    let used = Cookie::SignIn.clear(sign_in.secure());
    let answer = done.and_then(|(return_to, cookie)| go(&return_to, [cookie]).ok_or(Refusal::Malformed));
    let mut answer = answer.unwrap_or_else(|refusal| refusal.answer(&headers));
    answer.headers_mut().append(header::SET_COOKIE, used);
    answer
}

/// Where the browser wanted to be, and its session's cookie.
async fn session(
    app: &App,
    sign_in: &SignIn,
    headers: &HeaderMap,
    returned: Returned,
) -> Result<(String, HeaderValue), Refusal> {
    let (sources, settings) = (app.store.sources(), sign_in.settings());
    let (sealed, state) = (Cookie::SignIn.read(headers, sign_in.secure()), returned.state.as_deref());
    let (sealed, state) = sealed.zip(state).ok_or(Refusal::NotBegunHere)?;
    let attempt = Attempt::open(sealed, state, &app.secrets.cookie, sources.now()).ok_or(Refusal::NotBegunHere)?;
    if returned.iss.is_some_and(|issuer| issuer != settings.issuer) {
        return Err(Refusal::NotVouchedFor);
    }
    let code = match (returned.code, returned.error) {
        (Some(code), None) if code.len() <= CODE_MAX => code,
        (_, Some(error)) => {
            let error: String = error.chars().filter(char::is_ascii_graphic).take(ERROR_MAX).collect();
            tracing::info!(error, "the provider gave no code");
            return Err(Refusal::SaidNo);
        }
        _ => return Err(Refusal::Malformed),
    };
    let person = sign_in.0.provider.person(code, &attempt.secrets()).await.map_err(failed)?;
    admit(&person, settings)?;
    let secret = SessionSecret::generate(sources);
    let new = NewSignIn {
        issuer: settings.issuer.clone(),
        subject: person.subject,
        verified_email: person.verified_email,
        org: attempt.org,
        invitation: attempt.invitation,
        session_hash: secret.hash(),
        sign_in_hash: attempt.hash(),
        replaces: SessionSecret::read(headers, sign_in.secure()).map(|former| former.hash()),
        user_agent: user_agent(headers),
        expires_at: sources.now() + settings.lifetime,
    };
    app.store.sign_in(&new).await.map_err(refused)?;
    app.guesses.prove(new.session_hash, sources.now());
    // The session that this browser had before may have ended with it, or an invitation been used.
    app.effects.flush().await;
    Ok((attempt.return_to, secret.cookie(settings.lifetime, sign_in.secure())))
}

/// Whether the operator lets people with such an address in.
fn admit(person: &Person, settings: &SignInSettings) -> Result<(), Refusal> {
    let subject = &person.subject;
    if subject.is_empty() || subject.len() > SUBJECT_MAX || subject.contains(char::is_control) {
        return Err(Refusal::NotVouchedFor);
    }
    let domain = person.verified_email.as_deref().and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
    let known = |domain: &str| settings.email_domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain));
    if settings.email_domains.is_empty() || domain.is_some_and(known) { Ok(()) } else { Err(Refusal::NoSuchMember) }
}

/// Whether a browser may be sent there: an absolute path, without what browsers take for a host, and not into another sign-in.
fn is_ours(path: &str) -> bool {
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let ends = path == SIGNED_IN_PATH || !path.starts_with("/auth/");
    plain && ends && path.len() <= RETURN_TO_MAX && path.starts_with('/') && !path.starts_with("//")
}

fn user_agent(headers: &HeaderMap) -> String {
    let told = headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    tidied(&told.unwrap_or_default(), USER_AGENT_MAX)
}

fn failed(error: ProviderError) -> Refusal {
    match error {
        ProviderError::Unavailable(_) => Refusal::Unavailable(Some(error.into())),
        ProviderError::Refused(_) => {
            tracing::warn!(error = ?error, "a sign-in was refused");
            Refusal::NotVouchedFor
        }
    }
}

fn refused(error: SignInError) -> Refusal {
    match error {
        SignInError::NoSuchMember => Refusal::NoSuchMember,
        SignInError::LinkedToAnother => Refusal::LinkedToAnother,
        SignInError::NotInvited => Refusal::NotInvited,
        SignInError::RefusedByPolicy => Refusal::RefusedByPolicy,
        SignInError::Used => Refusal::NotBegunHere,
        SignInError::Store(error) => Refusal::Failed(error.into()),
    }
}

/// Says what is counted here.
pub(crate) fn describe() {
    let outcomes = [SIGNED_IN_OUTCOME].into_iter().chain(Refusal::CODES);
    let description = "browsers that came back from the provider, by outcome";
    measures::counter_by("cowork_sign_ins_total", description, "outcome", outcomes);
}

fn outcome<T>(done: &Result<T, Refusal>) -> &'static str {
    done.as_ref().err().map_or(SIGNED_IN_OUTCOME, Refusal::code)
}

/// `None`: it can't stand in a header.
fn go<const N: usize>(address: &str, cookies: [HeaderValue; N]) -> Option<Response> {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_str(address).ok()?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    Some(response)
}
