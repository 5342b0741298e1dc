//! HTTP clients that connect only to addresses that may be called (decision 0076).
//!
//! Redirects are not followed: they would carry what was signed, or a key, to an address that nobody judged. A proxy that the
//! environment names is not used: it would connect to where this system does not go.
//!
//! Not here: which addresses may be called (`domain::egress`), addresses that a URL names, which are never looked up: whoever
//! calls judges those.

mod guard;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use domain::egress::{Egress, Refused};
use redact::Redactor;
use reqwest::ClientBuilder;

use crate::guard::Guard;

/// A client that connects wherever it is told to: for addresses that an operator configured. `timeout` is for one request, from
/// connecting to the end of the answer.
pub fn unguarded(timeout: Duration) -> ClientBuilder {
    let none = reqwest::redirect::Policy::none();
    ClientBuilder::new().timeout(timeout).redirect(none).no_proxy().user_agent("open-cowork")
}

/// A client that connects to nothing but what `egress` allows, whatever names lead to.
pub fn guarded(timeout: Duration, egress: Egress) -> ClientBuilder {
    unguarded(timeout).dns_resolver(Arc::new(Guard::new(egress)))
}

/// What the resolver of a guarded client said, if it found no address that may be called.
#[must_use]
pub fn refusal(error: &reqwest::Error) -> Option<Refused> {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return Some(*refused);
        }
        cause = inner.source();
    }
    None
}

/// The innermost error, which is the operating system's or the parser's own sentence; the outer ones name addresses. What
/// looks like a secret all the same is taken out.
#[must_use]
pub fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    let cause = cause.map_or_else(|| "no cause was given".to_owned(), ToString::to_string);
    Redactor::new().redact(&cause).into_owned()
}
