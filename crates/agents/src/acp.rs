//! Agents that speak the Agent Client Protocol over standard input and output (decision 0095).
//!
//! Ours is the transcript of record: what an agent replays of its own when it loads a session is not looked at. What it saves of its own
//! goes into the checkpoint with its home, and what it needs to be found again is the state of the session.
//!
//! Between turns its process is kept for a while, stopped: it changes nothing, so the checkpoint holds, and the next turn on this
//! worker need not start it. If that comes on another worker, or later, the agent is started anew and loads its session. A question
//! that it waited with is then gone with the process: the agent is told what the person said, and if it asks the very same again
//! after a yes, it is answered without the person.
//!
//! Not promised: that an agent goes on after a restart in the middle of what it did; that a turn's files are consistent if the agent
//! does not stop in time, though then its process is ended first.
//!
//! Not here: the protocol's types (`wire`), one turn (`talk`), processes (`process`, `kept`), the cage (`sandbox`).

mod kept;
mod lines;
mod process;
mod settings;
mod start;
mod talk;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use domain::command::Wish;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use self::kept::{Kept, Live};
use self::process::Starter;
pub use self::settings::{AcpLimits, AcpSettings, Confinement};
use self::talk::{Stop, Talk};
use crate::{Agent, EventSink, ModelAccess, ModelDoor, Outcome, SinkError, Turn, TurnResult, recalled};

/// Below a session's folder: what people gave it, and what the agent keeps of its own.
const WORK: &str = "work";
const HOME: &str = "home";

/// An agent that speaks ACP.
#[derive(Debug)]
pub struct Acp {
    settings: AcpSettings,
    access: Arc<dyn ModelAccess>,
    starter: Starter,
    kept: Kept,
}

/// What is remembered of an agent from turn to turn.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Memory {
    turns: u64,
    /// What the agent calls the session. `None`: it has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// The name and version that it gave last.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// The turn after which its process was kept, by ordinal and attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<String>,
    /// What a person is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waiting>,
}

/// A question that a turn ended with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    title: String,
    /// Of what the agent said it would do.
    digest: String,
}

impl Acp {
    /// # Panics
    /// If this machine starts no thread.
    #[must_use]
    pub fn new(settings: AcpSettings, access: Arc<dyn ModelAccess>) -> Self {
        let kept = Kept::new(settings.limits.idle, settings.limits.kept);
        Self { settings, access, starter: Starter::new(), kept }
    }
}

#[async_trait]
impl Agent for Acp {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn works_in(&self, folder: &Path) -> PathBuf {
        folder.join(WORK)
    }

    async fn turn(&self, turn: Turn, sink: &mut dyn EventSink, cancel: &CancellationToken) -> TurnResult {
        let memory: Memory = match recalled(&turn.state) {
            Ok(memory) => memory,
            Err(failed) => return failed,
        };
        let mut memory = Memory { turns: memory.turns + 1, ..memory };
        let mut door = None;
        let done = self.carry_out(&turn, &mut memory, sink, cancel, &mut door).await;
        let (mut live, outcome) = match done {
            Ok((live, outcome)) => (Some(live), outcome),
            Err(Stop::Failed(error)) => (None, Outcome::Failed { error: format!("{}: {error}", self.settings.name) }),
            Err(Stop::Cancelled | Stop::Sink(SinkError::Closed)) => (None, Outcome::Aborted),
            Err(Stop::Sink(error)) => (None, Outcome::Failed { error: error.to_string() }),
        };
        let outcome = match &door {
            Some(door) => self.account(&**door, outcome, sink).await,
            None => outcome,
        };
        memory.left = None;
        if let Some(kept) = live.take_if(|_| !cancel.is_cancelled() || outcome == Outcome::Aborted) {
            let left = format!("{}.{}", turn.ordinal, turn.attempt);
            if self.kept.keep(turn.session, left.clone(), kept).await {
                memory.left = Some(left);
            }
        }
        // Not before it is at rest: what it still asks would be refused.
        if let Some(door) = door {
            door.end();
        }
        TurnResult { state: serde_json::to_value(&memory).expect("a memory is plain data"), outcome }
    }
}

impl Acp {
    /// Tells what was spent that was not told yet. A turn that could ask no more has failed, whatever the agent made of that.
    async fn account(&self, door: &dyn ModelDoor, outcome: Outcome, sink: &mut dyn EventSink) -> Outcome {
        door.settle().await;
        for spend in door.take() {
            // If nobody listens any more, nothing of the turn counts.
            let _ = sink.emit(spend.event()).await;
        }
        match (door.exceeded(), outcome) {
            (Some(exceeded), Outcome::Completed | Outcome::Failed { .. }) => {
                Outcome::Failed { error: format!("{}: {}", self.settings.name, exceeded.sentence()) }
            }
            (_, outcome) => outcome,
        }
    }

    /// The process goes on waiting for a person, or for the next prompt. An error: it was ended.
    async fn carry_out(
        &self,
        turn: &Turn,
        memory: &mut Memory,
        sink: &mut dyn EventSink,
        cancel: &CancellationToken,
        door: &mut Option<Arc<dyn ModelDoor>>,
    ) -> Result<(Live, Outcome), Stop> {
        let waiting = memory.waiting.take();
        let kept = self.kept.take(turn.session);
        let kept = kept.filter(|(left, _)| turn.untouched && memory.left.as_ref() == Some(left)).map(|(_, live)| live);
        let (mut live, fresh) = match kept {
            Some(live) if live.stands().await => {
                door.clone_from(&live.process.door);
                if let Some(door) = door {
                    door.begin(self.settings.limits.spend, turn.spent).await?;
                }
                live.process.wake();
                (live, false)
            }
            _ => (start::start(self, turn, memory, sink, cancel, door).await?, true),
        };
        let limits = &self.settings.limits;
        let mut talk = Talk::new(limits, turn, &mut live, sink, cancel);
        let done = match &turn.wish {
            Wish::Approve { .. } if !fresh => talk.permit(true).await,
            Wish::Reject { .. } if !fresh => talk.permit(false).await,
            wish => {
                let (text, granted) = words(wish, waiting);
                talk.prompt(&text, granted).await
            }
        };
        match done {
            Ok((outcome, asked)) => {
                memory.waiting = asked;
                Ok((live, outcome))
            }
            Err(stop) => {
                live.process.end().await;
                Err(stop)
            }
        }
    }
}

/// What an agent is told, and what it may do without asking again: what it asked before its process was gone.
fn words(wish: &Wish, waiting: Option<Waiting>) -> (String, Option<String>) {
    let title = waiting.as_ref().map_or_else(String::new, |waiting| format!(" ({})", waiting.title));
    match wish {
        Wish::Prompt { text } => (text.clone(), None),
        Wish::Answer { answer, .. } => (answer.clone(), None),
        Wish::Approve { .. } => {
            (format!("What you asked to be permitted{title} is permitted. Go on."), waiting.map(|it| it.digest))
        }
        Wish::Reject { .. } | Wish::Abort {} => {
            (format!("What you asked to be permitted{title} is not permitted. Go on without it, or stop."), None)
        }
    }
}
