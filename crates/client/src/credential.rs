//! What a caller shows: an API token, or the cookie of a browser in which somebody signed in.
//!
//! The server takes a change with a cookie only from its own pages: the request says which origin it comes from, and
//! has a token that goes with the cookie.
//!
//! Not here: signing in, which takes a browser.

use reqwest::RequestBuilder;
use reqwest::header::{COOKIE, ORIGIN};
use secrecy::{ExposeSecret, SecretString};

#[derive(Debug, Clone)]
pub(crate) enum Credential {
    Token(SecretString),
    Browser {
        /// `NAME=VALUE`.
        cookie: SecretString,
        /// `None`: it reads only.
        csrf_token: Option<SecretString>,
    },
}

impl Credential {
    /// The request with it, for the server at `origin`.
    pub(crate) fn shown(&self, request: RequestBuilder, origin: &str, changes: bool) -> RequestBuilder {
        let (cookie, csrf_token) = match self {
            Self::Token(token) => return request.bearer_auth(token.expose_secret()),
            Self::Browser { cookie, csrf_token } => (cookie, csrf_token),
        };
        let request = request.header(COOKIE, cookie.expose_secret());
        match csrf_token.as_ref().filter(|_| changes) {
            Some(token) => request.header(ORIGIN, origin).header("cowork-csrf-token", token.expose_secret()),
            None => request,
        }
    }
}
