//! A part of row 9: what became of each delivery over both lives of the system, as its receiver saw it. Each arrival is new,
//! a duplicate, or unexplained; what should have arrived and did not is lost.
//!
//! The receiver alone knows what arrived. What it answered long before a gateway was killed the recovery ledger must know; of
//! what was under way then nobody can know, so it goes out again only where the receiver takes a repeat once, and is held
//! for a person elsewhere.
//!
//! Not here: the receiver (`sink`), talking to the gateway (`gateway`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;
use clock::Timestamp;
use ids::BindingId;
use serde::Deserialize;
use uuid::Uuid;

use super::Inquiry;
use super::gateway::DeliveryRow;
use crate::backup::Backup;
use crate::report::{Code, DeliveriesSeen};
use crate::said::say;
use crate::settings::MAX_ATTEMPTS;
use crate::sink::Received;

/// What is known from outside.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The deliveries of the backup.
    pub(crate) rows: &'a [DeliveryRow],
    /// What arrived before the disaster.
    pub(crate) before: &'a [Received],
    /// What arrived from the restored system.
    pub(crate) now: &'a [Received],
    /// When gateways were killed.
    pub(crate) interruptions: &'a [Timestamp],
    /// Whether the restore was given the lost system's ledger.
    pub(crate) remembers: bool,
    /// Whether the receiver was there before the disaster.
    pub(crate) witness: bool,
    /// What the restored system holds for a person.
    pub(crate) held: &'a HashSet<Uuid>,
    pub(crate) threads: &'a Threads,
}

/// What the receiver had of a delivery before the disaster.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Past {
    accepted: bool,
    /// It was under way when a gateway was killed.
    doubtful: bool,
    /// It had no answer when a gateway was killed.
    unanswered: bool,
    refusals: usize,
}

/// What an arrival from the restored system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    New,
    /// Nobody could know whether it had arrived, and the receiver takes it once.
    UnderItsId,
    /// The rows have forgotten it, and nothing was there to remember it.
    Forgotten,
    Wrong(Code),
}

/// How far each thread of the backup had been told.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    told: HashMap<String, i64>,
    /// Threads that the drill itself began.
    own: HashSet<String>,
}

#[derive(Debug, Deserialize)]
struct BindingRow {
    binding_id: BindingId,
    thread: String,
}

#[derive(Debug, Deserialize)]
struct CursorRow {
    binding_id: BindingId,
    sequence: i64,
}

impl Threads {
    pub(crate) fn of(inquiry: &mut Inquiry, backup: &Backup, own: &[&str]) -> Option<Self> {
        let bindings = inquiry.learn::<Vec<BindingRow>>("the backup's bindings", backup.probe("bindings"))?;
        let cursors = inquiry.learn::<Vec<CursorRow>>("the backup's cursors", backup.probe("delivery_cursors"))?;
        let cursors: HashMap<BindingId, i64> = cursors.iter().map(|row| (row.binding_id, row.sequence)).collect();
        let mut told: HashMap<String, i64> = HashMap::new();
        for row in bindings {
            let at = cursors.get(&row.binding_id).copied().unwrap_or_default();
            told.entry(row.thread).and_modify(|least| *least = at.min(*least)).or_insert(at);
        }
        Some(Self { told, own: own.iter().map(|thread| (*thread).to_owned()).collect() })
    }

    /// Whether something that the backup does not have as a delivery may have arrived: the end of a turn that was told later.
    fn explain(&self, one: &Received) -> bool {
        self.own.contains(&one.thread) || self.told.get(&one.thread).is_some_and(|told| one.sequence > *told)
    }
}

impl Past {
    /// `recent`: an answer may not be in the ledger yet that is younger than this when a gateway is killed.
    fn add(&mut self, one: &Received, interruptions: &[Timestamp], recent: TimeDelta) {
        let under_way = |killed: &Timestamp| {
            one.at <= *killed && one.answered_at.is_none_or(|answered| answered > *killed - recent)
        };
        self.accepted |= one.accepted;
        self.doubtful |= interruptions.iter().any(under_way);
        self.unanswered |= one.answered_at.is_none();
        self.refusals += usize::from(!one.accepted && one.answered_at.is_some());
    }
}

fn arrival(state: Option<&str>, past: Past, takes_repeats_once: bool, remembers: bool) -> Arrival {
    let doubtful = past.doubtful || state == Some("unknown");
    match (past.accepted, takes_repeats_once) {
        (true, _) if state == Some("sent") => Arrival::Wrong(Code::DeliverySentAgain),
        (true, _) if !remembers => Arrival::Forgotten,
        (true, false) => Arrival::Wrong(Code::DeliveryRepeated),
        (true, true) if !doubtful => Arrival::Wrong(Code::DeliveryForgotten),
        (true, true) => Arrival::UnderItsId,
        (false, false) if doubtful && remembers => Arrival::Wrong(Code::DeliveryNotHeld),
        (false, _) => Arrival::New,
    }
}

/// Judges all of it. The second number counts what went out again because nothing was there to remember it.
pub(crate) fn judge(inquiry: &mut Inquiry, facts: &Facts<'_>) -> (DeliveriesSeen, usize) {
    let mut past: HashMap<Uuid, Past> = HashMap::new();
    let recent = TimeDelta::from_std(inquiry.pace().under_way).unwrap_or(TimeDelta::MAX);
    for one in facts.before {
        past.entry(one.delivery).or_default().add(one, facts.interruptions, recent);
    }
    let states: HashMap<Uuid, &str> =
        facts.rows.iter().map(|row| (row.delivery_id.into(), row.state.as_str())).collect();
    let mut arrived: BTreeMap<Uuid, Vec<&Received>> = BTreeMap::new();
    for one in facts.now.iter().filter(|one| one.accepted) {
        arrived.entry(one.delivery).or_default().push(one);
    }
    let count = |holds: &dyn Fn(&Past) -> bool| past.values().filter(|past| holds(past)).count() as u64;
    let mut seen = DeliveriesSeen {
        before_disaster: count(&|past| past.accepted),
        in_flight: count(&|past| past.unanswered),
        held: facts.held.len() as u64,
        ..DeliveriesSeen::default()
    };
    let mut forgotten = 0;
    for (id, arrivals) in &arrived {
        let (first, times) = (arrivals[0], arrivals.len());
        let once = inquiry
            .expect(times == 1, Code::DeliveryDuplicated, || say!("the delivery {} arrived {} times", id, times));
        let (state, past) = (states.get(id).copied(), past.get(id).copied().unwrap_or_default());
        let arrival = arrival(state, past, first.takes_repeats_once, facts.remembers);
        tell(inquiry, *id, arrival);
        let explained = state.is_some() || past != Past::default() || facts.threads.explain(first);
        let thread = inquiry.keyed(&first.thread);
        inquiry.expect(explained, Code::DeliveryUnexplained, || {
            say!("the delivery {} arrived in thread {}, and nothing in the backup leads to it", id, thread)
        });
        seen.new += u64::from(arrival == Arrival::New && explained);
        seen.unexplained += u64::from(!explained);
        seen.repeated += u64::from(arrival == Arrival::UnderItsId);
        seen.duplicated += u64::from(!once || matches!(arrival, Arrival::Wrong(_) | Arrival::Forgotten));
        forgotten += usize::from(arrival == Arrival::Forgotten);
    }
    let arrived: BTreeSet<Uuid> = arrived.into_keys().collect();
    for row in facts.rows {
        let past = past.get(&row.delivery_id.into()).copied().unwrap_or_default();
        seen.lost += u64::from(!judge_row(inquiry, row, past, facts, &arrived));
    }
    for id in facts.held {
        let past = past.get(id);
        inquiry.expect(past.is_none_or(|past| past.doubtful), Code::DeliveryHeldNeedlessly, || {
            say!("the delivery {} is held for a person, though it was answered long before the disaster", id)
        });
    }
    (seen, forgotten)
}

fn tell(inquiry: &mut Inquiry, id: Uuid, arrival: Arrival) {
    inquiry.held(1);
    let Arrival::Wrong(code) = arrival else { return };
    let sentence = match code {
        Code::DeliverySentAgain => "was sent before the backup, and went out again",
        Code::DeliveryRepeated => "had arrived, and went out again to a receiver that sees a repeat",
        Code::DeliveryForgotten => "had been answered long before the disaster, and went out again",
        _ => "may have arrived before the disaster, and was sent to a receiver that would see a repeat",
    };
    inquiry.fault(code, say!("the delivery {} {}", id, sentence));
}

/// Nothing that the backup had is lost: what it knew as sent had arrived, what it knew as pending arrives now, had arrived
/// since, or is held. `false`: it is lost.
fn judge_row(
    inquiry: &mut Inquiry,
    row: &DeliveryRow,
    past: Past,
    facts: &Facts<'_>,
    arrived: &BTreeSet<Uuid>,
) -> bool {
    let id = Uuid::from(row.delivery_id);
    match row.state.as_str() {
        "sent" => inquiry.expect(past.accepted || !facts.witness, Code::DeliveryNeverArrived, || {
            say!("the backup knows the delivery {} as sent, but it never arrived", id)
        }),
        "pending" => {
            let given_up = past.refusals >= MAX_ATTEMPTS;
            let held = past.doubtful && facts.held.contains(&id);
            let safe = arrived.contains(&id) || past.accepted || held || given_up;
            inquiry.expect(safe, Code::DeliveryLost, || {
                say!("the delivery {} was pending in the backup and did not arrive after the restore", id)
            })
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Past = Past { accepted: false, doubtful: false, unanswered: false, refusals: 0 };
    const ARRIVED: Past = Past { accepted: true, ..NEVER };
    const IN_DOUBT: Past = Past { doubtful: true, ..NEVER };
    const ARRIVED_IN_DOUBT: Past = Past { accepted: true, ..IN_DOUBT };

    #[test]
    fn what_nobody_could_know_is_repeated_only_where_it_is_not_seen() {
        assert_eq!(arrival(Some("pending"), ARRIVED_IN_DOUBT, true, true), Arrival::UnderItsId);
        assert_eq!(arrival(Some("pending"), IN_DOUBT, true, true), Arrival::New);
        let wrong = Arrival::Wrong;
        assert_eq!(arrival(Some("pending"), ARRIVED_IN_DOUBT, false, true), wrong(Code::DeliveryRepeated));
        assert_eq!(arrival(Some("pending"), IN_DOUBT, false, true), wrong(Code::DeliveryNotHeld));
        assert_eq!(arrival(Some("unknown"), NEVER, false, true), wrong(Code::DeliveryNotHeld));
    }

    #[test]
    fn what_had_been_answered_does_not_go_out_again() {
        for takes_repeats_once in [true, false] {
            let again = Arrival::Wrong(Code::DeliverySentAgain);
            assert_eq!(arrival(Some("sent"), ARRIVED, takes_repeats_once, true), again);
            assert_eq!(arrival(Some("sent"), ARRIVED, takes_repeats_once, false), again);
            assert_eq!(arrival(Some("pending"), NEVER, takes_repeats_once, true), Arrival::New);
        }
        assert_eq!(arrival(Some("pending"), ARRIVED, true, true), Arrival::Wrong(Code::DeliveryForgotten));
        assert_eq!(arrival(None, ARRIVED, false, true), Arrival::Wrong(Code::DeliveryRepeated));
    }

    #[test]
    fn without_a_ledger_a_repeat_from_after_the_backup_is_counted() {
        assert_eq!(arrival(None, ARRIVED, true, false), Arrival::Forgotten);
        assert_eq!(arrival(Some("pending"), ARRIVED, false, false), Arrival::Forgotten);
    }
}
