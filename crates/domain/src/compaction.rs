//! Compacting a session: how far its oldest events may be replaced by one that holds what they add up to.
//!
//! The cut is always the end of a finished turn. So what a base holds waits for nobody, and the next event begins a turn.
//! Folding the base and what follows it gives what folding all of them gave: a projection is all that the fold remembers.
//!
//! Not here: what keeps events from being compacted besides (`store::compaction`), folding (`projection`).

use clock::Timestamp;

use crate::event::{Event, Recorded};
use crate::fold::{Damaged, Fold};
use crate::projection::Projection;

/// The event that takes the place of all others up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Of the last event that it stands for, whose place it takes.
    pub sequence: i64,
    /// What the events up to there add up to.
    pub projection: Projection,
    /// Events that there were up to there, an earlier base among them.
    pub events: i64,
}

/// Goes through a session's events, from the first, and remembers the last place at which it may be cut.
#[derive(Debug)]
pub struct Cutter {
    before: Timestamp,
    up_to: i64,
    fold: Fold,
    events: i64,
    base: Option<Base>,
}

impl Cutter {
    /// Turns that ended earlier than `before` may go, as far as the event `up_to`.
    #[must_use]
    pub fn new(before: Timestamp, up_to: i64) -> Self {
        Self { before, up_to, fold: Fold::default(), events: 0, base: None }
    }

    /// Whether later events, of which `recorded` is the next, may still belong to what goes.
    #[must_use]
    pub fn wants(&self, recorded: &Recorded) -> bool {
        recorded.sequence <= self.up_to && recorded.created_at < self.before
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// If it can't be the next one.
    pub fn take(&mut self, recorded: &Recorded) -> Result<(), Damaged> {
        self.fold.take(recorded)?;
        self.events += 1;
        if self.wants(recorded) && ends_a_turn(&recorded.event) {
            let Fold { projection, sequence } = self.fold.clone();
            self.base = Some(Base { sequence, projection, events: self.events });
        }
        Ok(())
    }

    /// How many events it went through.
    #[must_use]
    pub fn events(&self) -> i64 {
        self.events
    }

    #[must_use]
    pub fn found(&self) -> bool {
        self.base.is_some()
    }

    /// `None`: nothing may be compacted.
    #[must_use]
    pub fn base(self) -> Option<Base> {
        self.base
    }
}

fn ends_a_turn(event: &Event) -> bool {
    matches!(event, Event::TurnEnded { outcome, .. } if !outcome.waits())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{ApprovalOutcome, MessageRole, ToolCallStatus, TurnOutcome};

    fn recorded(sequence: i64, event: Event) -> Recorded {
        Recorded { sequence, event, created_at: Timestamp::UNIX_EPOCH + TimeDelta::seconds(sequence) }
    }

    /// As if recorded a second after the other.
    fn session(events: Vec<Event>) -> Vec<Recorded> {
        (1..).zip(events).map(|(sequence, event)| recorded(sequence, event)).collect()
    }

    fn ended(outcome: TurnOutcome) -> Event {
        Event::TurnEnded { command_id: uuid::Uuid::from_u128(1).into(), outcome, error: Some("why".into()) }
    }

    fn said(message_id: u8) -> Event {
        Event::MessageAppended {
            message_id: format!("m{message_id}"),
            role: MessageRole::Agent,
            text: "é".repeat(usize::from(message_id) * 30),
        }
    }

    fn created() -> Event {
        Event::SessionCreated { title: "Plan".into(), agent: "scripted".into() }
    }

    fn started() -> Event {
        Event::TurnStarted { command_id: uuid::Uuid::from_u128(1).into(), attempt: 1 }
    }

    /// The base that turns before second `before` give, as far as `up_to`.
    fn base(events: &[Recorded], before: i64, up_to: i64) -> Option<Base> {
        let mut cutter = Cutter::new(Timestamp::UNIX_EPOCH + TimeDelta::seconds(before), up_to);
        events.iter().for_each(|event| cutter.take(event).unwrap());
        cutter.base()
    }

    #[test]
    fn the_cut_is_the_end_of_the_last_turn_that_is_finished_old_and_needed_by_nobody() {
        let turn = || [started(), said(1), ended(TurnOutcome::Completed)];
        let waiting = [started(), ended(TurnOutcome::AwaitingApproval)];
        let events = session([created()].into_iter().chain(turn()).chain(turn()).chain(waiting).collect());
        let cut = |before, up_to| base(&events, before, up_to).map(|base| (base.sequence, base.events));
        assert_eq!(cut(100, 100), Some((7, 7)), "a turn that waits is not finished");
        assert_eq!(cut(8, 100), Some((7, 7)));
        assert_eq!(cut(7, 100), Some((4, 4)), "the second turn is not old enough");
        assert_eq!(cut(100, 6), Some((4, 4)), "somebody has not seen the second turn's end");
        assert_eq!(cut(4, 100), None);
    }

    #[test]
    fn damage_is_not_compacted_away() {
        let compacted = || Event::Compacted { projection: Box::default() };
        let check = |events: &[Recorded]| {
            let mut cutter = Cutter::new(Timestamp::UNIX_EPOCH + TimeDelta::days(1), 100);
            events.iter().try_for_each(|event| cutter.take(event))
        };
        assert_eq!(check(&[recorded(2, started())]), Err(Damaged::Beginning(2)));
        assert_eq!(check(&[recorded(7, compacted()), recorded(8, started())]), Ok(()));
        let hole = [recorded(1, created()), recorded(3, said(1))];
        assert_eq!(check(&hole), Err(Damaged::Hole { after: 1, found: 3 }));
        assert_eq!(check(&[recorded(1, created()), recorded(2, compacted())]), Err(Damaged::LateBase(2)));
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let outcome = prop_oneof![
            Just(TurnOutcome::Completed),
            Just(TurnOutcome::AwaitingApproval),
            Just(TurnOutcome::AwaitingAnswer),
            Just(TurnOutcome::Aborted),
            Just(TurnOutcome::Failed),
            Just(TurnOutcome::Dead),
        ];
        prop_oneof![
            Just(started()),
            (0..40u8).prop_map(said),
            (0..40u8).prop_map(|id| Event::ToolCallUpserted {
                tool_call_id: format!("t{id}"),
                title: (id % 2 == 0).then(|| "look".into()),
                status: ToolCallStatus::Completed,
                output: (id % 3 == 0).then(|| "found".into()),
            }),
            (0..3u8).prop_map(|id| Event::ApprovalRequested { request_id: format!("r{id}"), title: "go?".into() }),
            (0..3u8).prop_map(|id| Event::ApprovalResolved {
                request_id: format!("r{id}"),
                outcome: ApprovalOutcome::Approved
            }),
            (1..9i64).prop_map(|input_tokens| Event::UsageRecorded { input_tokens, output_tokens: 1, model: None }),
            outcome.prop_map(ended),
        ]
    }

    proptest! {
        /// Compacted once, and compacted again later.
        #[test]
        fn a_base_and_what_follows_add_up_to_what_all_events_did(
            events in prop::collection::vec(any_event(), 0..120),
            first in 0..120i64,
            second in 0..120i64,
        ) {
            let events = session([created()].into_iter().chain(events).collect());
            let whole = Projection::rebuild(events.iter().map(|recorded| &recorded.event));
            let mut left = events;
            for before in [first, second] {
                if let Some(base) = base(&left, before, i64::MAX) {
                    left.retain(|recorded| recorded.sequence > base.sequence);
                    let projection = Box::new(base.projection);
                    // As it comes back from the database.
                    let stored = serde_json::to_value(Event::Compacted { projection }).unwrap();
                    left.insert(0, recorded(base.sequence, serde_json::from_value(stored).unwrap()));
                }
                prop_assert_eq!(&Projection::rebuild(left.iter().map(|recorded| &recorded.event)), &whole);
            }
        }
    }
}
