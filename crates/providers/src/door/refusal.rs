//! Why a door does not let a request through, said as the provider would say it, so that agents understand it.
//!
//! Not here: who decides (`door`, `meter`).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domain::spend::Exceeded;
use serde_json::json;

use super::meter::NotNow;
use crate::http::Scheme;

/// Every reason that metrics tell ([`Refusal::reason`]).
pub(super) const REASONS: [&str; 5] = ["quota", "turn_tokens", "turn_requests", "busy", "no_turn"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The token is another.
    Nothing,
    Elsewhere,
    TooLarge,
    /// The provider's address is not called from here.
    NotCalled,
    /// The key can't stand in a header.
    Key,
    Unreachable,
    /// Too many requests are there at once.
    Busy,
    NoTurn,
    Exceeded(Exceeded),
}

impl From<NotNow> for Refusal {
    fn from(why: NotNow) -> Self {
        match why {
            NotNow::NoTurn => Self::NoTurn,
            NotNow::Exceeded(exceeded) => Self::Exceeded(exceeded),
        }
    }
}

impl Refusal {
    /// For metrics. `None`: it is no refusal of ours to spend.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Busy => Some("busy"),
            Self::NoTurn => Some("no_turn"),
            Self::Exceeded(exceeded) => Some(exceeded.label()),
            _ => None,
        }
    }

    pub(super) fn answer(&self, scheme: Scheme) -> Response {
        let (status, sentence) = self.said();
        let kind = self.kind(scheme);
        let error = match scheme {
            Scheme::Anthropic => json!({ "type": "error", "error": { "type": kind, "message": sentence } }),
            Scheme::Bearer => {
                json!({ "error": { "message": sentence, "type": kind, "param": null, "code": kind } })
            }
        };
        let mut answer = (status, Json(error)).into_response();
        match self {
            Self::Busy => drop(answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"))),
            // Both providers' own clients ask again after a 429 unless they are told so.
            Self::NoTurn | Self::Exceeded(_) => {
                drop(answer.headers_mut().insert("x-should-retry", HeaderValue::from_static("false")));
            }
            _ => {}
        }
        answer
    }

    fn said(&self) -> (StatusCode, String) {
        let (status, sentence) = match self {
            Self::Nothing => (StatusCode::NOT_FOUND, "there is nothing here"),
            Self::Elsewhere => (StatusCode::NOT_FOUND, "providers answer below /v1/"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"),
            Self::NotCalled => (StatusCode::BAD_GATEWAY, "the provider's address is not called from here"),
            Self::Key => (StatusCode::BAD_GATEWAY, "the org's key can't be sent; replace it"),
            Self::Unreachable => (StatusCode::BAD_GATEWAY, "the provider could not be reached"),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "too many requests are under way; ask again in a moment"),
            Self::NoTurn => (StatusCode::TOO_MANY_REQUESTS, "no turn goes on, and nothing is asked between turns"),
            Self::Exceeded(exceeded) => return (StatusCode::TOO_MANY_REQUESTS, exceeded.sentence()),
        };
        (status, sentence.to_owned())
    }

    /// As the provider calls it.
    fn kind(&self, scheme: Scheme) -> &'static str {
        match (self, scheme) {
            (Self::Exceeded(_) | Self::NoTurn, Scheme::Bearer) => "insufficient_quota",
            (Self::Busy, Scheme::Bearer) => "rate_limit_exceeded",
            (Self::Exceeded(_) | Self::NoTurn | Self::Busy, Scheme::Anthropic) => "rate_limit_error",
            (Self::Nothing | Self::Elsewhere, Scheme::Anthropic) => "not_found_error",
            (Self::TooLarge, Scheme::Anthropic) => "request_too_large",
            (Self::Nothing | Self::Elsewhere | Self::TooLarge, Scheme::Bearer) => "invalid_request_error",
            (Self::NotCalled | Self::Key | Self::Unreachable, Scheme::Anthropic) => "api_error",
            (Self::NotCalled | Self::Key | Self::Unreachable, Scheme::Bearer) => "server_error",
        }
    }
}
