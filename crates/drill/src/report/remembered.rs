//! What the restore remembered: what it says itself that the recovery ledger told it, and what the world outside saw.
//!
//! The two halves have different authors. [`Remembered`] is the word of the system that is judged; [`Seen`] is the judge's
//! own count of what arrived and what fired, over both lives of the system. Rows 8 and 9 judge by the second alone.
//!
//! Not here: judging (`checks::scheduler`, `checks::gateway`), reading what the restore said (`remembering`).

use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::said::{Name, Sentence};

/// Whether a restore had a ledger to remember from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerUse {
    Read,
    /// The operator said that there is none.
    Declined,
    /// A drill was given none.
    NotGiven,
}

/// What a restore says that it remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    pub ledger: LedgerUse,
    /// Whether nothing can be missing that the lost system wrote.
    pub complete: bool,
    pub records: u64,
    pub segments: u64,
    pub bytes: u64,
    /// From when on the ledger was read. Absent: from its beginning, or not at all.
    pub from: Option<Timestamp>,
    pub known: Known,
    pub lost: Lost,
    /// What a person should see to.
    pub attention: Vec<Sentence>,
    /// What is wrong with the ledger.
    pub findings: Vec<LedgerFinding>,
    /// What the judge saw from outside. Absent: it was not there before the disaster, or did not get as far.
    pub seen: Option<Seen>,
}

/// Effects of the lost system that the restored one knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    pub deliveries_sent: u64,
    pub deliveries_dead: u64,
    pub deliveries_held: u64,
    pub deliveries_again: u64,
    pub slots_fired: u64,
    pub slots_unknown: u64,
    pub inbound_accepted: u64,
    pub interactions_used: u64,
    pub tokens_revoked: u64,
    pub members_removed: u64,
    pub keys_revoked: u64,
    pub channels_rotated: u64,
    /// Reports of before this was counted have none.
    #[serde(default)]
    pub channels_closed: u64,
    pub subjects_erased: u64,
}

/// Things that happened after the backup and are lost with it: the real recovery point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    pub deliveries: u64,
    pub inbound: u64,
    pub runs: u64,
    pub slots: u64,
    pub tokens: u64,
    pub members: u64,
    pub keys: u64,
    pub channels: u64,
    pub subjects: u64,
    pub browser_sessions: u64,
}

/// What is wrong with a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerFinding {
    pub code: Name,
    pub sentence: Sentence,
    /// As a kill leaves it: nothing is missing.
    pub normal: bool,
}

/// What the judge saw from outside, over both lives of the system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    pub deliveries: DeliveriesSeen,
    pub slots: SlotsSeen,
}

/// Deliveries, as the receiver counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveriesSeen {
    pub before_disaster: u64,
    /// Under way when everything was killed.
    pub in_flight: u64,
    /// Arrived for the first time, from the restored system.
    pub new: u64,
    /// Under way at the disaster, and sent again under their ids to a receiver that takes a repeat once.
    pub repeated: u64,
    pub duplicated: u64,
    pub lost: u64,
    /// Arrived, and nothing that is known explains why.
    pub unexplained: u64,
    /// Held for an operator.
    pub held: u64,
}

/// Slots, as the lists of runs show them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsSeen {
    /// Fired by the lost system.
    pub before_disaster: u64,
    /// Of these, after the backup: they have no run any more.
    pub after_backup: u64,
    /// Fired by the restored system.
    pub new: u64,
    pub fired_twice: u64,
    pub lost: u64,
    /// May have fired when everything was killed; counted as fired.
    pub unknown: u64,
}

/// A count and what it counts.
pub type Line = (&'static str, u64);

impl Remembered {
    /// Where it is from, in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.ledger {
            LedgerUse::Read => {
                let whole = if self.complete {
                    "nothing in it is missing"
                } else {
                    "something in it is missing or damaged, so the lost system may have done more"
                };
                let (records, segments) = (super::model::grouped(self.records), super::model::grouped(self.segments));
                format!("The restore read {records} records in {segments} segments of the recovery ledger; {whole}.")
            }
            LedgerUse::Declined => {
                "The restore was told to go on without a recovery ledger: what the lost system did after the backup may \
                 happen again."
                    .to_owned()
            }
            LedgerUse::NotGiven => {
                "The drill was given no recovery ledger: what the lost system did after the backup may happen again."
                    .to_owned()
            }
        }
    }
}

impl Known {
    #[must_use]
    pub fn lines(&self) -> [Line; 14] {
        [
            ("deliveries known as sent", self.deliveries_sent),
            ("deliveries known as set aside", self.deliveries_dead),
            ("deliveries held for an operator: nobody knows whether they arrived", self.deliveries_held),
            ("deliveries that go out again under their ids", self.deliveries_again),
            ("slots known as fired", self.slots_fired),
            ("slots that may have fired, and do not fire again", self.slots_unknown),
            ("messages known as taken", self.inbound_accepted),
            ("requests known as answered", self.interactions_used),
            ("tokens revoked again", self.tokens_revoked),
            ("members removed again", self.members_removed),
            ("keys revoked again", self.keys_revoked),
            ("channel secrets rotated again", self.channels_rotated),
            ("channels closed again", self.channels_closed),
            ("people erased again", self.subjects_erased),
        ]
    }
}

impl Lost {
    #[must_use]
    pub fn lines(&self) -> [Line; 10] {
        [
            ("turns that had been told to threads", self.deliveries),
            ("messages that had come in", self.inbound),
            ("runs that had begun", self.runs),
            ("slots of workflows younger than the backup", self.slots),
            ("tokens younger than the backup that were revoked", self.tokens),
            ("members younger than the backup who were removed", self.members),
            ("keys younger than the backup that were revoked", self.keys),
            ("channels younger than the backup", self.channels),
            ("people younger than the backup who were erased", self.subjects),
            ("browser sessions that were ended", self.browser_sessions),
        ]
    }
}

impl Seen {
    #[must_use]
    pub fn lines(&self) -> [Line; 14] {
        let (deliveries, slots) = (&self.deliveries, &self.slots);
        [
            ("deliveries that arrived before the disaster", deliveries.before_disaster),
            ("deliveries in flight at the disaster", deliveries.in_flight),
            ("new deliveries from the restored system", deliveries.new),
            ("deliveries repeated under their ids, where a repeat is taken once", deliveries.repeated),
            ("deliveries duplicated", deliveries.duplicated),
            ("deliveries lost", deliveries.lost),
            ("deliveries unexplained", deliveries.unexplained),
            ("deliveries held for an operator", deliveries.held),
            ("slots that the lost system fired", slots.before_disaster),
            ("of these after the backup", slots.after_backup),
            ("slots that the restored system fired", slots.new),
            ("slots fired twice", slots.fired_twice),
            ("slots lost", slots.lost),
            ("slots that may have fired at the disaster", slots.unknown),
        ]
    }
}
