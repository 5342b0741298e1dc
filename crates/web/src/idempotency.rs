//! `Idempotency-Key`: a repeat of a request that changes something has no further effect, and gets the first one's answer.
//!
//! One layer for every route. With a key, the request runs in a task of its own, so that a client that goes away does not
//! cut it off between its effect and its answer. An answer is sealed before it is kept, whatever is in it: some hold a secret that is
//! shown once, and it is not for each handler to remember that (decision 0028). For the same reason the audit trail is told of
//! every answer with a body before it is given again.
//!
//! Not promised: an answer. If this process dies between the two, the repeat is told that the request was carried out and
//! its answer lost. Nor that a refusal is kept: what had no effect may be corrected and sent again under the same key.
//!
//! Not here: what makes the effect and its mark one transaction (`store::idempotency`). Commands, which have keys of their
//! own for as long as they exist (`commands`).

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use secrets::Envelope;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Attempt, Begun, Credential, SealedAnswer};
use tracing::Instrument;

use crate::app::App;
use crate::auth::Caller;
use crate::problem::{AskAgain, Problem};
use crate::router::BODY_LIMIT;

pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
pub(crate) const KEY_MAX: usize = 200;
/// Bytes of an answer that is kept. Larger ones count as lost.
const ANSWER_MAX: usize = 64 * 1024;
/// Its key is a column of the command and never expires.
const HAS_ITS_OWN: &str = "/api/sessions/{session_id}/commands";

/// What of an answer is kept, beside its status.
#[derive(Serialize, Deserialize)]
struct Kept {
    content_type: Option<String>,
    etag: Option<String>,
    body: String,
}

/// Carries a request out once, if it has a key.
pub(crate) async fn once(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let own = request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str() == HAS_ITS_OWN);
    if request.method().is_safe() || own {
        return Ok(next.run(request).await);
    }
    let Some(key) = key(request.headers())? else { return Ok(next.run(request).await) };
    let caller = request.extensions().get::<Caller>().cloned().ok_or_else(Problem::unauthenticated)?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| Problem::too_large())?;
    let digest = digest(&caller, &parts, &body);
    match app.store.idempotency_begin(caller.org, caller.account, &key, &digest).await? {
        Begun::New(attempt) => carry_out(app, attempt, Request::from_parts(parts, Body::from(body)), next).await,
        Begun::Answered(answer) => replay(&app, &caller, (&key, &asked(&parts)), answer).await,
        Begun::InProgress => Err(Problem::in_progress()),
        Begun::AnswerLost => Err(Problem::answer_lost()),
        Begun::OtherRequest => Err(Problem::key_reused()),
    }
}

/// The request's key; bounded, and of characters that a log can show.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=KEY_MAX).contains(&key.len()) && !key.trim().is_empty());
    let key = key.ok_or_else(|| Problem::invalid("an Idempotency-Key has 1 to 200 printable ASCII characters"))?;
    Ok(Some(key.to_owned()))
}

/// What a key stands for. The token or browser session is a part of it: a weaker one of the same account must not get an answer that only the
/// stronger one may have.
fn digest(caller: &Caller, parts: &Parts, body: &Bytes) -> [u8; 32] {
    let mut hash = Sha256::new();
    let header = |name| parts.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let conditions = [header(header::IF_MATCH), header(header::IF_NONE_MATCH)];
    let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
    let credential = match caller.credential {
        Credential::Token(token) => token.to_string(),
        Credential::BrowserSession(session) => session.to_string(),
    };
    let [if_match, if_none_match] = conditions;
    let method = parts.method.as_str().as_bytes();
    for part in [credential.as_bytes(), method, address.as_bytes(), if_match, if_none_match, body] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// To its end, whether or not somebody still waits for the answer.
async fn carry_out(app: App, attempt: Attempt, request: Request, next: Next) -> Result<Response, Problem> {
    let work = async move {
        let response = attempt.clone().carry_out(next.run(request)).await;
        keep(&app, &attempt, response).await
    };
    tokio::spawn(work.in_current_span()).await.map_err(Problem::internal)?
}

/// Keeps the answer of a request that succeeded, or was refused after it had an effect. A failure of ours is no answer to keep: if
/// the request had its effect all the same, whoever asks again is told that the answer is lost; but one who was told to ask
/// again is let.
async fn keep(app: &App, attempt: &Attempt, response: Response) -> Result<Response, Problem> {
    if response.extensions().get::<AskAgain>().is_some() {
        app.store.idempotency_free(attempt).await?;
        return Ok(response);
    }
    if !response.status().is_success() && app.store.idempotency_release(attempt).await? {
        return Ok(response);
    }
    if response.status().is_server_error() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(Problem::internal)?;
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let kept = Kept {
        content_type: header(header::CONTENT_TYPE),
        etag: header(header::ETAG),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    if body.len() <= ANSWER_MAX
        && let Err(error) = seal(app, attempt, parts.status, &kept).await
    {
        // The request was carried out: that is what its caller has to know.
        tracing::error!(error = ?error, "the answer to a request with an Idempotency-Key can't be kept");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

async fn seal(app: &App, attempt: &Attempt, status: StatusCode, kept: &Kept) -> Result<(), Problem> {
    let plaintext = serde_json::to_vec(kept).map_err(Problem::internal)?;
    let sealed = secrets::seal(&*app.kms, app.store.sources(), &plaintext, &attempt.aad()).await;
    let Envelope { ciphertext, wrapped_key, key_version } = sealed.map_err(Problem::unavailable)?;
    let answer = SealedAnswer { status: status.as_u16(), ciphertext, wrapped_key, key_version };
    Ok(app.store.idempotency_answer(attempt, &answer).await?)
}

/// What was asked, as the audit trail is told of it: no more than the route, for an address may hold anything.
fn asked(parts: &Parts) -> String {
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    format!("{} {route}", parts.method)
}

/// An answer that was given before, when the audit trail has it that it is given again.
async fn replay(
    app: &App,
    caller: &Caller,
    (key, asked): (&str, &str),
    answer: SealedAnswer,
) -> Result<Response, Problem> {
    let SealedAnswer { status, ciphertext, wrapped_key, key_version } = answer;
    let aad = store::idempotency_aad(caller.org, caller.account, key);
    let opened = secrets::open(&*app.kms, &Envelope { ciphertext, wrapped_key, key_version }, &aad).await;
    let opened = opened.map_err(Problem::internal)?;
    let Kept { content_type, etag, body } = serde_json::from_slice(opened.expose()).map_err(Problem::internal)?;
    let status = StatusCode::from_u16(status).map_err(Problem::internal)?;
    if !body.is_empty() {
        app.store.idempotency_replay(caller.org, caller.account, asked, &caller.actor()).await?;
    }
    let headers = [(header::CONTENT_TYPE, content_type), (header::ETAG, etag), (REPLAYED, Some("true".to_owned()))];
    let given = headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value?).ok()?)));
    Ok((status, given.collect::<HeaderMap>(), body).into_response())
}

#[cfg(test)]
mod tests;
