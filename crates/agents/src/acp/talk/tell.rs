//! What an agent says and does, as events.
//!
//! The pieces of a message are put together for a moment. A message ends when something else comes.
//!
//! Not here: what ends a turn (`talk`).

use std::time::Duration;

use domain::event::{Event, MessageRole, ToolCallStatus};
use domain::name::tidied;
use tokio::time::Instant;

use super::{Stop, Talk};
use crate::acp::kept::Known;
use crate::acp::wire::{Call, Update};

/// Pieces of a message are put together for so long, or until they are so many bytes.
const PIECES: Duration = Duration::from_millis(25);
const PIECES_BYTES: usize = 4 << 10;
/// Of a title.
const TITLE_BYTES: usize = 500;

impl Talk<'_> {
    pub(super) async fn update(&mut self, update: Update) -> Result<(), Stop> {
        match update {
            Update::Text(text) => self.add(&text).await,
            Update::Call(call) => {
                self.end_message().await?;
                self.call(call).await
            }
            Update::Plan { text, done } => {
                self.end_message().await?;
                self.plan(text, done).await
            }
            Update::Other => Ok(()),
        }
    }

    async fn add(&mut self, text: &str) -> Result<(), Stop> {
        if text.is_empty() {
            return Ok(());
        }
        if self.pieces.is_empty() {
            self.tell_at = Instant::now() + PIECES;
        }
        self.pieces.push_str(text);
        if self.pieces.len() >= PIECES_BYTES { self.tell().await } else { Ok(()) }
    }

    pub(super) async fn call(&mut self, call: Call) -> Result<(), Stop> {
        let title = call.title.as_deref().and_then(titled);
        let output = call.output.map(|output| cut(&output, self.limits.output_bytes));
        let ours = match self.live.calls.get(&call.id) {
            Some(known) => known.ours.clone(),
            None => self.name("call"),
        };
        let begun = || Known { ours, title: None, status: ToolCallStatus::Pending };
        let known = self.live.calls.entry(call.id).or_insert_with(begun);
        known.status = call.status.unwrap_or(known.status);
        if title.is_some() {
            known.title.clone_from(&title);
        }
        let (tool_call_id, status) = (known.ours.clone(), known.status);
        Ok(self.sink.emit(Event::ToolCallUpserted { tool_call_id, title, status, output }).await?)
    }

    /// Shown as a tool call: what it adds up to is the plan as it was told last.
    async fn plan(&mut self, text: String, done: bool) -> Result<(), Stop> {
        let (tool_call_id, title) = match &self.plan {
            Some(known) => (known.clone(), None),
            None => (self.name("plan"), Some("Plan".to_owned())),
        };
        self.plan = Some(tool_call_id.clone());
        let status = if done { ToolCallStatus::Completed } else { ToolCallStatus::InProgress };
        let output = Some(cut(&text, self.limits.output_bytes));
        Ok(self.sink.emit(Event::ToolCallUpserted { tool_call_id, title, status, output }).await?)
    }

    /// Tells what was said so far of a message.
    pub(super) async fn tell(&mut self) -> Result<(), Stop> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let message_id = match &self.message {
            Some(message) => message.clone(),
            None => self.name("message"),
        };
        self.message = Some(message_id.clone());
        let text = std::mem::take(&mut self.pieces);
        Ok(self.sink.emit(Event::MessageAppended { message_id, role: MessageRole::Agent, text }).await?)
    }

    /// Something else than its message comes next; what it says after that is another message.
    pub(super) async fn end_message(&mut self) -> Result<(), Stop> {
        self.tell().await?;
        self.message = None;
        Ok(())
    }

    /// An id that no other attempt, turn or call of this session has.
    pub(super) fn name(&mut self, what: &str) -> String {
        self.named += 1;
        format!("{what}-{}.{}.{}", self.turn.ordinal, self.turn.attempt, self.named)
    }
}

/// A title as people see it, who may have to decide by it: a line that shows all that it has. `None`: that is nothing.
pub(super) fn titled(title: &str) -> Option<String> {
    let line = tidied(title, usize::MAX);
    (!line.is_empty()).then(|| cut(&line, TITLE_BYTES))
}

/// The beginning of a text, and that it is one.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{} [{} bytes are left out]", &text[..end], text.len() - end)
}
