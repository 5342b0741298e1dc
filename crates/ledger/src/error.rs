//! What can go wrong, by what the caller can do about it.

use std::sync::Arc;

use ids::{SystemId, WriterId};
use objects::ObjectsError;

use crate::segment::FrameError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The object store did not answer, or not in time. Nothing may leave; it may be tried again. What was to be
    /// recorded may be in the ledger all the same.
    #[error("the recovery ledger can't be reached ({during})")]
    Unavailable {
        during: &'static str,
        #[source]
        source: Option<Arc<ObjectsError>>,
    },
    /// A newer generation has begun: this process belongs to a system that was replaced, and must stop.
    #[error("generation {generation} of this system has begun, and this process belongs to an older one")]
    Fenced { generation: i64 },
    /// Another restore has begun this generation, or the newer one that is named.
    #[error("generation {generation} was begun by another restore")]
    GenerationTaken { generation: i64 },
    #[error("the ledger belongs to the system {found}, not to {expected}")]
    AnotherSystem { found: SystemId, expected: SystemId },
    /// Nobody has written to this ledger yet: there is nothing that it could remember.
    #[error("the ledger is empty")]
    Empty,
    #[error("{key} has format {format}, which a newer version of this program wrote")]
    NewerFormat { key: String, format: u16 },
    /// Somebody else writes as this writer.
    #[error("another process writes to the ledger as {writer}")]
    TwoWriters { writer: WriterId },
    #[error("{key} can't be used: {why}")]
    Damaged { key: String, why: String },
    #[error("the ledger was closed")]
    Closed,
}

impl LedgerError {
    /// Whether trying again may help.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn unavailable(during: &'static str, source: ObjectsError) -> Self {
        Self::Unavailable { during, source: Some(Arc::new(source)) }
    }

    pub(crate) fn frame(key: &str, error: FrameError) -> Self {
        match error {
            FrameError::Newer(format) => Self::NewerFormat { key: key.to_owned(), format },
            error => Self::Damaged { key: key.to_owned(), why: error.to_string() },
        }
    }
}
