//! What somebody outside was told or has seen. It must stay so, whatever was killed meanwhile.
//!
//! Not here: comparing it with the rows (`laws`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ids::{ArtifactId, ChannelId, CommandId, SessionId, TokenId};

/// Sentences that are kept of what nobody expected.
const KEPT: usize = 50;

#[derive(Debug, Clone)]
pub(crate) struct ToldCommand {
    pub(crate) session: SessionId,
    pub(crate) key: String,
    pub(crate) command: CommandId,
}

#[derive(Debug, Clone)]
pub(crate) struct ToldInbound {
    pub(crate) channel: ChannelId,
    pub(crate) event: String,
    pub(crate) command: Option<CommandId>,
    pub(crate) duplicate: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct ToldArtifact {
    pub(crate) artifact: ArtifactId,
    pub(crate) sha256: [u8; 32],
    pub(crate) size: i64,
}

/// An event that a reader saw, in the order in which it did.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) reader: String,
    pub(crate) session: SessionId,
    pub(crate) sequence: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) commands: Vec<ToldCommand>,
    pub(crate) inbound: Vec<ToldInbound>,
    pub(crate) artifacts: Vec<ToldArtifact>,
    /// Tokens, and whether whoever revoked one was told that it is.
    pub(crate) tokens: Vec<(TokenId, bool)>,
    /// By readers of single sessions.
    pub(crate) seen: Vec<Seen>,
    /// By the reader of the org's feed.
    pub(crate) fed: Vec<Seen>,
    /// What should not have happened, for people.
    pub(crate) surprises: Vec<String>,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Record>>);

impl Told {
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn surprise(&self, what: impl Into<String>) {
        let mut record = self.record();
        if record.surprises.len() < KEPT {
            record.surprises.push(what.into());
        }
    }
}
