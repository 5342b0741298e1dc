//! Events: facts about a session, numbered from 1 without holes, never edited but by an erasure (`erasure`).
//!
//! The oldest may have been compacted (`compaction`): then one event stands for them, and the session begins with it.
//!
//! The vocabulary follows the upserts of the Agent Client Protocol's second version: messages and tool calls are
//! named by an id, and a later event about the same id adds to it.
//!
//! Not here: what the facts add up to (`projection`), how they are stored (`store::event`).

use clock::Timestamp;
use ids::{ArtifactId, CommandId};
use serde::{Deserialize, Serialize};

use crate::projection::Projection;
use crate::spend::ModelUse;

/// A fact with its place in its session's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Event))]
pub struct Recorded {
    /// From 1, without holes; of a session that was compacted, from its `compacted` event.
    pub sequence: i64,
    #[serde(flatten)]
    pub event: Event,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// A fact. In JSON: `{"kind": "...", "payload": {...}}`; in SQL: the columns `kind` and `payload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Fact))]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case")]
pub enum Event {
    /// The first, unless the session was compacted.
    SessionCreated {
        title: String,
        agent: String,
    },
    /// The messages that follow, so many, were said elsewhere and imported. Their time is when they were said, if that is known.
    HistoryImported {
        /// Where they come from, in the words of whoever imported them.
        source: String,
        messages: i64,
    },
    /// A worker began to carry out a command. Seen again with a higher `attempt` if an earlier one was lost.
    TurnStarted {
        command_id: CommandId,
        attempt: i32,
    },
    /// Text to add to a message; the first one about a `message_id` begins it.
    MessageAppended {
        message_id: String,
        role: MessageRole,
        text: String,
    },
    /// What is known of a tool call. Absent fields leave what was known.
    ToolCallUpserted {
        tool_call_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        status: ToolCallStatus,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
    ApprovalRequested {
        request_id: String,
        title: String,
    },
    ApprovalResolved {
        request_id: String,
        outcome: ApprovalOutcome,
    },
    QuestionAsked {
        request_id: String,
        question: String,
    },
    QuestionAnswered {
        request_id: String,
        answer: String,
    },
    ArtifactCreated {
        artifact_id: ArtifactId,
        name: String,
        media_type: String,
        /// Bytes.
        size: i64,
        /// Lower-case hex.
        sha256: String,
    },
    /// What the turn took: as the agent says itself, or as it was read from what a provider answered.
    UsageRecorded {
        input_tokens: i64,
        output_tokens: i64,
        /// Whose tokens they are. Absent: the agent says so itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelUse>,
    },
    /// The command's turn is over, or waits for a person.
    TurnEnded {
        command_id: CommandId,
        outcome: TurnOutcome,
        /// What went wrong, for people; only with `failed`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Stands for every event up to its own sequence, and for nothing else: it is the first that there is. Whoever adds events
    /// up begins anew with it.
    Compacted {
        /// What they added up to.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        projection: Box<Projection>,
    },
}

/// What a worker calls the message of a prompt. An erasure knows by it who said what is left of a compacted message.
#[must_use]
pub fn prompt_message_id(ordinal: i64) -> String {
    format!("prompt-{ordinal}")
}

/// What a worker calls the message of a prompt that the turn of another command heard. An attempt that follows a lost one hears it
/// again, and so may a turn of its own: each says it under a name of its own, or the texts would be added up.
#[must_use]
pub fn steering_message_id(ordinal: i64, turn: i64, attempt: i32) -> String {
    format!("{}.{turn}.{attempt}", prompt_message_id(ordinal))
}

/// The ordinal of the prompt that a worker named a message after.
#[must_use]
pub fn prompt_of_message(message_id: &str) -> Option<i64> {
    message_id.strip_prefix("prompt-")?.split('.').next()?.parse().ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MessageRole {
    User,
    Agent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ToolCallStatus {
    Pending,
    InProgress,
    Completed,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApprovalOutcome {
    Approved,
    Rejected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TurnOutcome {
    Completed,
    /// The turn goes on after an `approve` or `reject`.
    AwaitingApproval,
    /// The turn goes on after an `answer`.
    AwaitingAnswer,
    Aborted,
    Failed,
    /// Set aside after too many attempts.
    Dead,
}

impl TurnOutcome {
    /// Whether the turn will go on once a person has spoken.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(self, Self::AwaitingApproval | Self::AwaitingAnswer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_prompt_tells_the_ordinal_whoever_heard_it() {
        let check = |message_id: &str, expect| assert_eq!(prompt_of_message(message_id), expect, "{message_id}");
        check(&prompt_message_id(12), Some(12));
        check(&steering_message_id(12, 7, 2), Some(12));
        check("prompt-", None);
        check("message-12.1.1", None);
        check("12", None);
    }

    #[test]
    fn an_event_is_a_kind_and_a_payload() {
        let event = Event::ApprovalRequested { request_id: "r1".into(), title: "delete it".into() };
        let json =
            serde_json::json!({"kind": "approval_requested", "payload": {"request_id": "r1", "title": "delete it"}});
        assert_eq!(serde_json::to_value(&event).unwrap(), json);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
}
