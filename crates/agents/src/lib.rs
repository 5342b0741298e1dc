//! Agent runtimes behind one trait.
//!
//! Not here: leases, rows, blobs (`worker`). An agent sees a workspace folder, the state that it left behind last time,
//! and a sink for what happens.

mod access;
mod acp;
mod bytes;
mod inbox;
pub mod sandbox;
mod script;
mod scripted;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use domain::command::Wish;
use domain::event::Event;
use domain::spend::Spent;
use ids::{OrgId, SessionId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use crate::access::{ModelAccess, ModelDoor, NoAccess};
pub use crate::acp::{Acp, AcpLimits, AcpSettings, Confinement};
pub use crate::inbox::{Inbox, Outbox, Steering};
pub use crate::scripted::Scripted;

/// A runtime that can carry out turns.
#[async_trait]
pub trait Agent: Debug + Send + Sync {
    /// What sessions call it.
    fn name(&self) -> &str;

    /// Where in a session's folder the files are that people gave the session, and that the agent works on. All of the folder is
    /// saved.
    fn works_in(&self, folder: &Path) -> PathBuf {
        folder.to_owned()
    }

    /// Carries out one wish: a prompt, or the answer, approval or rejection that the last turn waited for. Returns soon
    /// after `cancel`, with whatever it has.
    ///
    /// An agent that can be steered looks into `turn.inbox` meanwhile. For one that never does, what was to steer it waits as other
    /// prompts do, and goes first.
    async fn turn(&self, turn: Turn, sink: &mut dyn EventSink, cancel: &CancellationToken) -> TurnResult;
}

/// What is asked, and from where it goes on.
#[derive(Debug)]
pub struct Turn {
    pub org: OrgId,
    pub session: SessionId,
    /// Of the command, in its session.
    pub ordinal: i64,
    /// From 1. Events of a lost attempt stay, so what an attempt names must differ from what the one before named.
    pub attempt: i32,
    /// As it was when the last turn ended. The path of a session never changes.
    pub workspace: PathBuf,
    /// The folder is as this worker's last turn left it. If not, it was made anew, and what an agent still has open is not there.
    pub untouched: bool,
    /// What the last turn left behind; null at first.
    pub state: Value,
    pub wish: Wish,
    /// What lost attempts at it spent with a provider.
    pub spent: Spent,
    /// What people say meanwhile. An attempt that follows a lost one finds again what that one had heard.
    pub inbox: Inbox,
}

/// How a turn went.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnResult {
    /// For the next turn.
    pub state: Value,
    pub outcome: Outcome,
}

impl TurnResult {
    pub(crate) fn failed(state: Value, error: String) -> Self {
        Self { state, outcome: Outcome::Failed { error } }
    }
}

/// What an agent remembers; nothing at first.
///
/// # Errors
/// A turn that failed because it can't be read. The state stays as it is.
pub(crate) fn recalled<M: Default + DeserializeOwned>(state: &Value) -> Result<M, TurnResult> {
    if state.is_null() {
        return Ok(M::default());
    }
    serde_json::from_value(state.clone())
        .map_err(|error| TurnResult::failed(state.clone(), format!("the agent's saved state can't be read: {error}")))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    /// An `approval_requested` was emitted.
    AwaitingApproval,
    /// A `question_asked` was emitted.
    AwaitingAnswer,
    Failed {
        /// For people.
        error: String,
    },
    /// It was cancelled.
    Aborted,
}

/// Where an agent tells what happens, in order.
#[async_trait]
pub trait EventSink: Send {
    async fn emit(&mut self, event: Event) -> Result<(), SinkError>;

    /// Makes a file an artifact. Its bytes are read before this returns; the agent may change the file afterwards.
    async fn publish(&mut self, artifact: Publication) -> Result<(), SinkError>;

    /// Tells that the agent hears what a person said, at this place, and gives it back. From then on it is part of the turn.
    async fn heard(&mut self, steering: Steering) -> Result<String, SinkError>;
}

/// A file for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub name: String,
    pub media_type: String,
    /// In the workspace, relative to it. A link is not followed.
    pub path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The turn is over for whoever listened. The agent should return; nobody looks at its result.
    #[error("nobody listens any more")]
    Closed,
    #[error("the artifact could not be stored")]
    Publish(#[source] Box<dyn std::error::Error + Send + Sync>),
}
