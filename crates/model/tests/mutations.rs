//! The model can fail: whichever rule of the protocol is left out, exploring finds how it goes wrong.

use model::{Counterexample, Fence, Kind, Law, Limits, Rules, World, explore};

const SIZES: Limits =
    Limits { copies: 3, processes: 2, crashes: 1, expiries: 2, give_backs: 1, refusals: 1, backups: 1, resends: 0 };

#[track_caller]
fn without(rules: Rules, kind: Kind, law: Law) {
    let world = World { effects: &[kind], limits: SIZES, rules };
    let Counterexample { law: broken, path } = explore(&world).expect_err("a broken protocol was not noticed");
    println!("{}", Counterexample { law: broken, path });
    assert_eq!(broken, law);
}

fn rules() -> Rules {
    Rules::default()
}

#[test]
fn sending_before_the_intent_is_noticed() {
    without(Rules { intent_before_send: false, ..rules() }, Kind::Plain, Law::NothingTwice);
}

#[test]
fn a_fence_that_is_never_looked_at_is_noticed() {
    let rules = Rules { fence: Fence::Never, ..rules() };
    without(rules, Kind::Plain, Law::NobodyActsBehindTheRestorer);
    without(rules, Kind::Revocation, Law::RevokedStaysRevoked);
}

#[test]
fn a_fence_that_is_looked_at_before_the_intent_is_noticed() {
    let rules = Rules { fence: Fence::BeforeTheIntent, ..rules() };
    without(rules, Kind::Plain, Law::NobodyActsBehindTheRestorer);
    without(rules, Kind::Slot, Law::NobodyActsBehindTheRestorer);
}

#[test]
fn a_restorer_that_reads_before_it_marks_is_noticed() {
    let rules = Rules { marked_before_read: false, ..rules() };
    without(rules, Kind::Plain, Law::NobodyActsBehindTheRestorer);
}

#[test]
fn a_restore_that_does_not_replay_is_noticed() {
    let rules = Rules { replayed: false, ..rules() };
    without(rules, Kind::Plain, Law::NothingTwice);
    without(rules, Kind::Slot, Law::NothingTwice);
    without(rules, Kind::Revocation, Law::RevokedStaysRevoked);
}

#[test]
fn forgetting_what_has_no_row_yet_is_noticed() {
    without(Rules { remembered: false, ..rules() }, Kind::Plain, Law::NothingTwice);
}

#[test]
fn a_sending_with_the_number_of_another_is_noticed() {
    without(Rules { numbers_never_repeat: false, ..rules() }, Kind::Plain, Law::NothingTwice);
}

#[test]
fn guessing_what_is_in_doubt_is_noticed() {
    without(Rules { doubt_is_held: false, ..rules() }, Kind::Plain, Law::NothingTwice);
}

#[test]
fn claiming_again_what_may_have_been_sent_is_noticed() {
    without(Rules { expired_is_held: false, ..rules() }, Kind::Plain, Law::NothingTwice);
}

#[test]
fn taking_silence_for_a_refusal_is_noticed() {
    without(Rules { unheard_is_doubt: false, ..rules() }, Kind::Plain, Law::NothingTwice);
}

#[test]
fn a_new_id_for_the_same_effect_is_noticed() {
    without(Rules { stable_ids: false, ..rules() }, Kind::Deduplicated, Law::NothingTwice);
}

#[test]
fn telling_the_outcome_before_there_is_one_is_noticed() {
    without(Rules { outcome_after_send: false, ..rules() }, Kind::Plain, Law::SentIsSent);
}

#[test]
fn acknowledging_before_the_ledger_knows_is_noticed() {
    without(Rules { outcome_before_acknowledgement: false, ..rules() }, Kind::Plain, Law::UnknownWasInFlight);
}

#[test]
fn giving_back_what_may_have_arrived_is_noticed() {
    without(Rules { unsent_when_given_back: false, ..rules() }, Kind::Plain, Law::NothingTwice);
}

#[test]
fn an_acknowledgement_that_compares_nothing_is_noticed() {
    without(Rules { compared: false, ..rules() }, Kind::Deduplicated, Law::SentStaysSent);
    without(Rules { compared: false, ..rules() }, Kind::Slot, Law::NothingTwice);
}

#[test]
fn an_answer_before_the_ledger_knows_is_noticed() {
    without(Rules { answered_when_durable: false, ..rules() }, Kind::Revocation, Law::RevokedStaysRevoked);
}
