//! Whether what a real program did is a path of the model.
//!
//! Somebody who watches from outside sees only some of the steps: what the ledger took, what arrived, where a restore
//! came up, what a row says at the end. [`is_a_path`] follows every state that the model could be in, lets it take the
//! unseen steps as it likes, and asks that one of them explains the next thing that was seen. Effects are independent of
//! each other but for the fence, so each is followed by itself.
//!
//! Not seen here: copies that come back after they were lost, which [`crate::explore`] knows about.

use std::collections::HashSet;

use crate::after;
use crate::rules::{Kind, Limits, Rules, World};
use crate::state::{Answer, RowState, State};
use crate::step::{self, Action};

/// One thing that was seen of one effect. Generations count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Observed {
    Intent {
        attempt: u8,
    },
    /// It arrived, or fired.
    Arrived,
    Outcome {
        attempt: u8,
        answer: Answer,
    },
    /// The next generation came up.
    Restored,
    /// An operator asked for one more.
    Resent,
    /// What the newest copy's row says now.
    Row(RowState),
}

/// What was seen can't be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// Its place in what was seen.
    pub at: usize,
    pub observed: Observed,
}

/// Asks whether `seen`, in this order, is what one effect of `kind` can look like.
///
/// # Errors
/// The first thing that no state of the model explains.
pub fn is_a_path(kind: Kind, seen: &[Observed]) -> Result<(), Unexplained> {
    let effects = [kind];
    let copies = u8::try_from(1 + seen.iter().filter(|seen| **seen == Observed::Restored).count()).unwrap_or(u8::MAX);
    let resends = u8::try_from(seen.iter().filter(|seen| **seen == Observed::Resent).count()).unwrap_or(u8::MAX);
    let any = u8::MAX;
    let limits = Limits {
        copies,
        processes: 2,
        crashes: any,
        expiries: any,
        give_backs: any,
        refusals: any,
        backups: any,
        resends,
    };
    let world = World { effects: &effects, limits, rules: Rules::default() };
    let bounds = Bounds::of(seen);
    let mut possible = closure(&world, HashSet::from([State::beginning(&world)]), bounds);
    for (at, observed) in seen.iter().copied().enumerate() {
        let next: HashSet<State> = possible.iter().flat_map(|state| explained(&world, state, observed)).collect();
        if next.is_empty() {
            return Err(Unexplained { at, observed });
        }
        possible = closure(&world, next, bounds);
    }
    Ok(())
}

/// How far unseen steps may go, so that there is an end to them.
#[derive(Clone, Copy)]
struct Bounds {
    attempts: u8,
    claims: u8,
}

impl Bounds {
    fn of(seen: &[Observed]) -> Self {
        let (mut highest, mut intents) = (0, 0);
        for seen in seen {
            match seen {
                Observed::Intent { attempt } => (highest, intents) = (highest.max(*attempt), intents + 1),
                Observed::Outcome { attempt, .. } => highest = highest.max(*attempt),
                _ => {}
            }
        }
        // One more than was seen: an attempt may have ended before its intent. A claim led to an intent or to a higher
        // number; any other may as well not have been.
        Self { attempts: highest + 1, claims: highest + 1 + intents }
    }

    fn hold(self, state: &State) -> bool {
        state.copies.iter().flatten().all(|copy| {
            let row = &copy.rows[0];
            row.attempt <= self.attempts && row.counter <= self.claims
        })
    }
}

/// Every state that unseen steps lead to.
fn closure(world: &World<'_>, mut known: HashSet<State>, bounds: Bounds) -> HashSet<State> {
    let mut ahead: Vec<State> = known.iter().copied().collect();
    while let Some(state) = ahead.pop() {
        let unseen = living(world, &state).into_iter().filter(|action| !is_seen(*action));
        for next in unseen.map(|action| after::after(world, &state, action)) {
            if bounds.hold(&next) && known.insert(next) {
                ahead.push(next);
            }
        }
    }
    known
}

/// What may happen to the newest copy: those before it are gone.
fn living(world: &World<'_>, state: &State) -> Vec<Action> {
    let newest = state.newest();
    let mut actions = step::actions(world, state);
    actions.retain(|action| action.copy().is_none_or(|copy| copy == newest));
    actions
}

fn is_seen(action: Action) -> bool {
    matches!(
        action,
        Action::RecordIntent { .. }
            | Action::Send { arrives: true, .. }
            | Action::RecordOutcome { .. }
            | Action::Boot { .. }
            | Action::Resend { .. }
    )
}

fn explained(world: &World<'_>, state: &State, observed: Observed) -> Vec<State> {
    if let Observed::Row(expected) = observed {
        let row = state.copies[state.newest()].map(|copy| copy.rows[0].state);
        return if row == Some(expected) { vec![*state] } else { Vec::new() };
    }
    let fitting = living(world, state).into_iter().filter(|action| fits(state, *action, observed));
    fitting.map(|action| forgetting(after::after(world, state, action), observed)).collect()
}

fn fits(state: &State, action: Action, observed: Observed) -> bool {
    let process = |copy: usize, process: usize| state.copies[copy].expect("it acts").processes[process];
    match (action, observed) {
        (Action::RecordIntent { copy, process: who }, Observed::Intent { attempt }) => {
            process(copy, who).attempt == attempt
        }
        (Action::RecordOutcome { copy, process: who }, Observed::Outcome { attempt, answer }) => {
            let now = process(copy, who);
            now.attempt == attempt && now.answer() == Some(answer)
        }
        (Action::Send { arrives: true, .. }, Observed::Arrived)
        | (Action::Boot { .. }, Observed::Restored)
        | (Action::Resend { .. }, Observed::Resent) => true,
        _ => false,
    }
}

/// Older copies matter no more: states that differ in them only are one.
fn forgetting(mut state: State, observed: Observed) -> State {
    if observed == Observed::Restored {
        let newest = state.newest();
        let gone = state.copies[newest];
        for copy in state.copies.iter_mut().take(newest) {
            *copy = gone;
        }
    }
    state
}
