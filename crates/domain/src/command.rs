//! Commands: wishes addressed to a session, carried out in the order of their ordinals.
//!
//! Not here: carrying them out (`worker`), storing them (`store::command`).

use serde::{Deserialize, Serialize};

/// After so many lost attempts a command is set aside as dead.
pub const MAX_ATTEMPTS: i32 = 5;

/// What is asked. In JSON and SQL: the fields `kind` and `payload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case", deny_unknown_fields)]
pub enum Wish {
    Prompt { text: String },
    Abort {},
    Answer { request_id: String, answer: String },
    Approve { request_id: String },
    Reject { request_id: String },
}

impl Wish {
    /// The value of the `kind` column.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Prompt { .. } => "prompt",
            Self::Abort {} => "abort",
            Self::Answer { .. } => "answer",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
        }
    }

    /// Whether a session whose turn waits for a person can carry this out. A prompt waits for its turn.
    #[must_use]
    pub fn speaks_to_a_waiting_turn(&self) -> bool {
        !matches!(self, Self::Prompt { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    Pending,
    Done,
    /// The agent failed at it.
    Failed,
    /// It made no sense when its turn came, such as an approval of nothing.
    Refused,
    /// Set aside after [`MAX_ATTEMPTS`].
    Dead,
}
