//! The protocol, explored whole for small sizes: no law is ever broken.

use model::{Kind, Limits, Rules, World, explore};

const SMALL: Limits =
    Limits { copies: 2, processes: 1, crashes: 1, expiries: 1, give_backs: 1, refusals: 1, backups: 1, resends: 1 };

#[track_caller]
fn holds(effects: &[Kind], limits: Limits) {
    let world = World { effects, limits, rules: Rules::default() };
    let explored = explore(&world).unwrap_or_else(|counterexample| panic!("{counterexample}"));
    println!("{effects:?} {limits:?}: {} states, {} steps", explored.states, explored.steps);
    assert!(explored.states > 1_000, "next to nothing was explored: {explored:?}");
}

#[test]
fn one_delivery_survives_two_disasters() {
    let limits = Limits { copies: 3, resends: 0, ..SMALL };
    holds(&[Kind::Plain], limits);
    holds(&[Kind::Deduplicated], Limits { refusals: 0, ..limits });
}

#[test]
fn two_gateways_and_one_delivery() {
    let limits = Limits { processes: 2, ..SMALL };
    holds(&[Kind::Plain], limits);
    holds(&[Kind::Deduplicated], Limits { refusals: 0, ..limits });
}

#[test]
fn one_gateway_and_every_answer() {
    for kind in [Kind::Plain, Kind::Deduplicated] {
        holds(&[kind], Limits { refusals: 2, ..SMALL });
    }
}

#[test]
fn a_slot_and_two_schedulers() {
    holds(&[Kind::Slot], Limits { processes: 2, copies: 3, ..SMALL });
}

#[test]
fn a_revocation_and_two_disasters() {
    holds(&[Kind::Revocation], Limits { processes: 2, copies: 3, backups: 2, ..SMALL });
}

#[test]
fn two_effects_share_a_process_and_a_fence() {
    let limits = Limits { resends: 0, ..SMALL };
    holds(&[Kind::Plain, Kind::Slot], limits);
    holds(&[Kind::Plain, Kind::Deduplicated], Limits { refusals: 0, ..limits });
}
