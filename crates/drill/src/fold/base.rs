//! A session that was compacted begins with a base: one event that holds the projection of all those that it stands for. The
//! judge goes on from what it says, and reads it strictly: a field too many or one that is missing is damage.
//!
//! Not here: whether it is the first event (`checks::parity`).

use serde::Deserialize;
use serde_json::Value;

use super::{Fold, Message, Newest, ToolCall, Unreadable};

/// The kind of the event.
pub(crate) const BASE: &str = "compacted";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    projection: Stored,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    title: String,
    agent: String,
    state: String,
    messages: Vec<Message>,
    message_count: u64,
    tool_calls: Vec<ToolCall>,
    tool_call_count: u64,
    artifacts: Vec<Value>,
    artifact_count: u64,
    waiting_for: Option<Request>,
    turns: Turns,
    input_tokens: i64,
    output_tokens: i64,
    last_error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    request_id: String,
    text: String,
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turns {
    completed: u64,
    failed: u64,
    aborted: u64,
    dead: u64,
}

impl Fold {
    /// What a base says, from its payload as stored.
    pub(super) fn of_base(payload: &str) -> Result<Self, Unreadable> {
        let Payload { projection: stored } = serde_json::from_str(payload).map_err(Unreadable::Payload)?;
        let state = word(&stored.state, &["idle", "running", "awaiting_approval", "awaiting_answer", "failed"])?;
        let waiting_for = match stored.waiting_for {
            Some(request) => {
                let kind = word(&request.kind, &["approval", "answer"])?;
                Some((request.request_id, request.text, kind))
            }
            None => None,
        };
        Ok(Self {
            title: stored.title,
            agent: stored.agent,
            state,
            messages: Newest { kept: stored.messages, count: stored.message_count },
            tool_calls: Newest { kept: stored.tool_calls, count: stored.tool_call_count },
            artifacts: Newest { kept: stored.artifacts, count: stored.artifact_count },
            waiting_for,
            completed: stored.turns.completed,
            failed: stored.turns.failed,
            aborted: stored.turns.aborted,
            dead: stored.turns.dead,
            input_tokens: stored.input_tokens,
            output_tokens: stored.output_tokens,
            last_error: stored.last_error,
        })
    }
}

fn word(text: &str, known: &[&'static str]) -> Result<&'static str, Unreadable> {
    let found = known.iter().find(|word| **word == text).copied();
    found.ok_or_else(|| Unreadable::Kind(format!("{BASE}: {text}")))
}
