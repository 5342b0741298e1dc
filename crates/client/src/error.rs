//! What can go wrong with a call, by what the caller can do about it.

use serde::Deserialize;

/// A call did not give its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server says no, and why.
    #[error("the server answered {}: {}", .0.status, .0.detail)]
    Problem(Problem),
    /// No answer: nobody listens, the connection broke, it took too long. Whether the call had its effect is unknown.
    #[error("the server did not answer")]
    Transport(#[source] reqwest::Error),
    /// An answer that is not of this API.
    #[error("the server answered {status} with something that is not of this API: {start}")]
    Unexpected {
        status: u16,
        /// The first characters of it.
        start: String,
    },
    /// A stream broke off, or carried something that is not of this API. Go on after the last event that arrived.
    #[error("the stream ended in disorder: {0}")]
    Stream(String),
}

impl Error {
    /// The HTTP status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            Self::Transport(_) | Self::Stream(_) => None,
            Self::Unexpected { status, .. } => Some(*status),
        }
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(error.without_url())
    }
}

/// The server's account of a failure (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// Stable; decide by it.
    pub code: String,
    /// With `snapshot_required`: where the session's events begin now.
    #[serde(default)]
    pub earliest_sequence: Option<i64>,
    /// With `snapshot_required`: where they end.
    #[serde(default)]
    pub latest_sequence: Option<i64>,
}
