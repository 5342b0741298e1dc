//! Cookies: their names, how they are read and how they are set.
//!
//! Over https their names begin with `__Host-`, so that a browser takes them from this host over TLS only, and sends them nowhere
//! else. A browser refuses such a name over plain http; there, which the configuration allows on loopback alone, they go without
//! it and without `Secure`.
//!
//! Not here: what is in them.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use clock::Sources;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Which cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookie {
    Session,
    SignIn,
}

impl Cookie {
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-cowork",
            (Self::Session, false) => "cowork",
            (Self::SignIn, true) => "__Host-cowork-sign-in",
            (Self::SignIn, false) => "cowork-sign-in",
        }
    }

    /// What the browser sent under this name.
    pub(crate) fn read(self, headers: &HeaderMap, secure: bool) -> Option<&str> {
        let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
        let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        cookies.find(|(name, _)| *name == self.name(secure)).map(|(_, value)| value)
    }

    /// `value`: characters that need no quotes.
    pub(crate) fn set(self, value: &str, lifetime: TimeDelta, secure: bool) -> HeaderValue {
        let (name, seconds) = (self.name(secure), lifetime.num_seconds().max(0));
        let only = if secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{only}");
        let mut value = HeaderValue::from_str(&text).expect("values of cookies are base64");
        value.set_sensitive(true);
        value
    }

    pub(crate) fn clear(self, secure: bool) -> HeaderValue {
        self.set("", TimeDelta::zero(), secure)
    }
}

/// Marks a session's cookie, so that a scanner for leaked secrets can find one.
const PREFIX: &str = "cos_";
const RANDOM_BYTES: usize = 32;

/// The value of a session's cookie: `cos_` and 256 random bits.
#[derive(Debug)]
pub(crate) struct SessionSecret(SecretString);

impl SessionSecret {
    pub(crate) fn generate(sources: &Sources) -> Self {
        let random = URL_SAFE_NO_PAD.encode(sources.bytes::<RANDOM_BYTES>());
        Self(format!("{PREFIX}{random}").into())
    }

    /// The one that the browser sent, if it can be one.
    pub(crate) fn read(headers: &HeaderMap, secure: bool) -> Option<Self> {
        let text = Cookie::Session.read(headers, secure)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (bytes.len() == RANDOM_BYTES).then(|| Self(text.to_owned().into()))
    }

    /// What is stored in its place.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose_secret().as_bytes()).into()
    }

    pub(crate) fn cookie(&self, lifetime: TimeDelta, secure: bool) -> HeaderValue {
        Cookie::Session.set(self.0.expose_secret(), lifetime, secure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; xcowork=2;cowork-sign-in=3"));
        headers.append(header::COOKIE, HeaderValue::from_static("cowork=4; __Host-cowork=5"));
        assert_eq!(Cookie::Session.read(&headers, true), Some("5"));
        assert_eq!(Cookie::Session.read(&headers, false), Some("4"));
        assert_eq!(Cookie::SignIn.read(&headers, false), Some("3"));
        assert_eq!(Cookie::SignIn.read(&headers, true), None);
    }

    #[test]
    fn a_session_reads_back_from_its_cookie_and_nothing_else_does() {
        let secret = SessionSecret::generate(&Sources::system());
        let sent = |value: &str| {
            let header = HeaderValue::from_str(&format!("__Host-cowork={value}")).unwrap();
            SessionSecret::read(&HeaderMap::from_iter([(header::COOKIE, header)]), true)
        };
        let text = secret.0.expose_secret();
        assert_eq!(sent(text).unwrap().hash(), secret.hash());
        for other in ["", "cos_", &text[..46], &text[4..], &text.replace("cos_", "cow_")] {
            assert!(sent(other).is_none(), "{other}");
        }
        let set = secret.cookie(TimeDelta::hours(1), true);
        let set = set.to_str().unwrap();
        assert!(set.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"), "{set}");
    }
}
