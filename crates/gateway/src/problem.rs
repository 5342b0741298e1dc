//! What a sender of messages or calls is told when one is not taken (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use domain::chat::NotAllowed;
use domain::quota::QuotaOrigin;
use serde::Serialize;
use store::UsedUp;
use utoipa::ToSchema;

/// The codes of what calls of workflows are refused with.
pub(crate) const OF_CALLS: [&str; 13] = [
    "not_found",
    "bad_signature",
    "too_large",
    "invalid",
    "refused_by_policy",
    "paused",
    "archived",
    "subscription_ended",
    "over_quota",
    "too_many_requests",
    "unavailable",
    "not_remembered",
    "maintenance",
];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Stable; senders and metrics may go by it.
    pub(crate) code: &'static str,
    title: &'static str,
    detail: String,
    /// Seconds after which the sender may try again.
    retry_after: Option<i64>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), retry_after: None }
    }

    pub(crate) fn no_such(noun: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", format!("there is no such {noun} here"))
    }

    pub(crate) fn method_not_allowed() -> Self {
        let detail = "messages and calls come in by POST";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
    }

    pub(crate) fn not_signed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "bad_signature", "The message is not signed", detail)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("a message has at most {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The message is too large", detail)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The message is not valid", detail)
    }

    /// The call is right, and its workflow does not take it as it is now.
    pub(crate) fn not_now(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code, "The present state does not allow it", detail)
    }

    /// A person has to change the policy, or what the call is for.
    pub(crate) fn refused_by_policy() -> Self {
        let detail = "the org's policy does not allow the agent that would answer; nothing was taken";
        Self::new(StatusCode::FORBIDDEN, "refused_by_policy", "The org's policy does not allow it", detail)
    }

    /// A person has to say first that the sender may.
    pub(crate) fn not_allowed(why: &NotAllowed) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "sender_not_allowed",
            "The sender may not do this",
            format!("{why}; nothing was taken"),
        )
    }

    /// The question is not open any more.
    pub(crate) fn over(why: impl std::fmt::Display) -> Self {
        let detail = format!("{why}; nothing was changed. What the session waits for now can be decided there");
        Self::new(StatusCode::CONFLICT, "interaction_over", "The question is not open any more", detail)
    }

    /// `why` says what there was too much of.
    pub(crate) fn too_many(why: &str, retry_after_s: i64) -> Self {
        let detail = format!("{why}; go on in {retry_after_s} s, under the same id");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests", detail);
        Self { retry_after: Some(retry_after_s), ..problem }
    }

    /// The org may start no more runs before the next period.
    pub(crate) fn over_quota(used_up: &UsedUp) -> Self {
        let UsedUp { origin, kind, period, ends_at, seen_at } = used_up;
        if *origin == QuotaOrigin::Subscription {
            let detail = "the org's subscription has ended or is not paid, so nothing new begins; whoever runs the workflow has \
                to have it renewed";
            let title = "The subscription has ended";
            return Self::new(StatusCode::PAYMENT_REQUIRED, "subscription_ended", title, detail);
        }
        let (period, at) = (period.as_str(), ends_at.to_rfc3339_opts(SecondsFormat::Secs, true));
        let detail = format!("the org has used its quota of {kind} for this {period} up; it begins anew at {at}");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "over_quota", "The quota is used up", detail);
        Self { retry_after: Some((*ends_at - *seen_at).num_seconds().max(1)), ..problem }
    }

    /// The sender does well to try again.
    pub(crate) fn unavailable() -> Self {
        let detail = "the message was not taken; send it again under the same id";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", detail)
    }

    /// It was taken, and a restore could still forget it.
    pub(crate) fn not_remembered() -> Self {
        let detail = "it was taken; but the recovery ledger can't be written, so a restored system would take it for new. Send it \
            again under the same id: nothing happens twice, and it is answered when it is remembered";
        let title = "Taken, and not remembered yet";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_remembered", title, detail);
        Self { retry_after: Some(5), ..problem }
    }

    /// Nothing is taken until an operator ends maintenance.
    pub(crate) fn maintenance() -> Self {
        let detail = "the system is in maintenance and takes no messages; send it again later under the same id";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "maintenance", "In maintenance", detail);
        Self { retry_after: Some(60), ..problem }
    }
}

/// What a sender sees of a refusal.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body<'a> {
    #[schema(example = "about:blank")]
    r#type: &'a str,
    title: &'a str,
    status: u16,
    /// What happened and what to do, for people.
    detail: &'a str,
    /// Stable; senders may decide by it.
    code: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
        };
        let media_type = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, media_type)], Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
