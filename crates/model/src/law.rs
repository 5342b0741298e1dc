//! The laws that every state is asked for.

use std::collections::HashSet;

use crate::after;
use crate::rules::{Kind, Limits, World};
use crate::state::{RowState, Stage, State};
use crate::step::{self, Action};

/// What must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Law {
    /// Nothing arrives twice: by its id where the destination looks at it, at all where it does not. Slots fire once.
    NothingTwice,
    /// What a row calls sent has left.
    SentIsSent,
    /// What is sent stays sent.
    SentStaysSent,
    /// What a restore calls unknown was in flight: no row of the lost system had its end.
    UnknownWasInFlight,
    /// Nobody acts behind the back of a restorer that has read the ledger.
    NobodyActsBehindTheRestorer,
    /// What was answered as revoked is revoked, in this generation and later ones.
    RevokedStaysRevoked,
    /// Whatever happened, the newest copy can bring every effect to an end.
    NothingIsForgotten,
}

/// The laws that only a step can break, written into `after`.
pub(crate) fn of_step(world: &World<'_>, before: &State, after: &mut State, action: Action) {
    match action {
        Action::Send { copy, process, arrives: true, .. } => {
            let process = before.copies[copy].expect("it acted").processes[process];
            let kind = world.effects[usize::from(process.effect)];
            if kind != Kind::Revocation && after::is_behind_the_back(before, copy, process) && world.rules.replayed {
                after::breaks(after, Law::NobodyActsBehindTheRestorer);
            }
        }
        Action::Acknowledge { copy, .. } | Action::Replay { copy, .. } => sent_stays_sent(before, after, copy),
        _ => {}
    }
    if let Action::Replay { copy, effect } = action {
        unknown_was_in_flight(before, after, copy, effect);
    }
}

fn sent_stays_sent(before: &State, after: &mut State, copy: usize) {
    let (Some(old), Some(new)) = (before.copies[copy], after.copies[copy]) else { return };
    let changed =
        old.rows.iter().zip(&new.rows).any(|(old, new)| old.state == RowState::Sent && new.state != RowState::Sent);
    if changed {
        after::breaks(after, Law::SentStaysSent);
    }
}

fn unknown_was_in_flight(before: &State, after: &mut State, copy: usize, effect: usize) {
    let row = after.copies[copy].expect("it replayed").rows[effect];
    let now_unknown = row.state == RowState::Unknown || row.remembered == Some(RowState::Unknown);
    let was = before.copies[copy].expect("it replayed").rows[effect].state;
    // A slot's transaction is its row's end as well as its effect: the outcome can only come after it.
    let ended = before.living().take(copy).any(|(_, older)| {
        let at_work = older.processes.iter().any(|process| {
            usize::from(process.effect) == effect && !matches!(process.stage, Stage::Idle | Stage::Acknowledged(_))
        });
        older.rows[effect].state == RowState::Sent && older.rows[effect].counter > 0 && !at_work
    });
    if now_unknown && was != RowState::Unknown && ended {
        after::breaks(after, Law::UnknownWasInFlight);
    }
}

/// The first law that `state` breaks.
pub(crate) fn broken(world: &World<'_>, state: &State) -> Option<Law> {
    state.broken.or_else(|| world.effects().find_map(|(effect, kind)| of_effect(world, state, effect, kind)))
}

fn of_effect(world: &World<'_>, state: &State, effect: usize, kind: Kind) -> Option<Law> {
    let outside = state.outside[effect];
    let twice = match kind {
        Kind::Deduplicated => outside.ids.count_ones() > 1,
        Kind::Plain | Kind::Slot => outside.times > 1 + outside.wanted,
        Kind::Revocation => false,
    };
    if twice {
        return Some(Law::NothingTwice);
    }
    if kind == Kind::Revocation {
        return revoked(state, effect);
    }
    let claims = state.living().any(|(_, copy)| copy.rows[effect].state == RowState::Sent);
    (claims && outside.times == 0 && world.effects[effect] == kind).then_some(Law::SentIsSent)
}

fn revoked(state: &State, effect: usize) -> Option<Law> {
    let outside = state.outside[effect];
    let valid_again = state.living().any(|(generation, copy)| {
        let later = generation >= usize::from(outside.answered_by);
        outside.times > 0 && later && copy.booted && copy.rows[effect].state != RowState::Sent
    });
    valid_again.then_some(Law::RevokedStaysRevoked)
}

/// Lets the newest copy go on without trouble, and asks whether every effect comes to an end. `ends` remembers the states
/// of which that is known.
pub(crate) fn forgotten(world: &World<'_>, state: &State, ends: &mut HashSet<State>) -> Option<Law> {
    let calm =
        Limits { crashes: 0, give_backs: 0, refusals: 0, backups: 0, resends: 0, expiries: u8::MAX, ..world.limits };
    let world = World { limits: calm, ..*world };
    let mut state = *state;
    while ends.insert(state) {
        let newest = state.newest();
        let of_newest = step::actions(&world, &state).into_iter().filter(|action| action.copy() == Some(newest));
        // Leases run out last: their holders may still be at work.
        let next = of_newest.min_by_key(|action| matches!(action, Action::LeaseExpires { .. }));
        let Some(action) = next else { return open(&world, &state) };
        state = after::after(&world, &state, action);
        if let Some(law) = broken(&world, &state) {
            return Some(law);
        }
    }
    None
}

fn open(world: &World<'_>, state: &State) -> Option<Law> {
    let newest = state.copies[state.newest()].expect("it is the newest");
    let rows = newest.rows.iter().take(world.effects.len());
    let open = rows.filter(|row| matches!(row.state, RowState::Absent | RowState::Pending)).count() > 0;
    (open || !newest.booted).then_some(Law::NothingIsForgotten)
}
