//! What records add up to: of each delivery, slot, token and so on, the one thing that a restore has to know.
//!
//! Pure, and indifferent to order and repetition: facts only grow, and two of one delivery join by [`DeliveryFact::join`],
//! so batches can be folded apart and joined in a table (the numbers join with `|`).
//!
//! Not here: doing something about it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clock::Timestamp;
use ids::{AccountId, ByokKeyId, ChannelId, DeliveryId, InletId, OrgId, TokenId, WorkflowId};

use crate::record::{Digest, Entry, Key, Label, Outcome, Record};

/// What is known of one delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFact {
    /// A bit for each attempt that may have left. Attempts from 64 on share the last bit.
    pub intents: u64,
    /// A bit for each attempt that certainly did not arrive. Never the last bit.
    pub not_sent: u64,
    /// A bit for each attempt after which it was given up.
    pub dead: u64,
    pub sent: bool,
    /// What the far side calls it.
    pub message: Option<Label>,
    /// Some attempt went to a channel that does not recognise a repeated message.
    pub repeats_are_seen: bool,
}

/// The state that a restored delivery must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeliveryVerdict {
    /// It has arrived. It is never sent again.
    Sent,
    /// It was given up. It is not sent again by itself.
    Dead,
    /// It may have arrived. Where `deduplicates`, it may be sent again with the same id; else a person decides.
    Unknown { deduplicates: bool },
    /// It has certainly not arrived: it may be sent.
    NotSent,
}

const LAST: u32 = u64::BITS - 1;

impl DeliveryFact {
    /// What one record says of its delivery. `None`: it is about something else.
    #[must_use]
    pub fn of(record: &Record) -> Option<((OrgId, DeliveryId), Self)> {
        match record {
            Record::DeliveryIntent { org, delivery, attempt, deduplicates } => {
                let fact = Self { intents: bit(*attempt), repeats_are_seen: !deduplicates, ..Self::default() };
                Some(((*org, *delivery), fact))
            }
            Record::DeliveryOutcome { org, delivery, attempt, outcome } => {
                Some(((*org, *delivery), Self::of_outcome(*attempt, outcome)))
            }
            _ => None,
        }
    }

    fn of_outcome(attempt: u32, outcome: &Outcome) -> Self {
        let own = bit(attempt);
        let clear = own & !(1 << LAST);
        match outcome {
            Outcome::Sent { message } => Self { sent: true, message: message.clone(), ..Self::default() },
            Outcome::NotSent => Self { not_sent: clear, ..Self::default() },
            Outcome::Dead => Self { dead: own, ..Self::default() },
            Outcome::Unknown => Self { intents: own, ..Self::default() },
        }
    }

    /// What both know together.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self {
            intents: self.intents | other.intents,
            not_sent: self.not_sent | other.not_sent,
            dead: self.dead | other.dead,
            sent: self.sent || other.sent,
            message: self.message.clone().max(other.message.clone()),
            repeats_are_seen: self.repeats_are_seen || other.repeats_are_seen,
        }
    }

    #[must_use]
    pub fn verdict(&self) -> DeliveryVerdict {
        if self.sent {
            return DeliveryVerdict::Sent;
        }
        // Giving up settles every attempt up to that one; a person may have resent it since.
        let settled = self.not_sent | up_to_highest(self.dead);
        if self.intents & !settled != 0 {
            return DeliveryVerdict::Unknown { deduplicates: !self.repeats_are_seen };
        }
        let newest = u64::BITS - (self.intents | self.not_sent).leading_zeros();
        if self.dead != 0 && newest <= u64::BITS - self.dead.leading_zeros() {
            return DeliveryVerdict::Dead;
        }
        DeliveryVerdict::NotSent
    }
}

/// Attempts start at 1.
fn bit(attempt: u32) -> u64 {
    1 << attempt.saturating_sub(1).min(LAST)
}

fn up_to_highest(bits: u64) -> u64 {
    u64::MAX.checked_shr(bits.leading_zeros()).unwrap_or(0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotVerdict {
    /// It has fired, and never does again.
    Fired,
    /// It may have fired. It does not by itself.
    Unknown,
}

/// All that a ledger, or a part of it, adds up to. Its size grows with what it is about, not with the records: for
/// tests, oracles and reports. A restore folds batches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub deliveries: HashMap<(OrgId, DeliveryId), DeliveryFact>,
    pub slots: BTreeMap<(OrgId, WorkflowId, Timestamp), SlotVerdict>,
    pub inbound: BTreeSet<(OrgId, InletId, Digest)>,
    pub interactions: BTreeSet<(OrgId, Digest)>,
    pub identities: BTreeSet<(OrgId, Digest)>,
    pub tokens: BTreeSet<(OrgId, TokenId)>,
    pub sessions: BTreeSet<(AccountId, Digest)>,
    pub members: BTreeSet<(OrgId, AccountId)>,
    pub closed_channels: BTreeSet<(OrgId, ChannelId)>,
    pub revoked_keys: BTreeSet<(OrgId, ByokKeyId)>,
    /// The newest version of each, by instant.
    pub rotated_keys: HashMap<(Option<OrgId>, Key), (Timestamp, Label)>,
    pub subjects: BTreeSet<(Option<OrgId>, AccountId)>,
}

impl Summary {
    pub fn add(&mut self, entry: &Entry) {
        if let Some((of, fact)) = DeliveryFact::of(&entry.record) {
            let known = self.deliveries.entry(of).or_default();
            *known = known.join(&fact);
            return;
        }
        match &entry.record {
            Record::SlotIntent { org, workflow, due_at } => {
                self.slots.entry((*org, *workflow, *due_at)).or_insert(SlotVerdict::Unknown);
            }
            Record::SlotFired { org, workflow, due_at } => {
                self.slots.insert((*org, *workflow, *due_at), SlotVerdict::Fired);
            }
            Record::InboundAccepted { org, inlet, event } => drop(self.inbound.insert((*org, *inlet, *event))),
            Record::InteractionUsed { org, interaction } => drop(self.interactions.insert((*org, *interaction))),
            Record::IdentityRestricted { org, identity } => drop(self.identities.insert((*org, *identity))),
            Record::TokenRevoked { org, token } => drop(self.tokens.insert((*org, *token))),
            Record::SessionRevoked { account, session } => drop(self.sessions.insert((*account, *session))),
            Record::MemberRemoved { org, account } => drop(self.members.insert((*org, *account))),
            Record::ChannelClosed { org, channel } => drop(self.closed_channels.insert((*org, *channel))),
            Record::KeyRevoked { org, key } => drop(self.revoked_keys.insert((*org, *key))),
            Record::KeyRotated { org, key, version } => self.rotated(*org, *key, (entry.at, version.clone())),
            Record::SubjectErased { org, account } => drop(self.subjects.insert((*org, *account))),
            Record::GenerationStarted { .. } | Record::DeliveryIntent { .. } | Record::DeliveryOutcome { .. } => {}
        }
    }

    fn rotated(&mut self, org: Option<OrgId>, key: Key, version: (Timestamp, Label)) {
        let newest = self.rotated_keys.entry((org, key)).or_insert_with(|| version.clone());
        if version > *newest {
            *newest = version;
        }
    }
}
