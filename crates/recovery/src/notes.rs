//! Records of the ledger as notes for the store, which knows no ledger.

use ledger::{DeliveryFact, Entry, Key, Record};
use store::{DeliveryNote, Notes, Other, OtherNote, SlotNote};

/// Notes that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Batch(Notes);

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.0.deliveries.len() + self.0.slots.len() + self.0.others.len()
    }

    pub(super) fn take(&mut self) -> Notes {
        std::mem::take(&mut self.0)
    }

    pub(super) fn add(&mut self, entry: Entry) {
        let at = entry.at;
        if let Some(((org, delivery), fact)) = DeliveryFact::of(&entry.record) {
            let DeliveryFact { intents, not_sent, dead, sent, repeats_are_seen, .. } = fact;
            let note = DeliveryNote { org, delivery, intents, not_sent, dead, sent, repeats_are_seen, at };
            return self.0.deliveries.push(note);
        }
        match entry.record {
            Record::SlotIntent { org, workflow, due_at } => {
                self.0.slots.push(SlotNote { org, workflow, due_at, fired: false, at });
            }
            Record::SlotFired { org, workflow, due_at } => {
                self.0.slots.push(SlotNote { org, workflow, due_at, fired: true, at });
            }
            record => self.0.others.extend(other(record).map(|what| OtherNote { what, at })),
        }
    }
}

/// `None`: it is told in another way, or it is the marker of a generation, which stands in no segment.
fn other(record: Record) -> Option<Other> {
    Some(match record {
        Record::InboundAccepted { org, channel, event } => Other::InboundAccepted { org, channel, event },
        Record::InteractionUsed { org, interaction } => Other::InteractionUsed { org, interaction },
        Record::TokenRevoked { org, token } => Other::TokenRevoked { org, token },
        Record::SessionRevoked { account, session } => Other::SessionRevoked { account, session },
        Record::MemberRemoved { org, account } => Other::MemberRemoved { org, account },
        Record::KeyRevoked { org, key } => Other::KeyRevoked { org, key },
        Record::KeyRotated { org, key, version } => {
            let version = version.as_str().to_owned();
            match (key, org) {
                (Key::Adapter, _) => Other::AdapterRotated { version },
                (Key::Byok(key), Some(org)) => Other::KeyRotated { org, key, version },
                (Key::Channel(channel), Some(org)) => Other::ChannelRotated { org, channel, version },
                (Key::Byok(_) | Key::Channel(_), None) => return None,
            }
        }
        // Accounts stand above orgs, and so does their erasure.
        Record::SubjectErased { account, .. } => Other::SubjectErased { account },
        Record::DeliveryIntent { .. }
        | Record::DeliveryOutcome { .. }
        | Record::SlotIntent { .. }
        | Record::SlotFired { .. }
        | Record::GenerationStarted { .. } => return None,
    })
}
