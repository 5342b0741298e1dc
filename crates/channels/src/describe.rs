//! A failed request in a sentence, without the address it went to: an address may hold a secret.
//!
//! Only a connection that never came to be proves that nothing was sent; whatever fails later may have arrived.

use std::error::Error;

use domain::egress::Refused;
use redact::Redactor;

use crate::SendError;

pub(crate) fn transport(error: &reqwest::Error) -> SendError {
    if let Some(refused) = refusal(error) {
        return refused.into();
    }
    let retry_after = None;
    match () {
        () if error.is_builder() => SendError::Permanent { reason: "the request can't be made".to_owned() },
        () if error.is_connect() => {
            let reason = format!("the destination can't be reached: {}", root_cause(error));
            SendError::Transient { retry_after, reason }
        }
        () if error.is_timeout() => {
            SendError::Ambiguous { retry_after, reason: "the destination did not answer in time".to_owned() }
        }
        () => {
            let reason = format!("the connection broke: {}", root_cause(error));
            SendError::Ambiguous { retry_after, reason }
        }
    }
}

/// What the resolver said, if it found no address that may be called.
fn refusal(error: &reqwest::Error) -> Option<Refused> {
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
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    let cause = cause.map_or_else(|| "no cause was given".to_owned(), ToString::to_string);
    Redactor::new().redact(&cause).into_owned()
}
