//! Every failure that a caller sees: an `application/problem+json` (RFC 9457) with a stable code, a public sentence,
//! and a private cause that is logged here, once, and never sent.

use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use domain::policy::RefusedByPolicy;
use domain::quota::QuotaOrigin;
use serde::Serialize;
use store::{ChangeError, StoreError, UsedUp};
use utoipa::ToSchema;

/// What went wrong, for the caller; and why, for the log.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// Stable; clients may decide by it.
    code: &'static str,
    title: &'static str,
    detail: String,
    /// Seconds after which the same request may fare better.
    retry_after: Option<u32>,
    /// The first and the last event that there are.
    bounds: Option<(i64, i64)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), retry_after: None, bounds: None, cause: None }
    }

    /// `noun` is what was looked for: "session", "artifact". Also the answer for what belongs to somebody else.
    pub(crate) fn not_found(noun: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", format!("there is no such {noun} here"))
    }

    /// The request can't be carried out as it is written; `detail` says what to change.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request is not valid", detail)
    }

    /// The request makes sense, but not in the present state.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The present state does not allow it", detail)
    }

    pub(crate) fn archived() -> Self {
        let detail = "the session is archived and takes no prompts; set `archived` to false in its details first";
        Self::new(StatusCode::CONFLICT, "archived", "The session is archived", detail)
    }

    pub(crate) fn busy() -> Self {
        let detail = "a turn runs or waits for a person, or commands wait; ask again when the session is idle, or leave \
            `while_running` out to have the prompt wait";
        Self::new(StatusCode::CONFLICT, "busy", "The session is at work", detail)
    }

    /// What `If-Match` or `If-None-Match` named is not what is there.
    pub(crate) fn stale() -> Self {
        let detail = "somebody changed it meanwhile: read it again, and repeat the change with its new ETag";
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", "It is not what you have seen", detail)
    }

    /// What comes after the sequence that a reader named was compacted.
    pub(crate) fn snapshot_required(earliest: i64, latest: i64) -> Self {
        let detail = format!(
            "the events after the one that you name were compacted: begin anew without a sequence, with event {earliest}, which \
             holds what all before it added up to"
        );
        let problem = Self::new(StatusCode::GONE, "snapshot_required", "Those events are compacted", detail);
        Self { bounds: Some((earliest, latest)), ..problem }
    }

    /// A reader of a stream names an event that is not there: a restore forgot it, or it is another session's.
    pub(crate) fn ahead(earliest: i64, latest: i64) -> Self {
        let detail = format!(
            "the session ends with event {latest}, before the one that you name, which a restore may have taken back: begin anew \
             without a sequence, with event {earliest}"
        );
        let problem = Self::new(StatusCode::GONE, "snapshot_required", "There is no such event", detail);
        Self { bounds: Some((earliest, latest)), ..problem }
    }

    /// A channel would lead to where this system does not go; `detail` says what to do.
    pub(crate) fn destination_refused(detail: impl Into<String>) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, "destination_refused", "The destination is not called from here", detail)
    }

    /// An archive has what no workspace gets; `detail` says what and where.
    pub(crate) fn archive_refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "archive_refused", "The archive is refused", detail)
    }

    /// A rule of the org is against it; `refused` says which, and where the rule stands.
    pub(crate) fn refused_by_policy(refused: RefusedByPolicy) -> Self {
        let title = "The org's policy does not allow it";
        Self::new(StatusCode::FORBIDDEN, "refused_by_policy", title, refused.to_string())
    }

    /// A repository is not fetched; `detail` says why, and what to do.
    pub(crate) fn repository_refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "repository_refused", "The repository is not fetched", detail)
    }

    /// No worker can run it, of those that there are.
    pub(crate) fn unknown_agent(there: &[&str]) -> Self {
        let detail = format!("no worker has this agent; there are: {}", there.join(", "));
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_agent", "No worker has this agent", detail)
    }

    /// Every org begins with one.
    pub(crate) fn no_subscription() -> Self {
        let detail = "the org has no subscription, and every org begins with one, so it was lost; an operator gives it another with \
            PUT /api/subscription";
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// An operator has not said where it is; `key` of the configuration does.
    pub(crate) fn not_configured(key: &str, what: &str) -> Self {
        let detail = format!(
            "this installation does not say where its {what} are; an operator sets {key} in the configuration of the web role, \
             and starts it again"
        );
        Self::new(StatusCode::NOT_FOUND, "not_configured", "Not configured", detail)
    }

    /// What is there can't be understood; `reason` says why.
    pub(crate) fn unreadable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "unreadable", "It can't be understood", reason)
    }

    pub(crate) fn unauthenticated() -> Self {
        let detail =
            "send a valid API token as `Authorization: Bearer cow_...`, or sign in with a browser at /auth/sign-in";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Not signed in", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// Somebody is not signed in with a browser (`sign_in`).
    pub(crate) fn sign_in(status: StatusCode, code: &'static str, title: &'static str, detail: &str) -> Self {
        Self::new(status, code, title, detail)
    }

    /// The request may have been made by another site with this browser's cookie.
    pub(crate) fn cross_site() -> Self {
        let detail = "a request with a browser session that changes something comes from this system's own origin, and has \
            the header Cowork-Csrf-Token with the csrf_token of GET /api/browser-sessions/current";
        Self::new(StatusCode::FORBIDDEN, "cross_site", "Not from here", detail)
    }

    /// With what goes to the log.
    pub(crate) fn because(self, cause: Box<dyn Error + Send + Sync>) -> Self {
        Self { cause: Some(cause), ..self }
    }

    /// A request with the same `Idempotency-Key` is being carried out.
    pub(crate) fn in_progress() -> Self {
        let detail = "a request with this Idempotency-Key is being carried out; ask again for its answer";
        Self { retry_after: Some(1), ..Self::new(StatusCode::CONFLICT, "in_progress", "Being carried out", detail) }
    }

    /// It is done, and a restore could still forget it.
    pub(crate) fn not_remembered() -> Self {
        let detail = "it is done here; but the recovery ledger can't be written, so a restore could undo it. Ask again: it is \
            answered when it is remembered";
        let title = "Done, and not remembered yet";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, NOT_REMEMBERED, title, detail);
        Self { retry_after: Some(5), ..problem }
    }

    pub(crate) fn answer_lost() -> Self {
        let detail = "the request with this Idempotency-Key was carried out, and its answer is lost; look at what it did, \
            and take a new key for another request";
        Self::new(StatusCode::CONFLICT, "answer_lost", "Carried out, without an answer", detail)
    }

    pub(crate) fn key_reused() -> Self {
        let detail = "this Idempotency-Key stands for another request; a key belongs to one request, with its token, address \
            and body";
        let title = "The key is another request's";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", title, detail)
    }

    pub(crate) fn too_many(seconds: i64) -> Self {
        Self::go_on_in(seconds, "this token or browser session made more requests than it may")
    }

    /// Nobody looked at what the request shows.
    pub(crate) fn too_many_guesses(seconds: i64) -> Self {
        Self::go_on_in(seconds, "too much that came from your address showed no token, session or signature in force")
    }

    fn go_on_in(seconds: i64, why: &str) -> Self {
        let detail = format!("{why}; go on in {seconds} s");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests", detail);
        Self { retry_after: Some(seconds.try_into().unwrap_or(u32::MAX)), ..problem }
    }

    /// One of its streams has to end first. A connection that broke may take a while to be noticed, so the wait is a guess.
    pub(crate) fn too_many_streams(most: u32) -> Self {
        let detail = format!(
            "this token or browser session has as many streams of events open as it may, {most} at this process: close one, or \
             follow all sessions of the org by one stream, GET /api/events"
        );
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", "Too many streams", detail);
        Self { retry_after: Some(15), ..problem }
    }

    /// Nothing is changed until an operator ends maintenance. Nobody knows when, so the wait is a guess.
    pub(crate) fn maintenance(reason: &str) -> Self {
        let detail = format!("the system is in maintenance and changes nothing: {reason}; reads go on");
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "maintenance", "In maintenance", detail);
        Self { retry_after: Some(60), ..problem }
    }

    /// The org may use no more of this before the next period, or not at all.
    pub(crate) fn over_quota(used_up: &UsedUp) -> Self {
        let UsedUp { origin, kind, period, ends_at, seen_at } = used_up;
        if *origin == QuotaOrigin::Subscription {
            return Self::subscription_ended();
        }
        let (period, at) = (period.as_str(), ends_at.to_rfc3339_opts(SecondsFormat::Secs, true));
        let detail = format!("the org has used its quota of {kind} for this {period} up; it begins anew at {at}");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "over_quota", "The quota is used up", detail);
        let seconds = (*ends_at - *seen_at).num_seconds().max(1);
        Self { retry_after: Some(seconds.try_into().unwrap_or(u32::MAX)), ..problem }
    }

    /// Nothing new begins. No time is named: only somebody who pays, or an operator, changes it.
    fn subscription_ended() -> Self {
        let detail = "the org's subscription has ended or is not paid, so nothing new begins; nothing is deleted, and all can be \
            read. Pay it (POST /api/subscription/portal), buy a plan (POST /api/subscription/checkout), or ask whoever runs \
            this installation";
        Self::new(StatusCode::PAYMENT_REQUIRED, "subscription_ended", "The subscription has ended", detail)
    }

    pub(crate) fn not_offered() -> Self {
        let detail = "this can't be bought or paid here; ask whoever runs this installation for the plan";
        Self::new(StatusCode::CONFLICT, "not_offered", "Not offered here", detail)
    }

    /// The cause goes to the log.
    pub(crate) fn billing_provider(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let detail = "the billing provider did not do it; try again, and nothing was bought by this";
        let problem = Self::new(StatusCode::BAD_GATEWAY, "billing_provider", "The billing provider failed", detail);
        problem.because(cause.into())
    }

    /// A message of the billing provider, or of somebody else.
    pub(crate) fn bad_signature(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "bad_signature", "The message is not signed", detail)
    }

    pub(crate) fn event_too_large() -> Self {
        let detail = "an event has at most 256 KiB";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail)
    }

    pub(crate) fn headers_too_large() -> Self {
        let detail = "the headers of a request have at most 16 KiB, all together";
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Self::new(status, "headers_too_large", "The headers are too large", detail)
    }

    pub(crate) fn address_too_long() -> Self {
        let detail = "an address has at most 8 KiB";
        Self::new(StatusCode::URI_TOO_LONG, "address_too_long", "The address is too long", detail)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let detail = "this address does not take that method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
    }

    pub(crate) fn too_large() -> Self {
        let detail = "a request's body has at most 1 MiB";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail)
    }

    /// The connection ends with it: what still comes of the body is for nobody.
    pub(crate) fn timeout() -> Self {
        let detail = "the request's body stopped on its way for half a minute, or took longer than twenty: send it again, and a \
            file in smaller parts";
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The body did not arrive", detail)
    }

    pub(crate) fn range_behind_the_end(size: u64) -> Self {
        let detail = format!("the range begins behind the end: there are {size} bytes");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "There is no such part", detail)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let detail = "send the body as `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type", detail)
    }

    /// Our fault. The cause goes to the log.
    pub(crate) fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let detail = "the request failed on our side; the log has the cause under this answer's x-request-id";
        let problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail);
        Self { cause: Some(cause.into()), ..problem }
    }

    /// A part that we depend on does not answer. Trying again later may help.
    pub(crate) fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let detail = "a part of the system does not answer; try again";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", detail);
        Self { cause: Some(cause.into()), ..problem }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NoSuch(what) => Self::not_found(what),
            ChangeError::Stale(_) => Self::stale(),
            ChangeError::Closed(what) => Self::conflict(format!("the {what} is closed for good")),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<RefusedByPolicy> for Problem {
    fn from(refused: RefusedByPolicy) -> Self {
        Self::refused_by_policy(refused)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}

/// What a client sees of a failure (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body<'a> {
    #[schema(example = "about:blank")]
    r#type: &'a str,
    title: &'a str,
    status: u16,
    /// What happened and what to do, for people.
    detail: &'a str,
    /// Stable; clients may decide by it.
    code: &'a str,
    /// With `snapshot_required`: the sequence of the session's first event that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_sequence: Option<i64>,
    /// With `snapshot_required`: the sequence of its newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_sequence: Option<i64>,
}

const NOT_REMEMBERED: &str = "not_remembered";

/// On the response to a request that has to be made again as it is, under the same `Idempotency-Key` too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskAgain;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(code = self.code, error = chain(cause.as_ref()), "a request failed");
        }
        let body = Body {
            r#type: "about:blank",
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            earliest_sequence: self.bounds.map(|(earliest, _)| earliest),
            latest_sequence: self.bounds.map(|(_, latest)| latest),
        };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.code == NOT_REMEMBERED {
            response.extensions_mut().insert(AskAgain);
        }
        response
    }
}

/// An error with its sources, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
