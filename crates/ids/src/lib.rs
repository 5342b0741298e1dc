//! A typed id per noun, so that one can't be passed for another.
//!
//! Every id is a UUID, version 7 where this program makes it: ids made later sort later, which keeps the hot end of
//! every index small. In JSON, in SQL and in logs an id is the plain hyphenated UUID.
//!
//! Not here: making one. That takes a clock and randomness, which are injected (`clock::Sources::id`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = Uuid))]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The id as a bare UUID, for places that know no nouns (a byte layout, associated data).
            #[must_use]
            pub fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )* };
}

id! {
    /// The installation, the same across its restores.
    SystemId,
    /// A tenant.
    OrgId,
    /// A person or a program that signs in.
    AccountId,
    /// An API token. Not the secret itself.
    TokenId,
    /// A browser in which somebody signed in. Not the secret itself.
    BrowserSessionId,
    /// Somebody's way to become a member. Not the secret itself.
    InvitationId,
    /// A durable conversation with an agent.
    SessionId,
    /// A wish addressed to a session.
    CommandId,
    /// An agent's saved workspace and state.
    CheckpointId,
    /// A file that a session produced for people.
    ArtifactId,
    /// A file that somebody sends in parts.
    UploadId,
    /// What workspaces of sessions begin with.
    ProjectSourceId,
    /// Repeatable work.
    WorkflowId,
    /// What starts a workflow.
    TriggerId,
    /// One execution of a workflow.
    RunId,
    /// A way to reach people outside: where messages come in and where they go.
    ChannelId,
    /// Where signed messages come in: a channel, or a trigger of the kind `webhook`.
    InletId,
    /// A channel thread tied to a session.
    BindingId,
    /// Who a person in a chat is.
    ChannelIdentityId,
    /// A question of an agent that a thread was told of, with a token to decide it.
    InteractionId,
    /// One message to one destination.
    DeliveryId,
    /// A key that a user brought.
    ByokKeyId,
    /// A metered quantity.
    UsageId,
    /// An effect that the recovery ledger does not know yet.
    OutboxId,
    /// An entry of the audit trail.
    AuditId,
    /// A process that was started as one role or several.
    InstanceId,
    /// One open recovery ledger of one process: the owner of a chain of segments.
    WriterId,
    /// One restorable state in an archive.
    BackupId,
    /// One run of a drill.
    DrillId,
}

impl From<ChannelId> for InletId {
    fn from(channel: ChannelId) -> Self {
        Self(channel.0)
    }
}

impl From<TriggerId> for InletId {
    fn from(trigger: TriggerId) -> Self {
        Self(trigger.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_what_it_prints() {
        let id = SessionId::from(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse::<SessionId>().unwrap(), id);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
    }
}
