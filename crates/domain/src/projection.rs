//! What a session's events add up to: the page that a person opens.
//!
//! A projection is bounded, however long its session: it keeps the newest messages and tool calls, and excerpts of
//! long texts. So folding an event costs the same at the first and at the millionth. The whole transcript is the
//! events.
//!
//! Folding is pure and total: the same events give the same projection, always, and rebuilding is folding from the
//! start. The judge of a drill folds with code of its own and compares (`drill::checks::parity`), so a change here is
//! a change of what is stored: it needs a rebuild and a note in the changelog.
//!
//! Not here: storing it (`store::session`).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::{ApprovalOutcome, Event, MessageRole, ToolCallStatus, TurnOutcome};

/// How many messages, tool calls and artifacts a projection keeps, each.
pub const KEPT: usize = 20;
/// How many characters of a text a projection keeps, from its start.
pub const EXCERPT_CHARS: usize = 500;

/// The content of a session's projection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Projection {
    pub title: String,
    pub agent: String,
    pub state: SessionState,
    /// The newest [`KEPT`], oldest first.
    pub messages: VecDeque<MessageView>,
    /// Messages ever, kept or not.
    pub message_count: u64,
    /// The newest [`KEPT`], oldest first.
    pub tool_calls: VecDeque<ToolCallView>,
    pub tool_call_count: u64,
    /// The newest [`KEPT`], oldest first.
    pub artifacts: VecDeque<ArtifactView>,
    pub artifact_count: u64,
    /// What the turn in progress waits for, if it waits.
    pub waiting_for: Option<Request>,
    pub turns: TurnCounts,
    pub input_tokens: i64,
    pub output_tokens: i64,
    /// Of the last turn that failed, until one completes.
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    #[default]
    Idle,
    Running,
    AwaitingApproval,
    AwaitingAnswer,
    /// The last turn failed; the next prompt starts afresh.
    Failed,
}

impl SessionState {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::AwaitingApproval => "awaiting_approval",
            Self::AwaitingAnswer => "awaiting_answer",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageView {
    pub message_id: String,
    pub role: MessageRole,
    /// The first [`EXCERPT_CHARS`] characters.
    pub excerpt: String,
    /// Of the whole text.
    pub chars: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCallView {
    pub tool_call_id: String,
    pub title: String,
    pub status: ToolCallStatus,
    /// The first [`EXCERPT_CHARS`] characters of the output.
    pub output: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactView {
    pub artifact_id: ids::ArtifactId,
    pub name: String,
    pub size: i64,
    pub sha256: String,
}

/// Something a person is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub request_id: String,
    pub text: String,
    pub kind: RequestKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    Approval,
    Answer,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TurnCounts {
    pub completed: u64,
    pub failed: u64,
    pub aborted: u64,
    pub dead: u64,
}

impl Projection {
    /// Adds up `events`, from nothing.
    #[must_use]
    pub fn rebuild<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut projection = Self::default();
        for event in events {
            projection.apply(event);
        }
        projection
    }

    /// Folds one more event in. Events must come in their session's order.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::SessionCreated { title, agent } => {
                self.title.clone_from(title);
                self.agent.clone_from(agent);
            }
            // The messages themselves follow.
            Event::HistoryImported { .. } => {}
            Event::TurnStarted { .. } => self.state = SessionState::Running,
            Event::MessageAppended { message_id, role, text } => self.append_message(message_id, *role, text),
            Event::ToolCallUpserted { tool_call_id, title, status, output } => {
                self.upsert_tool_call(tool_call_id, title.as_deref(), *status, output.as_deref());
            }
            Event::ApprovalRequested { request_id, title } => {
                self.wait_for(request_id, title, RequestKind::Approval);
            }
            Event::QuestionAsked { request_id, question } => {
                self.wait_for(request_id, question, RequestKind::Answer);
            }
            Event::ApprovalResolved { request_id, outcome: ApprovalOutcome::Approved | ApprovalOutcome::Rejected }
            | Event::QuestionAnswered { request_id, .. } => self.resolve(request_id),
            Event::ArtifactCreated { artifact_id, name, size, sha256, .. } => {
                self.artifact_count += 1;
                let view =
                    ArtifactView { artifact_id: *artifact_id, name: name.clone(), size: *size, sha256: sha256.clone() };
                keep(&mut self.artifacts, view);
            }
            Event::UsageRecorded { input_tokens, output_tokens, .. } => {
                self.input_tokens += input_tokens;
                self.output_tokens += output_tokens;
            }
            Event::TurnEnded { outcome, error, .. } => self.end_turn(*outcome, error.as_deref()),
            Event::Compacted { projection } => self.clone_from(projection),
        }
    }

    fn append_message(&mut self, message_id: &str, role: MessageRole, text: &str) {
        let position = self.messages.iter().rposition(|message| message.message_id == message_id);
        let message = if let Some(position) = position {
            &mut self.messages[position]
        } else {
            self.message_count += 1;
            let fresh = MessageView { message_id: message_id.to_owned(), role, excerpt: String::new(), chars: 0 };
            keep(&mut self.messages, fresh)
        };
        let kept = usize::try_from(message.chars).unwrap_or(usize::MAX).min(EXCERPT_CHARS);
        message.excerpt.extend(text.chars().take(EXCERPT_CHARS - kept));
        message.chars += text.chars().count() as u64;
    }

    fn upsert_tool_call(
        &mut self,
        tool_call_id: &str,
        title: Option<&str>,
        status: ToolCallStatus,
        output: Option<&str>,
    ) {
        let position = self.tool_calls.iter().rposition(|call| call.tool_call_id == tool_call_id);
        let call = if let Some(position) = position {
            &mut self.tool_calls[position]
        } else {
            self.tool_call_count += 1;
            let tool_call_id = tool_call_id.to_owned();
            keep(
                &mut self.tool_calls,
                ToolCallView { tool_call_id, title: String::new(), status, output: String::new() },
            )
        };
        call.status = status;
        if let Some(title) = title {
            call.title = excerpt(title);
        }
        if let Some(output) = output {
            call.output = excerpt(output);
        }
    }

    fn wait_for(&mut self, request_id: &str, text: &str, kind: RequestKind) {
        self.waiting_for = Some(Request { request_id: request_id.to_owned(), text: excerpt(text), kind });
    }

    fn resolve(&mut self, request_id: &str) {
        self.waiting_for.take_if(|request| request.request_id == request_id);
    }

    fn end_turn(&mut self, outcome: TurnOutcome, error: Option<&str>) {
        self.state = match outcome {
            TurnOutcome::Completed => {
                self.turns.completed += 1;
                self.last_error = None;
                SessionState::Idle
            }
            TurnOutcome::AwaitingApproval => SessionState::AwaitingApproval,
            TurnOutcome::AwaitingAnswer => SessionState::AwaitingAnswer,
            TurnOutcome::Aborted => {
                self.turns.aborted += 1;
                SessionState::Idle
            }
            TurnOutcome::Failed => {
                self.turns.failed += 1;
                self.last_error = error.map(excerpt);
                SessionState::Failed
            }
            TurnOutcome::Dead => {
                self.turns.dead += 1;
                self.last_error = error.map(excerpt);
                SessionState::Failed
            }
        };
        if !outcome.waits() {
            self.waiting_for = None;
        }
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).collect()
}

/// Adds to the newest, drops the oldest past [`KEPT`], and gives back what was added.
fn keep<T>(views: &mut VecDeque<T>, view: T) -> &mut T {
    if views.len() == KEPT {
        views.pop_front();
    }
    views.push_back(view);
    views.back_mut().expect("something was just pushed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message_id: &str, text: &str) -> Event {
        Event::MessageAppended { message_id: message_id.into(), role: MessageRole::Agent, text: text.into() }
    }

    #[test]
    fn deltas_of_one_message_become_one_text() {
        let view = Projection::rebuild(&[said("m1", "hel"), said("m1", "lo"), said("m2", "x")]);
        assert_eq!(view.message_count, 2);
        assert_eq!((view.messages[0].excerpt.as_str(), view.messages[0].chars), ("hello", 5));
    }

    #[test]
    fn a_projection_stays_small_however_long_the_session() {
        let mut view = Projection::default();
        for n in 0..1_000 {
            view.apply(&said(&format!("m{n}"), &"é".repeat(2_000)));
        }
        assert_eq!((view.message_count, view.messages.len()), (1_000, KEPT));
        assert_eq!(view.messages[0].excerpt.chars().count(), EXCERPT_CHARS);
        assert_eq!(view.messages[0].chars, 2_000);
    }

    #[test]
    fn an_approval_is_waited_for_until_it_is_resolved() {
        let command_id = uuid::Uuid::from_u128(1).into();
        let mut view = Projection::rebuild(&[
            Event::ApprovalRequested { request_id: "r1".into(), title: "delete it".into() },
            Event::TurnEnded { command_id, outcome: TurnOutcome::AwaitingApproval, error: None },
        ]);
        assert_eq!(view.state, SessionState::AwaitingApproval);
        assert_eq!(view.waiting_for.as_ref().unwrap().request_id, "r1");
        view.apply(&Event::ApprovalResolved { request_id: "r1".into(), outcome: ApprovalOutcome::Approved });
        assert_eq!(view.waiting_for, None);
    }
}
