//! People in a chat, and what agents asked them there: who may do what, a question that is open when the backup is taken, and two
//! that they decide by its tokens, one before the backup and one after it.
//!
//! The backup has all of it as it was before. Who was disabled since, and that a question was decided since, is for the recovery
//! ledger to say (decision 0094).
//!
//! Not here: whether the restored system knows (`checks::people`), how it comes about (`life::chats`).

use clock::Timestamp;
use ids::{AccountId, ChannelIdentityId, CommandId, InteractionId, OrgId, SessionId};
use secrecy::SecretString;

use super::KnownChannel;

/// What has to stand after a restore.
#[derive(Debug, Clone)]
pub(crate) struct People {
    pub(crate) org: OrgId,
    pub(crate) channel: KnownChannel,
    /// A thread of the backup in which nobody asks anything.
    pub(crate) hall: &'static str,
    /// Linked to a member, and may prompt and decide: nobody has said otherwise since.
    pub(crate) decider: Person,
    pub(crate) member: AccountId,
    /// Were disabled, and could prompt otherwise.
    pub(crate) disabled: Vec<Disabled>,
    /// Nobody has spoken to it.
    pub(crate) open: Question,
    /// Before the backup, as it was answered then, and after it.
    pub(crate) decided: [Decided; 2],
}

/// Somebody in the chat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person {
    pub(crate) identity: ChannelIdentityId,
    /// What the chat calls the person.
    pub(crate) external_id: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Disabled {
    pub(crate) person: Person,
    pub(crate) when: When,
}

/// When somebody was disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    BeforeBackup,
    /// Not earlier than this.
    After(Timestamp),
    /// As above, and the person had never written before the backup: it has no row.
    AfterAsNewcomer,
}

/// A request for approval that a thread was told of.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) session: SessionId,
    pub(crate) thread: &'static str,
    pub(crate) interaction: InteractionId,
    pub(crate) request_id: String,
    pub(crate) token: SecretString,
}

/// A question, and the message that decided it.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) question: Question,
    pub(crate) event_id: String,
    pub(crate) command: CommandId,
}

impl People {
    /// The tokens that threads were told.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &SecretString> {
        [&self.open].into_iter().chain(self.decided.iter().map(|decided| &decided.question)).map(|it| &it.token)
    }
}
