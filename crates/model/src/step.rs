//! The steps that the world can take.
//!
//! Not here: what each of them does (`after`).

use crate::rules::{Fence, Kind, World};
use crate::state::{Answer, Copy, Process, RowState, Stage, State};

/// One step. `copy` is a generation, `process` one of its processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A turn ended: the delivery's row is made.
    Render {
        copy: usize,
        effect: usize,
    },
    /// A process takes the effect up: it claims a delivery, sees a due slot, changes the row of a revocation.
    Take {
        copy: usize,
        process: usize,
        effect: usize,
    },
    RecordIntent {
        copy: usize,
        process: usize,
    },
    LookAtFence {
        copy: usize,
        process: usize,
    },
    /// The effect leaves. `arrives` is what really happens, `answer` what the sender learns.
    Send {
        copy: usize,
        process: usize,
        answer: Answer,
        arrives: bool,
    },
    RecordOutcome {
        copy: usize,
        process: usize,
    },
    Acknowledge {
        copy: usize,
        process: usize,
    },
    /// The row's lease runs out, whether or not its holder lives.
    LeaseExpires {
        copy: usize,
        effect: usize,
    },
    /// The ledger could not be told, or did not say that it was: the claim and its number are free again. What was to be told
    /// may stand there all the same.
    GiveBack {
        copy: usize,
        process: usize,
    },
    /// `kill -9`, and a start.
    Crash {
        copy: usize,
        process: usize,
    },
    BackUp {
        copy: usize,
    },
    /// The rows of the backup become a new copy. The old ones may go on.
    Restore,
    MarkGeneration {
        copy: usize,
    },
    Replay {
        copy: usize,
        effect: usize,
    },
    /// The restorer is killed, and begins again.
    RestorerCrashes {
        copy: usize,
    },
    Boot {
        copy: usize,
    },
    /// An operator sends an unknown or dead delivery again.
    Resend {
        copy: usize,
        effect: usize,
    },
}

/// Everything that can happen in `state`.
pub(crate) fn actions(world: &World<'_>, state: &State) -> Vec<Action> {
    let mut all = Vec::new();
    for (place, copy) in state.living() {
        if copy.booted {
            of_rows(world, state, place, copy, &mut all);
            of_processes(world, state, place, copy, &mut all);
            if left(state.spent.backups, world.limits.backups) {
                all.push(Action::BackUp { copy: place });
            }
        } else {
            of_restorer(world, state, place, copy, &mut all);
        }
    }
    if state.backup.is_some() && state.newest() + 1 < usize::from(world.limits.copies) {
        all.push(Action::Restore);
    }
    all
}

pub(crate) fn left(spent: u8, limit: u8) -> bool {
    spent < limit
}

impl Action {
    /// The generation that acts. `None`: a backup comes from outside.
    pub(crate) fn copy(self) -> Option<usize> {
        match self {
            Self::Restore => None,
            Self::Render { copy, .. }
            | Self::Take { copy, .. }
            | Self::RecordIntent { copy, .. }
            | Self::LookAtFence { copy, .. }
            | Self::Send { copy, .. }
            | Self::RecordOutcome { copy, .. }
            | Self::Acknowledge { copy, .. }
            | Self::LeaseExpires { copy, .. }
            | Self::GiveBack { copy, .. }
            | Self::Crash { copy, .. }
            | Self::BackUp { copy }
            | Self::MarkGeneration { copy }
            | Self::Replay { copy, .. }
            | Self::RestorerCrashes { copy }
            | Self::Boot { copy }
            | Self::Resend { copy, .. } => Some(copy),
        }
    }
}

fn of_rows(world: &World<'_>, state: &State, copy: usize, of: &Copy, all: &mut Vec<Action>) {
    for (effect, kind) in world.effects() {
        let row = &of.rows[effect];
        if row.state == RowState::Absent {
            all.push(Action::Render { copy, effect });
        }
        if row.held && row.state == RowState::Pending && left(state.spent.expiries, world.limits.expiries) {
            all.push(Action::LeaseExpires { copy, effect });
        }
        let stuck = matches!(row.state, RowState::Unknown | RowState::Dead);
        let delivery = matches!(kind, Kind::Plain | Kind::Deduplicated);
        if delivery && stuck && left(state.spent.resends, world.limits.resends) {
            all.push(Action::Resend { copy, effect });
        }
    }
}

fn of_processes(world: &World<'_>, state: &State, copy: usize, of: &Copy, all: &mut Vec<Action>) {
    let processes = of.processes.iter().take(usize::from(world.limits.processes)).enumerate();
    for (process, now) in processes {
        match now.stage {
            Stage::Idle => takes(world, copy, process, of, all),
            Stage::Stopped => {}
            Stage::Taken | Stage::LookedFirst | Stage::Recorded | Stage::ToldFirst | Stage::Cleared => {
                before_sending(world, state, copy, process, *now, all);
            }
            Stage::Answered(_) if world.rules.outcome_before_acknowledgement => {
                all.push(Action::RecordOutcome { copy, process });
            }
            Stage::Answered(_) | Stage::Told(_) => all.push(Action::Acknowledge { copy, process }),
            Stage::Acknowledged(_) => all.push(Action::RecordOutcome { copy, process }),
        }
        if may_give_back(world, *now) && left(state.spent.give_backs, world.limits.give_backs) {
            all.push(Action::GiveBack { copy, process });
        }
        let busy = !matches!(now.stage, Stage::Idle | Stage::Stopped);
        if busy && left(state.spent.crashes, world.limits.crashes) {
            all.push(Action::Crash { copy, process });
        }
    }
}

/// Whether it holds a claim of something that certainly did not leave.
fn may_give_back(world: &World<'_>, process: Process) -> bool {
    let delivery = matches!(world.effects[usize::from(process.effect)], Kind::Plain | Kind::Deduplicated);
    let unsent = match process.stage {
        Stage::Taken | Stage::Recorded => true,
        Stage::Answered(_) => !world.rules.unsent_when_given_back,
        _ => false,
    };
    delivery && unsent
}

fn takes(world: &World<'_>, copy: usize, process: usize, of: &Copy, all: &mut Vec<Action>) {
    for (effect, kind) in world.effects() {
        let row = &of.rows[effect];
        let free = row.state == RowState::Pending && !row.held;
        if free || (kind == Kind::Revocation && row.outbox) {
            all.push(Action::Take { copy, process, effect });
        }
    }
}

fn before_sending(world: &World<'_>, state: &State, copy: usize, process: usize, now: Process, all: &mut Vec<Action>) {
    let rules = &world.rules;
    let kind = world.effects[usize::from(now.effect)];
    match now.stage {
        Stage::Taken if rules.fence == Fence::BeforeTheIntent => all.push(Action::LookAtFence { copy, process }),
        Stage::Taken | Stage::LookedFirst => all.push(Action::RecordIntent { copy, process }),
        Stage::Recorded => all.push(Action::LookAtFence { copy, process }),
        Stage::Cleared if !rules.outcome_after_send => all.push(Action::RecordOutcome { copy, process }),
        _ => all.extend(sends(world, state, kind).map(|(answer, arrives)| Action::Send {
            copy,
            process,
            answer,
            arrives,
        })),
    }
}

/// What can come of sending: the answer, and whether it arrived.
fn sends(world: &World<'_>, state: &State, kind: Kind) -> impl Iterator<Item = (Answer, bool)> {
    let troubled =
        matches!(kind, Kind::Plain | Kind::Deduplicated) && left(state.spent.refusals, world.limits.refusals);
    let trouble =
        [(Answer::Refused, false), (Answer::Rejected, false), (Answer::Unheard, false), (Answer::Unheard, true)];
    std::iter::once((Answer::Accepted, true)).chain(trouble.into_iter().filter(move |_| troubled))
}

fn of_restorer(world: &World<'_>, state: &State, copy: usize, of: &Copy, all: &mut Vec<Action>) {
    let replayed = world.effects().all(|(effect, _)| of.replayed & (1 << effect) != 0);
    let may_read = of.marked || !world.rules.marked_before_read;
    if !of.marked && (world.rules.marked_before_read || replayed) {
        all.push(Action::MarkGeneration { copy });
    }
    for (effect, _) in world.effects() {
        if may_read && of.replayed & (1 << effect) == 0 {
            all.push(Action::Replay { copy, effect });
        }
    }
    if of.replayed != 0 && left(state.spent.crashes, world.limits.crashes) {
        all.push(Action::RestorerCrashes { copy });
    }
    if of.marked && replayed {
        all.push(Action::Boot { copy });
    }
}
