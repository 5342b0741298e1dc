//! A failed request in a sentence, without the address it went to: an address may hold a secret.
//!
//! Only a connection that never came to be proves that nothing was sent; whatever fails later may have arrived.

use egress::{refusal, root_cause};

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
