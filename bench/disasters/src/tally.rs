//! What the oracle counted, and whether it is what was promised.

use std::ops::AddAssign;

use serde_json::{Value, json};

/// Counts of one lineage, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) disasters: u64,
    /// Messages that a destination took.
    pub(crate) sent: u64,
    /// Messages that came again to a destination that takes no key.
    pub(crate) repeated: u64,
    /// Messages that came under another id to one that takes a key.
    pub(crate) renamed: u64,
    /// Events from outside that were accepted when they came again.
    pub(crate) accepted_again: u64,
    /// Turns whose message never arrived, and that nobody holds for an operator.
    pub(crate) lost: u64,
    /// Deliveries that wait for an operator in the end.
    pub(crate) unknown: u64,
    /// Deliveries that were under way when a disaster came, on a channel where a repeat would be seen.
    pub(crate) in_flight: u64,
    pub(crate) slots: u64,
    pub(crate) double_fired: u64,
    pub(crate) slots_lost: u64,
    /// Tokens, members and subjects that were revoked, removed or erased.
    pub(crate) taken_away: u64,
    pub(crate) resurrected: u64,
}

impl Tally {
    /// What is not as it was promised.
    pub(crate) fn faults(&self) -> Vec<String> {
        let zero = [
            ("messages came twice", self.repeated),
            ("messages came under two ids", self.renamed),
            ("events were accepted twice", self.accepted_again),
            ("messages are lost", self.lost),
            ("slots fired twice", self.double_fired),
            ("slots are lost", self.slots_lost),
            ("tokens, members or subjects came back", self.resurrected),
        ];
        let mut faults: Vec<String> =
            zero.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect();
        if self.unknown > self.in_flight {
            faults.push(format!("{} deliveries are unknown, and only {} were under way", self.unknown, self.in_flight));
        }
        let nothing = [("message", self.sent), ("slot", self.slots), ("revocation", self.taken_away)];
        faults.extend(
            nothing.iter().filter(|(_, count)| *count == 0).map(|(what, _)| format!("there was no {what} to see")),
        );
        faults
    }

    /// Whatever happened twice, but slots.
    pub(crate) fn duplicated(&self) -> u64 {
        self.repeated + self.renamed + self.accepted_again
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "disasters={} duplicated={} lost={} unknown={} double_fired={} resurrected={}",
            self.disasters,
            self.duplicated(),
            self.lost + self.slots_lost,
            self.unknown,
            self.double_fired,
            self.resurrected
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "disasters": self.disasters, "sent": self.sent, "duplicated": self.duplicated(), "repeated": self.repeated,
            "renamed": self.renamed, "accepted_again": self.accepted_again, "lost": self.lost,
            "unknown": self.unknown, "in_flight": self.in_flight, "slots": self.slots,
            "double_fired": self.double_fired, "slots_lost": self.slots_lost, "taken_away": self.taken_away,
            "resurrected": self.resurrected,
        })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.disasters += other.disasters;
        self.sent += other.sent;
        self.repeated += other.repeated;
        self.renamed += other.renamed;
        self.accepted_again += other.accepted_again;
        self.lost += other.lost;
        self.unknown += other.unknown;
        self.in_flight += other.in_flight;
        self.slots += other.slots;
        self.double_fired += other.double_fired;
        self.slots_lost += other.slots_lost;
        self.taken_away += other.taken_away;
        self.resurrected += other.resurrected;
    }
}
