//! What a person is told: a page with one message, or the same as a problem where the client does not read pages.
//!
//! A page holds no script, nothing from elsewhere and no text that came from outside.

use std::error::Error;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::problem::Problem;

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ),
];

/// A title, and what it means for who reads it. Both are ours.
pub(crate) struct Notice {
    title: &'static str,
    text: &'static str,
}

pub(crate) const SIGNED_IN: Notice =
    Notice { title: "You are signed in", text: "You can close this page, or go on where you came from." };

impl Notice {
    pub(crate) fn page(&self, status: StatusCode) -> Response {
        let Self { title, text } = self;
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
            <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
            <main>\n<h1>{title}</h1>\n<p>{text}</p>\n</main>\n</html>\n"
        );
        (status, HEADERS, Html(page)).into_response()
    }
}

type Cause = Box<dyn Error + Send + Sync>;

/// Why somebody is not signed in.
#[derive(Debug)]
pub(crate) enum Refusal {
    NotConfigured,
    Malformed,
    /// In another browser, too long ago, or it was completed before.
    NotBegunHere,
    /// The provider, instead of giving a code.
    SaidNo,
    NotVouchedFor,
    NoSuchMember,
    NotInvited,
    RefusedByPolicy,
    LinkedToAnother,
    Unavailable(Option<Cause>),
    Failed(Cause),
}

impl Refusal {
    /// Every code of whoever came back from the provider and is not signed in.
    pub(crate) const CODES: [&str; 10] = [
        "invalid",
        "sign_in_not_begun_here",
        "sign_in_declined",
        "sign_in_not_vouched_for",
        "sign_in_not_a_member",
        "sign_in_not_invited",
        "refused_by_policy",
        "sign_in_linked_to_another",
        "unavailable",
        "internal",
    ];

    /// Stable; clients may decide by it.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured => "not_found",
            Self::Malformed => "invalid",
            Self::NotBegunHere => "sign_in_not_begun_here",
            Self::SaidNo => "sign_in_declined",
            Self::NotVouchedFor => "sign_in_not_vouched_for",
            Self::NoSuchMember => "sign_in_not_a_member",
            Self::NotInvited => "sign_in_not_invited",
            Self::RefusedByPolicy => "refused_by_policy",
            Self::LinkedToAnother => "sign_in_linked_to_another",
            Self::Unavailable(_) => "unavailable",
            Self::Failed(_) => "internal",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotConfigured => StatusCode::NOT_FOUND,
            Self::Malformed => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::FORBIDDEN,
        }
    }

    fn notice(&self) -> Notice {
        let (title, text) = match self {
            Self::NotConfigured => (
                "Nobody signs in here with a browser",
                "This system has no provider to sign in with. Use an API token, or ask its operator to configure sign_in.",
            ),
            Self::Malformed => (
                "This address is not complete",
                "return_to is a path of this system, and org an org's id. Begin again from where you came.",
            ),
            Self::NotBegunHere => (
                "This sign-in can't be completed here",
                "It began in another browser or tab, took longer than ten minutes, or was completed before. Sign in again.",
            ),
            Self::SaidNo => (
                "The provider did not sign you in",
                "You may have declined, or the provider asks for something more. Sign in again, or ask whoever runs it.",
            ),
            Self::NotVouchedFor => (
                "The provider's answer does not hold",
                "It was not for this sign-in, was too old, or was not signed by it. Sign in again; if that does not help, \
                tell the operator of this system, whose log has the reason.",
            ),
            Self::NoSuchMember => (
                "You are not a member here",
                "The provider knows you, but no member has your verified address, or not in this org. Ask an owner or \
                admin of the org to add you with the address that the provider has, then sign in again.",
            ),
            Self::NotInvited => (
                "This invitation does not let you in",
                "It is for another address than the verified one that the provider has of you, was used or taken back, or is \
                too old. Ask whoever invited you for another, for the address that the provider has.",
            ),
            Self::RefusedByPolicy => (
                "This invitation does not hold any more",
                "The org does not take members with addresses of this domain. Ask an owner or admin of the org.",
            ),
            Self::LinkedToAnother => (
                "This address is somebody else's here",
                "A member with your address signs in as another person of the provider. Ask the operator of this system.",
            ),
            Self::Unavailable(_) => ("Signing in does not work just now", "The provider does not answer. Try again."),
            Self::Failed(_) => ("Signing in failed on our side", "The log has the cause. Try again."),
        };
        Notice { title, text }
    }

    pub(crate) fn answer(self, headers: &HeaderMap) -> Response {
        let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let (reads_pages, notice) = (accepted.into_iter().any(|types| types.contains("text/html")), self.notice());
        let (status, code) = (self.status(), self.code());
        let problem = Problem::sign_in(status, code, notice.title, notice.text);
        let problem = match self {
            Self::Unavailable(Some(cause)) | Self::Failed(cause) => problem.because(cause),
            _ => problem,
        };
        // Also where it becomes a page: what caused it is logged once, here.
        let problem = problem.into_response();
        if reads_pages { notice.page(status) } else { problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_whoever_came_back_has_its_number_from_the_beginning() {
        let refusals = [
            Refusal::Malformed,
            Refusal::NotBegunHere,
            Refusal::SaidNo,
            Refusal::NotVouchedFor,
            Refusal::NoSuchMember,
            Refusal::NotInvited,
            Refusal::RefusedByPolicy,
            Refusal::LinkedToAnother,
            Refusal::Unavailable(None),
            Refusal::Failed("a cause".into()),
        ];
        assert_eq!(refusals.each_ref().map(Refusal::code), Refusal::CODES);
    }
}
