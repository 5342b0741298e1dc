//! What somebody outside sees of an effect either is a path of the model or is not.

use model::trace::{Observed, Unexplained, is_a_path};
use model::{Answer, Kind, RowState};

const INTENT: Observed = Observed::Intent { attempt: 1 };
const SENT: Observed = Observed::Outcome { attempt: 1, answer: Answer::Accepted };

#[track_caller]
fn explained(kind: Kind, seen: &[Observed]) {
    assert_eq!(is_a_path(kind, seen), Ok(()), "{seen:?}");
}

#[track_caller]
fn unexplained(kind: Kind, seen: &[Observed]) {
    let at = seen.len() - 1;
    assert_eq!(is_a_path(kind, seen), Err(Unexplained { at, observed: seen[at] }), "{seen:?}");
}

#[test]
fn a_delivery_that_is_sent_is_a_path() {
    explained(Kind::Plain, &[INTENT, Observed::Arrived, SENT, Observed::Row(RowState::Sent)]);
}

#[test]
fn nothing_arrives_without_an_intent() {
    unexplained(Kind::Plain, &[Observed::Arrived]);
    unexplained(Kind::Deduplicated, &[INTENT, Observed::Arrived, SENT, Observed::Arrived]);
}

#[test]
fn a_delivery_that_was_retried_is_a_path() {
    let refused = Observed::Outcome { attempt: 1, answer: Answer::Refused };
    explained(Kind::Plain, &[INTENT, refused, Observed::Intent { attempt: 2 }, Observed::Arrived]);
}

#[test]
fn a_claim_that_is_given_back_uses_its_number_again() {
    explained(Kind::Plain, &[INTENT, INTENT, Observed::Arrived, SENT, Observed::Row(RowState::Sent)]);
    unexplained(Kind::Plain, &[INTENT, Observed::Arrived, INTENT]);
    let refused = Observed::Outcome { attempt: 1, answer: Answer::Refused };
    unexplained(Kind::Plain, &[INTENT, refused, INTENT]);
}

#[test]
fn a_delivery_in_doubt_is_held_after_a_restore() {
    let seen = [INTENT, Observed::Arrived, Observed::Restored];
    explained(Kind::Plain, &[&seen[..], &[Observed::Row(RowState::Unknown)]].concat());
    unexplained(Kind::Plain, &[&seen[..], &[Observed::Intent { attempt: 2 }]].concat());
    explained(Kind::Deduplicated, &[&seen[..], &[Observed::Intent { attempt: 2 }, Observed::Arrived]].concat());
}

#[test]
fn what_was_sent_is_not_sent_after_a_restore() {
    let seen = [INTENT, Observed::Arrived, SENT, Observed::Restored];
    explained(Kind::Plain, &[&seen[..], &[Observed::Row(RowState::Sent)]].concat());
    unexplained(Kind::Plain, &[&seen[..], &[Observed::Intent { attempt: 2 }]].concat());
    unexplained(Kind::Deduplicated, &[&seen[..], &[Observed::Intent { attempt: 2 }]].concat());
}

#[test]
fn a_slot_fires_once() {
    let fired = [INTENT, Observed::Arrived, SENT];
    explained(Kind::Slot, &fired);
    unexplained(Kind::Slot, &[&fired[..], &[Observed::Restored, INTENT]].concat());
}

#[test]
fn a_slot_fires_after_its_intent_and_is_told_after_that() {
    unexplained(Kind::Slot, &[Observed::Arrived]);
    unexplained(Kind::Slot, &[INTENT, SENT]);
    explained(Kind::Slot, &[INTENT, INTENT, Observed::Arrived, INTENT, SENT, Observed::Row(RowState::Sent)]);
    unexplained(Kind::Slot, &[INTENT, Observed::Row(RowState::Sent)]);
}
