//! What becomes of the slots of one trigger that are due.
//!
//! Every due slot gets one decision, oldest first, and the trigger gets the next slot to wait for. The work of one
//! settlement is bounded: whatever is left stays due and is settled next time.
//!
//! Not promised: that a slot was never decided before. A restore can bring back an older `next_due_at`; the slot's
//! unique key answers that.

use chrono::TimeDelta;
use clock::Timestamp;

use super::{MissedPolicy, OverlapPolicy, Schedule};

/// A slot that fell due longer ago than this was missed: nobody was there to fire it.
pub const GRACE: TimeDelta = TimeDelta::seconds(60);

/// The most slots that one settlement fires. More than those of a trigger that is due every second and is late by
/// [`GRACE`].
pub const MAX_FIRED: usize = 100;

/// The most skipped slots that one settlement names one by one; the last of them stands for all the others.
pub const MAX_SKIPPED: usize = 1_000;

/// A trigger that may be due, as it is stored, and the world around it.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// The oldest slot that nobody has settled.
    pub next_due_at: Timestamp,
    /// Slots before this were missed, however short ago: this generation of the system began here, or the workflow
    /// was resumed.
    pub live_since: Timestamp,
    pub now: Timestamp,
    pub missed_policy: MissedPolicy,
    /// How far back `run_once` and `run_all` look.
    pub missed_window: TimeDelta,
    pub overlap_policy: OverlapPolicy,
    /// Whether a run of the workflow is unfinished.
    pub running: bool,
}

/// Why a slot does not fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// It was missed, and the policy lets it pass.
    Missed,
    /// It was missed, and a newer missed slot fires in its place.
    Superseded,
    /// It was missed, longer ago than the policy looks back.
    BeyondWindow,
    /// An earlier run is unfinished.
    Overlap,
    /// The org's quota of runs is used up.
    OverQuota,
    /// The org's policy does not allow the workflow's agent.
    AgentRefused,
}

impl SkipReason {
    /// For the `reason` column and for people.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Missed => "it was missed, and missed slots are skipped",
            Self::Superseded => "it was missed, and a newer missed slot ran in its place",
            Self::BeyondWindow => "it was missed longer ago than the window looks back",
            Self::Overlap => "an earlier run was unfinished",
            Self::OverQuota => "the quota of runs was used up",
            Self::AgentRefused => "the org's policy does not allow the agent",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotDecision {
    Fire,
    Skip {
        reason: SkipReason,
        /// It also stands for the trigger's slots after it, up to the next one that is named.
        and_following: bool,
    },
}

/// A slot and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub due_at: Timestamp,
    pub decision: SlotDecision,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Oldest first, none twice.
    pub slots: Vec<Settled>,
    /// What the trigger waits for next; in the past if more than [`MAX_FIRED`] slots fire. `None`: nothing.
    pub next_due_at: Option<Timestamp>,
}

impl Settlement {
    /// Fires at most `left` slots, the oldest of them, and skips the others. `None`: any number.
    pub fn allow(&mut self, left: Option<i64>) {
        let Some(mut left) = left else { return };
        for slot in self.slots.iter_mut().filter(|slot| slot.decision == SlotDecision::Fire) {
            if left <= 0 {
                slot.decision = SlotDecision::Skip { reason: SkipReason::OverQuota, and_following: false };
            }
            left -= 1;
        }
    }

    /// Fires none.
    pub fn refuse(&mut self, reason: SkipReason) {
        for slot in self.slots.iter_mut().filter(|slot| slot.decision == SlotDecision::Fire) {
            slot.decision = SlotDecision::Skip { reason, and_following: false };
        }
    }
}

/// Decides for every slot from `due.next_due_at` to `due.now`. If the first lies in the future, there is none.
#[must_use]
pub fn settle(schedule: &Schedule, due: &Due) -> Settlement {
    let mut plan = Plan::new(due);
    let mut slot = Some(due.next_due_at);
    while let Some(due_at) = slot.filter(|slot| *slot <= due.now && plan.fired < MAX_FIRED) {
        plan.decide(due_at);
        slot = plan.step(schedule, due_at);
    }
    plan.fire_substitute();
    Settlement { slots: plan.slots, next_due_at: slot }
}

struct Plan {
    due: Due,
    /// From here on a slot is on time.
    live_from: Timestamp,
    /// Before this a slot is skipped, whatever else happens.
    hope_from: Timestamp,
    slots: Vec<Settled>,
    skipped: usize,
    fired: usize,
    /// The newest missed slot so far that `run_once` may fire. It does once it is known that no newer one comes.
    substitute: Option<Timestamp>,
}

impl Plan {
    fn new(due: &Due) -> Self {
        let live_from = due.live_since.max(due.now - GRACE);
        let hope_from = match due.missed_policy {
            MissedPolicy::Skip => live_from,
            MissedPolicy::RunOnce | MissedPolicy::RunAll => live_from.min(due.now - due.missed_window),
        };
        Self { due: *due, live_from, hope_from, slots: Vec::new(), skipped: 0, fired: 0, substitute: None }
    }

    fn decide(&mut self, due_at: Timestamp) {
        if due_at >= self.live_from {
            self.fire_substitute();
            return self.fire(due_at);
        }
        match self.due.missed_policy {
            MissedPolicy::Skip => self.skip(due_at, SkipReason::Missed),
            _ if due_at < self.hope_from => self.skip(due_at, SkipReason::BeyondWindow),
            MissedPolicy::RunAll => self.fire(due_at),
            MissedPolicy::RunOnce => {
                if let Some(older) = self.substitute.replace(due_at) {
                    self.skip(older, SkipReason::Superseded);
                }
            }
        }
    }

    /// The slot to look at after `due_at`. Once enough are named one by one, those without hope are jumped over: a
    /// year of down time must not cost a year's slots of work.
    fn step(&mut self, schedule: &Schedule, due_at: Timestamp) -> Option<Timestamp> {
        let next = schedule.next_after(due_at)?;
        if self.skipped < MAX_SKIPPED || next >= self.hope_from {
            return Some(next);
        }
        if let Some(Settled { decision: SlotDecision::Skip { and_following, .. }, .. }) = self.slots.last_mut() {
            *and_following = true;
        }
        schedule.next_after(self.hope_from - TimeDelta::microseconds(1))
    }

    fn fire_substitute(&mut self) {
        if let Some(due_at) = self.substitute.take() {
            self.fire(due_at);
        }
    }

    fn fire(&mut self, due_at: Timestamp) {
        let busy = self.due.running || self.fired > 0;
        if self.due.overlap_policy == OverlapPolicy::Skip && busy {
            return self.skip(due_at, SkipReason::Overlap);
        }
        self.fired += 1;
        self.slots.push(Settled { due_at, decision: SlotDecision::Fire });
    }

    fn skip(&mut self, due_at: Timestamp, reason: SkipReason) {
        match self.slots.last_mut().map(|last| &mut last.decision) {
            Some(SlotDecision::Skip { reason: last, and_following })
                if *last == reason && self.skipped >= MAX_SKIPPED =>
            {
                *and_following = true;
            }
            _ => {
                self.skipped += 1;
                self.slots.push(Settled { due_at, decision: SlotDecision::Skip { reason, and_following: false } });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TriggerSpec;
    use super::*;
    use proptest::prelude::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn every(every_s: i64) -> Schedule {
        Schedule::new(&TriggerSpec::Interval { every_s, anchor_at: Some(t(0)) }, t(0)).unwrap()
    }

    /// A trigger due since `t(0)`, looked at at `t(now)`.
    fn due(now: i64, missed_policy: MissedPolicy, window_s: i64) -> Due {
        Due {
            next_due_at: t(0),
            live_since: t(-1_000_000_000),
            now: t(now),
            missed_policy,
            missed_window: TimeDelta::seconds(window_s),
            overlap_policy: OverlapPolicy::Allow,
            running: false,
        }
    }

    /// One line per slot (`seconds fired`, `seconds reason`), then what is waited for.
    #[track_caller]
    fn check(every_s: i64, due: Due, expect: &[&str]) {
        let settlement = settle(&every(every_s), &due);
        let seconds = |at: Timestamp| (at - t(0)).num_seconds();
        let slots = settlement.slots.iter().map(|slot| match slot.decision {
            SlotDecision::Fire => format!("{} fires", seconds(slot.due_at)),
            SlotDecision::Skip { reason, and_following } => {
                format!("{} {reason:?}{}", seconds(slot.due_at), if and_following { "..." } else { "" })
            }
        });
        let next = settlement.next_due_at.map(|at| format!("then {}", seconds(at)));
        assert_eq!(slots.chain(next).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_slot_that_is_due_fires_and_one_that_is_not_waits() {
        check(60, due(0, MissedPolicy::Skip, 0), &["0 fires", "then 60"]);
        check(60, due(-1, MissedPolicy::Skip, 0), &["then 0"]);
    }

    #[test]
    fn slots_within_the_grace_are_on_time_under_every_policy() {
        for policy in [MissedPolicy::Skip, MissedPolicy::RunOnce, MissedPolicy::RunAll] {
            check(30, due(60, policy, 0), &["0 fires", "30 fires", "60 fires", "then 90"]);
        }
    }

    #[test]
    fn missed_slots_are_skipped_by_default() {
        check(60, due(150, MissedPolicy::Skip, 3_600), &["0 Missed", "60 Missed", "120 fires", "then 180"]);
    }

    #[test]
    fn run_once_fires_the_newest_missed_slot_within_the_window() {
        let expect = ["0 BeyondWindow", "100 BeyondWindow", "200 Superseded", "300 fires", "then 400"];
        check(100, due(390, MissedPolicy::RunOnce, 200), &expect);
        check(100, due(90, MissedPolicy::RunOnce, 80), &["0 BeyondWindow", "then 100"]);
    }

    #[test]
    fn run_all_fires_every_missed_slot_within_the_window() {
        let expect = ["0 BeyondWindow", "100 BeyondWindow", "200 fires", "300 fires", "then 400"];
        check(100, due(390, MissedPolicy::RunAll, 200), &expect);
    }

    #[test]
    fn a_slot_before_this_life_of_the_system_follows_the_missed_policy() {
        let restored = |policy| Due { live_since: t(5), ..due(10, policy, 3_600) };
        check(60, restored(MissedPolicy::Skip), &["0 Missed", "then 60"]);
        check(60, restored(MissedPolicy::RunOnce), &["0 fires", "then 60"]);
        check(8, restored(MissedPolicy::Skip), &["0 Missed", "8 fires", "then 16"]);
    }

    #[test]
    fn an_unfinished_run_holds_the_next_one_back_if_overlaps_are_skipped() {
        let skip = Due { overlap_policy: OverlapPolicy::Skip, ..due(60, MissedPolicy::Skip, 0) };
        check(60, skip, &["0 fires", "60 Overlap", "then 120"]);
        check(60, Due { running: true, ..skip }, &["0 Overlap", "60 Overlap", "then 120"]);
        check(60, Due { running: true, ..due(0, MissedPolicy::Skip, 0) }, &["0 fires", "then 60"]);
    }

    #[test]
    fn a_one_time_trigger_waits_for_nothing_afterwards() {
        let once = Schedule::new(&TriggerSpec::Once { at: t(0) }, t(0)).unwrap();
        let settlement = settle(&once, &due(1, MissedPolicy::Skip, 0));
        assert_eq!(settlement.slots, [Settled { due_at: t(0), decision: SlotDecision::Fire }]);
        assert_eq!(settlement.next_due_at, None);
    }

    #[test]
    fn a_long_absence_is_told_in_a_bounded_number_of_slots() {
        let year = 366 * 86_400;
        let settlement = settle(&every(1), &due(year, MissedPolicy::Skip, 0));
        let fired = settlement.slots.iter().filter(|slot| slot.decision == SlotDecision::Fire).count();
        assert_eq!((settlement.slots.len(), fired), (MAX_SKIPPED + 61, 61));
        let last = SlotDecision::Skip { reason: SkipReason::Missed, and_following: true };
        assert_eq!(settlement.slots[MAX_SKIPPED - 1].decision, last);
        assert_eq!(settlement.next_due_at, Some(t(year + 1)));
    }

    #[test]
    fn more_than_one_settlement_may_fire_stays_due() {
        let settlement = settle(&every(1), &due(3_000, MissedPolicy::RunAll, 3_600));
        assert_eq!(settlement.slots.len(), MAX_FIRED);
        assert_eq!(settlement.next_due_at, Some(t(100)));
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        let cron = prop::sample::select(vec!["* * * * *", "*/7 1-3 * * *", "30 2 * * *", "0 0 29 2 *", "15 4 * * MON"]);
        let zone = prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]);
        let spec = prop_oneof![
            (cron, zone).prop_map(|(expression, time_zone)| TriggerSpec::Cron {
                expression: expression.into(),
                time_zone: time_zone.into()
            }),
            (1..100_000_i64).prop_map(|every_s| TriggerSpec::Interval { every_s, anchor_at: Some(t(7)) }),
            (-100_000..100_000_i64).prop_map(|at| TriggerSpec::Once { at: t(at) }),
        ];
        spec.prop_map(|spec| Schedule::new(&spec, t(0)).unwrap())
    }

    prop_compose! {
        fn dues()(
            start in -40_000_000..40_000_000_i64,
            absence in 0..4_000_000_i64,
            life in 0..4_000_000_i64,
            window in 0..200_000_i64,
            policy in prop::sample::select(vec![MissedPolicy::Skip, MissedPolicy::RunOnce, MissedPolicy::RunAll]),
            overlap in prop::sample::select(vec![OverlapPolicy::Allow, OverlapPolicy::Skip]),
            running in any::<bool>(),
        ) -> Due {
            Due {
                live_since: t(start + absence - life),
                overlap_policy: overlap,
                running,
                next_due_at: t(start),
                ..due(start + absence, policy, window)
            }
        }
    }

    proptest! {
        #[test]
        fn slots_of_a_schedule_only_move_forward(schedule in schedules(), after in -40_000_000..40_000_000_i64) {
            let mut slot = t(after);
            for _ in 0..50 {
                let Some(next) = schedule.next_after(slot) else { break };
                prop_assert!(next > slot);
                // No slot lies between: asking from just before names the same one.
                prop_assert_eq!(schedule.next_after(next - TimeDelta::microseconds(1)), Some(next));
                slot = next;
            }
        }

        #[test]
        fn a_settlement_is_ordered_bounded_and_never_early(schedule in schedules(), mut due in dues()) {
            let Some(first) = schedule.next_after(due.next_due_at) else { return Ok(()) };
            due.next_due_at = first;
            let settlement = settle(&schedule, &due);
            prop_assert!(settlement.slots.windows(2).all(|pair| pair[0].due_at < pair[1].due_at), "no slot twice");
            prop_assert!(settlement.slots.iter().all(|slot| slot.due_at <= due.now), "none early");
            prop_assert!(settlement.slots.len() <= MAX_FIRED + MAX_SKIPPED + 4);
            let fired = settlement.slots.iter().filter(|slot| slot.decision == SlotDecision::Fire).count();
            if let (Some(next), Some(last)) = (settlement.next_due_at, settlement.slots.last()) {
                prop_assert!(next > last.due_at);
                prop_assert!(next > due.now || fired == MAX_FIRED, "what is left is due only if the batch was full");
            }
        }

        #[test]
        fn settling_twice_settles_each_slot_once(schedule in schedules(), mut due in dues(), later in 0..100_000_i64) {
            let Some(first) = schedule.next_after(due.next_due_at) else { return Ok(()) };
            due.next_due_at = first;
            let early = settle(&schedule, &due);
            let Some(next_due_at) = early.next_due_at else { return Ok(()) };
            let late = settle(&schedule, &Due { next_due_at, now: due.now + TimeDelta::seconds(later), ..due });
            let all: Vec<_> = early.slots.iter().chain(&late.slots).collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].due_at < pair[1].due_at));
        }
    }
}
