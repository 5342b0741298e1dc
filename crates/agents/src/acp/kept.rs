//! Processes that are kept from turn to turn, stopped, for a while and up to a number.
//!
//! Not here: whether one may be gone on with (`acp`).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use domain::event::ToolCallStatus;
use ids::SessionId;
use serde_json::Value;

use super::process::Process;
use super::wire::Asked;

/// A process with what is known of its session.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) process: Process,
    /// What the agent calls the session.
    pub(super) session: String,
    /// Of the last request to it.
    pub(super) asked: u64,
    /// The request that it has not answered yet: a prompt.
    pub(super) prompt: Option<u64>,
    /// What it waits to be permitted, under the ids of its requests.
    pub(super) permissions: VecDeque<(Value, Asked)>,
    /// Its tool calls since the last prompt, by what it calls them.
    pub(super) calls: HashMap<String, Known>,
}

/// A tool call that was told of.
#[derive(Debug)]
pub(super) struct Known {
    /// What we call it.
    pub(super) ours: String,
    pub(super) title: Option<String>,
    pub(super) status: ToolCallStatus,
}

impl Live {
    pub(super) async fn stands(&self) -> bool {
        match &self.process.door {
            Some(door) => door.stands().await,
            None => true,
        }
    }

    /// The id of the next request to it.
    pub(super) fn next_id(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }
}

#[derive(Debug, Clone)]
pub(super) struct Kept {
    sessions: Arc<Mutex<HashMap<SessionId, Resting>>>,
    idle: Duration,
    max: usize,
}

#[derive(Debug)]
struct Resting {
    left: String,
    live: Live,
    since: tokio::time::Instant,
}

impl Kept {
    pub(super) fn new(idle: Duration, max: usize) -> Self {
        Self { sessions: Arc::default(), idle, max }
    }

    /// Stops it and keeps it for the session's next turn. `false`: it was ended.
    pub(super) async fn keep(&self, session: SessionId, left: String, live: Live) -> bool {
        if self.max == 0 || self.idle.is_zero() || !live.process.rest().await {
            live.process.end().await;
            return false;
        }
        let (since, over) = (tokio::time::Instant::now(), self.oldest_of_too_many());
        if let Some(over) = over {
            over.live.process.end().await;
        }
        self.lock().insert(session, Resting { left: left.clone(), live, since });
        let (sessions, idle) = (Arc::downgrade(&self.sessions), self.idle);
        tokio::spawn(async move {
            tokio::time::sleep(idle).await;
            let Some(sessions) = sessions.upgrade() else { return };
            let mut sessions = sessions.lock().expect("no holder of this lock can panic");
            if sessions.get(&session).is_some_and(|resting| resting.left == left) {
                sessions.remove(&session);
            }
        });
        true
    }

    /// What the session's last turn left here, if it is here still, and the name of that turn.
    pub(super) fn take(&self, session: SessionId) -> Option<(String, Live)> {
        let resting = self.lock().remove(&session)?;
        Some((resting.left, resting.live))
    }

    fn oldest_of_too_many(&self) -> Option<Resting> {
        let mut sessions = self.lock();
        if sessions.len() < self.max {
            return None;
        }
        let oldest = sessions.iter().min_by_key(|(_, resting)| resting.since).map(|(session, _)| *session)?;
        sessions.remove(&oldest)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Resting>> {
        self.sessions.lock().expect("no holder of this lock can panic")
    }
}
