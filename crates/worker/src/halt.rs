//! Why a session's work stops before its end.

use std::error::Error;

use clock::Timestamp;
use store::StoreError;

/// What to do with the lease.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Nothing: it is somebody else's.
    Lost,
    /// Give it up at once: this process ends, or the system is in maintenance.
    Cut,
    /// Give it up until then: the org has used a quota up.
    OverQuota(Timestamp),
    /// Give it up, and let it be tried again after a while.
    Retry(Box<dyn Error + Send + Sync>),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost => Self::Lost,
            error => Self::Retry(error.into()),
        }
    }
}

/// An error with its sources, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| (*error).source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
