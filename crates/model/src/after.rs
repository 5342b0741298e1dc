//! What a step does to the world.

use crate::law::{self, Law};
use crate::rules::{Fence, Kind, World};
use crate::state::{Answer, COPIES, Copy, Process, Row, RowState, Stage, State, Told, Word, bit};
use crate::step::Action;

/// The state after `action`.
pub(crate) fn after(world: &World<'_>, before: &State, action: Action) -> State {
    let mut state = *before;
    state.broken = None;
    apply(world, &mut state, action);
    law::of_step(world, before, &mut state, action);
    state
}

fn spend(spent: &mut u8, limit: u8) {
    if limit != u8::MAX {
        *spent += 1;
    }
}

fn apply(world: &World<'_>, state: &mut State, action: Action) {
    match action {
        Action::Render { copy, effect } => render(world, &mut state.copy(copy).rows[effect]),
        Action::Take { copy, process, effect } => take(world, state.copy(copy), process, effect),
        Action::RecordIntent { copy, process } => record_intent(world, state, copy, process),
        Action::LookAtFence { copy, process } => look_at_fence(world, state, copy, process),
        Action::Send { copy, process, answer, arrives } => send(world, state, copy, process, answer, arrives),
        Action::RecordOutcome { copy, process } => record_outcome(world, state, copy, process),
        Action::Acknowledge { copy, process } => acknowledge(world, state.copy(copy), process),
        Action::LeaseExpires { copy, effect } => {
            spend(&mut state.spent.expiries, world.limits.expiries);
            expire(world, &mut state.copy(copy).rows[effect], world.effects[effect]);
        }
        Action::GiveBack { copy, process } => {
            spend(&mut state.spent.give_backs, world.limits.give_backs);
            give_back(world, state.copy(copy), process);
        }
        Action::Crash { copy, process } => {
            spend(&mut state.spent.crashes, world.limits.crashes);
            rest(&mut state.copy(copy).processes[process]);
        }
        Action::BackUp { copy } => {
            spend(&mut state.spent.backups, world.limits.backups);
            state.backup = Some(state.copy(copy).rows);
        }
        Action::Restore => restore(state),
        Action::MarkGeneration { copy } => {
            state.copy(copy).marked = true;
            state.fence = state.fence.max(u8::try_from(copy).expect("a handful of copies"));
        }
        Action::Replay { copy, effect } => replay(world, state, copy, effect),
        Action::RestorerCrashes { copy } => {
            spend(&mut state.spent.crashes, world.limits.crashes);
            state.copy(copy).replayed = 0;
        }
        Action::Boot { copy } => state.copy(copy).booted = true,
        Action::Resend { copy, effect } => {
            spend(&mut state.spent.resends, world.limits.resends);
            state.outside[effect].wanted += 1;
            state.copy(copy).rows[effect].state = RowState::Pending;
        }
    }
}

fn render(world: &World<'_>, row: &mut Row) {
    let remembered = row.remembered.filter(|_| world.rules.remembered);
    row.state = remembered.unwrap_or(RowState::Pending);
}

fn take(world: &World<'_>, copy: &mut Copy, process: usize, effect: usize) {
    let row = &mut copy.rows[effect];
    let kind = world.effects[effect];
    match kind {
        Kind::Plain | Kind::Deduplicated => {
            (row.held, row.counter, row.attempt) = (true, row.counter + 1, row.attempt + 1);
        }
        Kind::Slot => row.attempt = 1,
        Kind::Revocation => (row.state, row.outbox, row.attempt) = (RowState::Sent, true, 1),
    }
    let effect = u8::try_from(effect).expect("a handful of effects");
    let early = kind == Kind::Revocation && !world.rules.answered_when_durable;
    let stage = if world.rules.intent_before_send && !early { Stage::Taken } else { Stage::Cleared };
    copy.processes[process] = Process { stage, effect, attempt: row.attempt, counter: row.counter };
}

fn record_intent(world: &World<'_>, state: &mut State, copy: usize, process: usize) {
    let now = &mut state.copies[copy].as_mut().expect("it is there").processes[process];
    state.ledger[usize::from(now.effect)].intent(now.attempt);
    now.stage = if world.rules.fence == Fence::AfterTheIntent { Stage::Recorded } else { Stage::Cleared };
}

fn look_at_fence(world: &World<'_>, state: &mut State, copy: usize, process: usize) {
    let newer = usize::from(state.fence) > copy;
    let now = &mut state.copy(copy).processes[process];
    now.stage = match world.rules.fence {
        _ if newer => Stage::Stopped,
        Fence::BeforeTheIntent => Stage::LookedFirst,
        _ => Stage::Cleared,
    };
}

fn send(world: &World<'_>, state: &mut State, copy: usize, process: usize, answer: Answer, arrives: bool) {
    let Process { effect, stage, .. } = state.copy(copy).processes[process];
    let effect = usize::from(effect);
    if answer != Answer::Accepted {
        spend(&mut state.spent.refusals, world.limits.refusals);
    }
    let next = match world.effects[effect] {
        Kind::Slot => fire(world, state.copy(copy), effect),
        Kind::Revocation => answered(state, copy, effect),
        _ if stage == Stage::ToldFirst => Some(Stage::Told(answer)),
        _ => Some(Stage::Answered(answer)),
    };
    if arrives && (next.is_some() || world.effects[effect] == Kind::Revocation) {
        let outside = &mut state.outside[effect];
        outside.times = outside.times.saturating_add(1).min(9);
        outside.ids |= if world.rules.stable_ids { 1 } else { 1 << copy };
    }
    let now = &mut state.copy(copy).processes[process];
    match next {
        Some(stage) => now.stage = stage,
        None => rest(now),
    }
}

/// The transaction that fires: `None` if its slot was settled before.
fn fire(world: &World<'_>, copy: &mut Copy, effect: usize) -> Option<Stage> {
    let row = &mut copy.rows[effect];
    if world.rules.compared && row.state != RowState::Pending {
        return None;
    }
    row.state = RowState::Sent;
    Some(Stage::Answered(Answer::Accepted))
}

fn answered(state: &mut State, copy: usize, effect: usize) -> Option<Stage> {
    state.copy(copy).rows[effect].outbox = false;
    let (outside, generation) = (&mut state.outside[effect], u8::try_from(copy).expect("a handful of copies"));
    outside.answered_by = if outside.times == 0 { generation } else { outside.answered_by.min(generation) };
    None
}

fn record_outcome(world: &World<'_>, state: &mut State, copy: usize, process: usize) {
    let kind = world.effects[usize::from(state.copy(copy).processes[process].effect)];
    let now = &mut state.copies[copy].as_mut().expect("it is there").processes[process];
    let told = &mut state.ledger[usize::from(now.effect)];
    now.stage = match now.stage {
        Stage::Answered(answer) => {
            told.outcome(now.attempt, understood(world, answer));
            Stage::Told(answer)
        }
        Stage::Acknowledged(answer) => {
            told.outcome(now.attempt, understood(world, answer));
            Stage::Idle
        }
        _ => {
            told.outcome(now.attempt, Answer::Accepted);
            Stage::ToldFirst
        }
    };
    // A slot's row was written by the transaction that fired it: nothing is left to acknowledge.
    if kind == Kind::Slot || now.stage == Stage::Idle {
        rest(now);
    }
}

fn understood(world: &World<'_>, answer: Answer) -> Answer {
    if answer == Answer::Unheard && !world.rules.unheard_is_doubt { Answer::Refused } else { answer }
}

fn acknowledge(world: &World<'_>, copy: &mut Copy, process: usize) {
    let now = copy.processes[process];
    let (Stage::Told(answer) | Stage::Answered(answer)) = now.stage else { return };
    let row = &mut copy.rows[usize::from(now.effect)];
    let ours = row.state == RowState::Pending && row.held && row.counter == now.counter;
    if ours || !world.rules.compared {
        row.held = false;
        row.state = match (understood(world, answer), world.effects[usize::from(now.effect)]) {
            (Answer::Accepted, _) => RowState::Sent,
            (Answer::Rejected, _) => RowState::Dead,
            (Answer::Unheard, Kind::Plain) => RowState::Unknown,
            _ => RowState::Pending,
        };
    }
    match now.stage {
        Stage::Answered(answer) => copy.processes[process].stage = Stage::Acknowledged(answer),
        _ => rest(&mut copy.processes[process]),
    }
}

fn give_back(world: &World<'_>, copy: &mut Copy, process: usize) {
    let now = copy.processes[process];
    let row = &mut copy.rows[usize::from(now.effect)];
    let ours = row.state == RowState::Pending && row.held && row.counter == now.counter;
    if ours || !world.rules.compared {
        (row.held, row.attempt) = (false, row.attempt.saturating_sub(1));
    }
    rest(&mut copy.processes[process]);
}

fn expire(world: &World<'_>, row: &mut Row, kind: Kind) {
    row.held = false;
    if kind == Kind::Plain && world.rules.expired_is_held {
        row.state = RowState::Unknown;
    }
}

/// Idle, and the same as any other that is: states that differ in nothing that matters are one.
fn rest(process: &mut Process) {
    *process = Process { stage: Stage::Idle, effect: 0, attempt: 0, counter: 0 };
}

fn restore(state: &mut State) {
    let mut rows = state.backup.expect("there is a backup");
    for row in &mut rows {
        // A claim of an older generation holds nothing.
        row.held = false;
    }
    let place = state.newest() + 1;
    assert!(place < COPIES, "no room for another copy");
    state.copies[place] = Some(Copy::of(rows));
}

fn replay(world: &World<'_>, state: &mut State, copy: usize, effect: usize) {
    let told = state.ledger[effect];
    let kind = world.effects[effect];
    let copy = state.copy(copy);
    copy.replayed |= 1 << effect;
    if !world.rules.replayed {
        return;
    }
    copy.read[effect] = Some(told);
    let row = &mut copy.rows[effect];
    let verdict = verdict(world, told, *row, kind);
    if row.state != RowState::Absent || world.rules.numbers_never_repeat {
        row.attempt = row.attempt.max(told.attempts());
    }
    if row.state == RowState::Absent {
        row.remembered = verdict.filter(|state| *state != RowState::Pending);
    } else if let Some(verdict) = verdict {
        row.state = verdict;
    }
}

/// What the ledger makes of a row of the backup. `None`: it knows nothing that the row does not.
fn verdict(world: &World<'_>, told: Told, row: Row, kind: Kind) -> Option<RowState> {
    let newer = told.attempts() > row.attempt || row.state == RowState::Pending || row.state == RowState::Absent;
    if row.state == RowState::Sent || told.intents == 0 {
        return None;
    }
    if told.sent || kind == Kind::Revocation {
        return Some(RowState::Sent);
    }
    if !newer {
        return None;
    }
    let held = matches!(kind, Kind::Plain | Kind::Slot) && world.rules.doubt_is_held;
    match told.word()? {
        Word::Sent => Some(RowState::Sent),
        Word::InDoubt if held => Some(RowState::Unknown),
        Word::InDoubt | Word::NotSent => Some(RowState::Pending),
        Word::Dead => Some(RowState::Dead),
    }
}

/// A newer copy has read the ledger and does not know of this attempt.
pub(crate) fn is_behind_the_back(state: &State, copy: usize, process: Process) -> bool {
    state.living().skip(copy + 1).any(|(_, newer)| {
        newer.read[usize::from(process.effect)].is_some_and(|told| told.intents & bit(process.attempt) == 0)
    })
}

pub(crate) fn breaks(state: &mut State, law: Law) {
    state.broken.get_or_insert(law);
}
