//! What the ledger remembers: one record per thing that a restore must not forget.
//!
//! A record holds ids, keyed digests, small numbers and instants. It holds no content: no text of a message, no
//! address, no key.
//!
//! Not here: how a record becomes bytes (`codec`), what many records add up to (`fold`).

use std::fmt;

use clock::Timestamp;
use ids::{
    AccountId, BackupId, ByokKeyId, ChannelId, DeliveryId, InletId, OrgId, TokenId, TriggerId, WorkflowId, WriterId,
};

/// A keyed digest of something that must be recognised again but not be read: see [`crate::DigestKey`].
pub type Digest = [u8; 32];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Record {
    /// A message may leave from now on.
    DeliveryIntent {
        org: OrgId,
        delivery: DeliveryId,
        /// Names one sending, from 1. Whoever gives a claim back without having sent anything may use the number
        /// again only if no outcome was recorded under it.
        attempt: u32,
        /// The channel takes a repeated message with the same id for the same message.
        deduplicates: bool,
    },
    DeliveryOutcome {
        org: OrgId,
        delivery: DeliveryId,
        attempt: u32,
        outcome: Outcome,
    },
    /// A slot may fire from now on.
    SlotIntent {
        org: OrgId,
        workflow: WorkflowId,
        due_at: Timestamp,
    },
    SlotFired {
        org: OrgId,
        workflow: WorkflowId,
        due_at: Timestamp,
    },
    /// A message from outside was taken: it became a prompt, or the call of a workflow.
    InboundAccepted {
        org: OrgId,
        inlet: InletId,
        event: Digest,
    },
    /// Something that works once was used: an approval's button, a link.
    InteractionUsed {
        org: OrgId,
        interaction: Digest,
    },
    /// Something that a person in a chat might do was taken away: the person was disabled, may do less, or is linked to
    /// another account or to none.
    IdentityRestricted {
        org: OrgId,
        identity: Digest,
    },
    TokenRevoked {
        org: OrgId,
        token: TokenId,
    },
    /// A browser's session was ended. `session` is a digest: the cookie's value is as good as a password.
    SessionRevoked {
        account: AccountId,
        session: Digest,
    },
    MemberRemoved {
        org: OrgId,
        account: AccountId,
    },
    /// A channel was closed for good.
    ChannelClosed {
        org: OrgId,
        channel: ChannelId,
    },
    /// From now on `version` of the key is the current one. `org` is `None` for keys of the installation.
    KeyRotated {
        org: Option<OrgId>,
        key: Key,
        version: Label,
    },
    /// A key that a user brought was taken out of force.
    KeyRevoked {
        org: OrgId,
        key: ByokKeyId,
    },
    /// An account's personal data is gone. `org` is `None` if it is gone from all of them.
    SubjectErased {
        org: Option<OrgId>,
        account: AccountId,
    },
    /// Stands in the marker of a generation, not in segments.
    GenerationStarted {
        generation: i64,
        environment: Environment,
        /// What it was restored from. `None`: begun without a backup.
        backup: Option<BackupId>,
    },
}

/// What became of one sending.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The far side has accepted it.
    Sent {
        /// What the far side calls it, if it said so briefly.
        message: Option<Label>,
    },
    /// It has certainly not arrived, and may be tried again.
    NotSent,
    /// It is given up.
    Dead,
    /// It may or may not have arrived.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// The adapter key, which wraps the orgs' data keys.
    Adapter,
    /// A key that a user brought. Its versions are numbers of its secrets, of ten digits.
    Byok(ByokKeyId),
    /// The signing secret of a channel.
    Channel(ChannelId),
    /// The signing secret of a trigger. Its versions are numbers of ten digits, so that the newest is also the greatest.
    Trigger(TriggerId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Environment {
    Production,
    Drill,
}

/// A short name that another party gave: 1 to [`Label::MAX`] bytes of visible ASCII.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(String);

impl Label {
    pub const MAX: usize = 128;

    /// `None`: longer, empty, or with bytes other than visible ASCII. Then the ledger does without.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A record with who wrote it when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When its segment was closed: after the call that recorded it, and before that call returned. By the clock of
    /// the writer.
    pub at: Timestamp,
    pub generation: i64,
    pub writer: WriterId,
    pub record: Record,
}
