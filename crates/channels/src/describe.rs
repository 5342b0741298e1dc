//! A failed request in a sentence, without the address it went to: an address may hold a secret.

use std::error::Error;

use redact::Redactor;

use crate::SendError;

pub(crate) fn transport(error: &reqwest::Error) -> SendError {
    let reason = match () {
        () if error.is_builder() => return SendError::Permanent { reason: "the request can't be made".to_owned() },
        () if error.is_timeout() => "the destination did not answer in time".to_owned(),
        () if error.is_connect() => format!("the destination can't be reached: {}", root_cause(error)),
        () => format!("the connection broke: {}", root_cause(error)),
    };
    SendError::Transient { retry_after: None, reason }
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
