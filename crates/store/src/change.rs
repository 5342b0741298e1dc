//! Changes of things that two may edit at once.
//!
//! Not here: which states there are, and when one is the one that was meant (`domain::version`).

use crate::StoreError;

/// Why something stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("the org has no such {0}")]
    NoSuch(&'static str),
    #[error("the {0} is in another state than the change was made for")]
    Stale(&'static str),
    #[error("the {0} is closed for good")]
    Closed(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}
