//! Commands: wishes addressed to a session, carried out in the order of their ordinals, but for prompts that interrupt or steer.
//!
//! Not here: carrying them out (`worker`), storing them (`store::command`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// After so many lost attempts a command is set aside as dead.
pub const MAX_ATTEMPTS: i32 = 5;
/// However many attempts were lost, a command waits no longer for the next.
const LOST_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a command waits when an attempt was lost that came after `before` others: `base`, then four times as long with each. So
/// an outage that a person would wait out does not make a dead letter of what was asked meanwhile. After the last attempt
/// nothing is left to wait for.
#[must_use]
pub fn wait_after_loss(base: Duration, before: i32) -> Duration {
    let before = u32::try_from(before).unwrap_or(0);
    if before + 1 >= MAX_ATTEMPTS.unsigned_abs() {
        return base;
    }
    (base * 4_u32.pow(before)).min(LOST_WAIT_MAX)
}

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

/// What becomes of a prompt whose session is at work: a turn runs or waits for a person, or commands wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhileRunning {
    /// It is carried out after what came before it.
    #[default]
    Queue,
    /// It is refused.
    Reject,
    /// The turn is aborted, and it goes before what waits.
    Interrupt,
    /// The agent that is at work is given it, and the turn goes on. A turn that ends without having heard it leaves it to go before
    /// what waits.
    Steer,
}

impl WhileRunning {
    /// As it is stored. `None`: it waits, as everything does that is no prompt.
    #[must_use]
    pub fn column(self) -> Option<&'static str> {
        match self {
            Self::Queue => None,
            Self::Reject => Some("reject"),
            Self::Interrupt => Some("interrupt"),
            Self::Steer => Some("steer"),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_of_some_seconds_is_waited_out() {
        let base = Duration::from_millis(200);
        let waits: Vec<u128> = (0..6).map(|before| wait_after_loss(base, before).as_millis()).collect();
        assert_eq!(waits, [200, 800, 3_200, 10_000, 200, 200]);
        assert_eq!(wait_after_loss(base, -1), base);
        assert_eq!(wait_after_loss(base, i32::MAX), base);
    }
}
