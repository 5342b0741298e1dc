//! Every state that a world can reach, breadth first: the first counterexample is a shortest one.

use std::collections::HashSet;
use std::fmt;

use crate::after;
use crate::law::{self, Law};
use crate::rules::World;
use crate::state::State;
use crate::step::{self, Action};

/// What exploring found out about a world in which every law holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explored {
    pub states: usize,
    pub steps: usize,
}

/// The shortest way to break a law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    pub law: Law,
    pub path: Vec<Action>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} is broken after {} steps:", self.law, self.path.len())?;
        self.path.iter().try_for_each(|action| writeln!(f, "  {action:?}"))
    }
}

/// Visits every state that `world` can reach.
///
/// # Errors
/// A [`Counterexample`], if a law does not hold in one of them.
pub fn explore(world: &World<'_>) -> Result<Explored, Counterexample> {
    let first = State::beginning(world);
    let mut found: Vec<State> = vec![first];
    // How each state was reached first: from which, by what.
    let mut reached: Vec<Option<(usize, Action)>> = vec![None];
    let mut known = HashSet::from([first]);
    let mut ends = HashSet::new();
    let mut steps = 0;
    let mut at = 0;
    while at < found.len() {
        let state = found[at];
        for action in step::actions(world, &state) {
            steps += 1;
            let next = after::after(world, &state, action);
            if known.insert(next) {
                found.push(next);
                reached.push(Some((at, action)));
                if let Some(law) = law::broken(world, &next).or_else(|| law::forgotten(world, &next, &mut ends)) {
                    return Err(Counterexample { law, path: path(&reached, found.len() - 1) });
                }
            }
        }
        at += 1;
    }
    Ok(Explored { states: found.len(), steps })
}

fn path(reached: &[Option<(usize, Action)>], mut at: usize) -> Vec<Action> {
    let mut path = Vec::new();
    while let Some((before, action)) = reached[at] {
        path.push(action);
        at = before;
    }
    path.reverse();
    path
}
