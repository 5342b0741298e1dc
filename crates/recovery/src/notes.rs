//! Records of the ledger as notes for the store, which knows no ledger.
//!
//! What several records of a batch say of one delivery is one note: an intent and its outcome mostly lie close together, and
//! a note costs the database more than it costs here.
//!
//! Not here: adding up batches (`store::replay`).

use std::collections::HashMap;

use clock::Timestamp;
use ids::{DeliveryId, OrgId};
use ledger::{DeliveryFact, Entry, Key, Record};
use store::{DeliveryNote, Notes, Other, OtherNote, SlotNote};

/// Notes that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Batch {
    deliveries: HashMap<(OrgId, DeliveryId), Told>,
    slots: Vec<SlotNote>,
    others: Vec<OtherNote>,
}

/// What was told of a delivery, and when.
#[derive(Debug)]
struct Told {
    fact: DeliveryFact,
    at: Timestamp,
    dead_at: Option<Timestamp>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.deliveries.len() + self.slots.len() + self.others.len()
    }

    pub(super) fn into_notes(self) -> Notes {
        let deliveries = self.deliveries.into_iter().map(|((org, delivery), Told { fact, at, dead_at })| {
            let DeliveryFact { intents, not_sent, dead, sent, repeats_are_seen, message: _ } = fact;
            DeliveryNote { org, delivery, intents, not_sent, dead, sent, repeats_are_seen, at, dead_at }
        });
        Notes { deliveries: deliveries.collect(), slots: self.slots, others: self.others }
    }

    pub(super) fn add(&mut self, entry: Entry) {
        let at = entry.at;
        if let Some((of, fact)) = DeliveryFact::of(&entry.record) {
            return self.delivery(of, &fact, at);
        }
        match entry.record {
            Record::SlotIntent { org, workflow, due_at } => {
                self.slots.push(SlotNote { org, workflow, due_at, fired: false, at });
            }
            Record::SlotFired { org, workflow, due_at } => {
                self.slots.push(SlotNote { org, workflow, due_at, fired: true, at });
            }
            record => self.others.extend(other(record).map(|what| OtherNote { what, at })),
        }
    }

    fn delivery(&mut self, of: (OrgId, DeliveryId), fact: &DeliveryFact, at: Timestamp) {
        let dead_at = (fact.dead != 0).then_some(at);
        let known = self.deliveries.entry(of).or_insert_with(|| Told { fact: DeliveryFact::default(), at, dead_at });
        known.fact = known.fact.join(fact);
        known.at = known.at.max(at);
        known.dead_at = known.dead_at.max(dead_at);
    }
}

/// `None`: it is told in another way, or it is the marker of a generation, which stands in no segment.
fn other(record: Record) -> Option<Other> {
    Some(match record {
        Record::InboundAccepted { org, inlet, event } => Other::InboundAccepted { org, inlet, event },
        Record::InteractionUsed { org, interaction } => Other::InteractionUsed { org, interaction },
        Record::IdentityRestricted { org, identity } => Other::IdentityRestricted { org, identity },
        Record::TokenRevoked { org, token } => Other::TokenRevoked { org, token },
        Record::SessionRevoked { account, session } => Other::SessionRevoked { account, session },
        Record::MemberRemoved { org, account } => Other::MemberRemoved { org, account },
        Record::ChannelClosed { org, channel } => Other::ChannelClosed { org, channel },
        Record::KeyRevoked { org, key } => Other::KeyRevoked { org, key },
        Record::KeyRotated { org, key, version } => {
            let version = version.as_str().to_owned();
            match (key, org) {
                (Key::Adapter, _) => Other::AdapterRotated { version },
                (Key::Byok(key), Some(org)) => Other::KeyRotated { org, key, version },
                (Key::Channel(channel), Some(org)) => Other::ChannelRotated { org, channel, version },
                (Key::Trigger(trigger), Some(org)) => Other::TriggerRotated { org, trigger, version },
                (Key::Byok(_) | Key::Channel(_) | Key::Trigger(_), None) => return None,
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
