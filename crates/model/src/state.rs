//! One state of the world: the receivers outside, the ledger, a backup, and every copy of the system with its rows and
//! processes.
//!
//! Small and without pointers, so that millions of them can be compared.

use crate::law::Law;
use crate::rules::{Kind, World};

/// The most effects, copies of the system and processes of a copy that a state has room for.
pub(crate) const EFFECTS: usize = 2;
pub(crate) const COPIES: usize = 3;
pub(crate) const PROCESSES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowState {
    /// The backup has no row for it: its turn was not over then.
    Absent,
    Pending,
    /// Sent, fired, or revoked.
    Sent,
    Dead,
    Unknown,
}

/// What a copy's database says of one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub state: RowState,
    pub attempt: u8,
    pub(crate) held: bool,
    pub(crate) counter: u8,
    /// What the replay left behind for a row that is still to be made.
    pub(crate) remembered: Option<RowState>,
    /// The ledger is still to be told.
    pub(crate) outbox: bool,
}

/// How a destination answered, as far as the sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    Accepted,
    /// Certainly not accepted; to be tried again.
    Refused,
    /// Certainly not accepted, for ever.
    Rejected,
    /// The connection broke, or time ran out.
    Unheard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Idle,
    /// It found a newer generation, and stays like this.
    Stopped,
    Taken,
    /// It has looked at the fence too early: a broken rule.
    LookedFirst,
    Recorded,
    Cleared,
    /// It has told an outcome before there was one: a broken rule.
    ToldFirst,
    Answered(Answer),
    Told(Answer),
    /// It has acknowledged before it told: a broken rule.
    Acknowledged(Answer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) stage: Stage,
    pub(crate) effect: u8,
    pub(crate) attempt: u8,
    pub(crate) counter: u8,
}

/// What the ledger says of one effect, folded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// Attempts with an intent, a bit each.
    pub(crate) intents: u16,
    /// Attempts that certainly did not arrive.
    pub(crate) closed: u16,
    pub(crate) sent: bool,
    /// The newest attempt after which it was given up.
    pub(crate) dead: u8,
}

/// What a restore has to know of an effect that the ledger tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    Sent,
    InDoubt,
    Dead,
    NotSent,
}

/// One life of the system. Its place in [`State::copies`] is its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Copy {
    pub rows: [Row; EFFECTS],
    pub booted: bool,
    pub(crate) marked: bool,
    /// Effects that were replayed, a bit each, and what the restorer had read of each.
    pub(crate) replayed: u8,
    pub(crate) read: [Option<Told>; EFFECTS],
    pub(crate) processes: [Process; PROCESSES],
}

/// What happened out there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outside {
    /// How often it arrived, or fired, or was answered.
    pub(crate) times: u8,
    /// Under which ids, a bit each.
    pub(crate) ids: u8,
    /// How often a person asked for one more.
    pub(crate) wanted: u8,
    /// Of a revocation that was answered: the generation that did.
    pub(crate) answered_by: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Spent {
    pub(crate) crashes: u8,
    pub(crate) expiries: u8,
    pub(crate) give_backs: u8,
    pub(crate) refusals: u8,
    pub(crate) backups: u8,
    pub(crate) resends: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) outside: [Outside; EFFECTS],
    pub(crate) ledger: [Told; EFFECTS],
    /// The newest generation that marked itself.
    pub(crate) fence: u8,
    pub(crate) backup: Option<[Row; EFFECTS]>,
    pub copies: [Option<Copy>; COPIES],
    pub(crate) spent: Spent,
    /// A law that the last step broke, of those that only a step can break.
    pub(crate) broken: Option<Law>,
}

impl State {
    /// One system that has done nothing yet.
    pub(crate) fn beginning(world: &World<'_>) -> Self {
        world.check();
        let mut rows = [Row::absent(); EFFECTS];
        for (effect, kind) in world.effects() {
            if matches!(kind, Kind::Slot | Kind::Revocation) {
                rows[effect].state = RowState::Pending;
            }
        }
        let mut first = Copy::of(rows);
        (first.marked, first.booted) = (true, true);
        Self {
            outside: [Outside::default(); EFFECTS],
            ledger: [Told::default(); EFFECTS],
            fence: 0,
            backup: None,
            copies: [Some(first), None, None],
            spent: Spent::default(),
            broken: None,
        }
    }

    pub(crate) fn living(&self) -> impl Iterator<Item = (usize, &Copy)> {
        self.copies.iter().enumerate().filter_map(|(place, copy)| copy.as_ref().map(|copy| (place, copy)))
    }

    pub(crate) fn newest(&self) -> usize {
        self.living().count() - 1
    }

    pub(crate) fn copy(&mut self, place: usize) -> &mut Copy {
        self.copies[place].as_mut().expect("an action names a copy that is there")
    }
}

impl Copy {
    pub(crate) fn of(rows: [Row; EFFECTS]) -> Self {
        let processes = [Process { stage: Stage::Idle, effect: 0, attempt: 0, counter: 0 }; PROCESSES];
        Self { rows, booted: false, marked: false, replayed: 0, read: [None; EFFECTS], processes }
    }
}

impl Process {
    /// What it knows of how its effect went.
    pub(crate) fn answer(self) -> Option<Answer> {
        match self.stage {
            Stage::Answered(answer) | Stage::Told(answer) | Stage::Acknowledged(answer) => Some(answer),
            _ => None,
        }
    }
}

impl Row {
    fn absent() -> Self {
        Self { state: RowState::Absent, attempt: 0, held: false, counter: 0, remembered: None, outbox: false }
    }
}

impl Told {
    pub fn intent(&mut self, attempt: u8) {
        self.intents |= bit(attempt);
    }

    pub fn outcome(&mut self, attempt: u8, answer: Answer) {
        match answer {
            Answer::Accepted => self.sent = true,
            Answer::Refused => self.closed |= bit(attempt),
            Answer::Rejected => {
                self.closed |= bit(attempt);
                self.dead = self.dead.max(attempt);
            }
            Answer::Unheard => {}
        }
    }

    /// What it adds up to. `None`: nothing was ever told.
    #[must_use]
    pub fn word(self) -> Option<Word> {
        let open = self.intents & !self.closed;
        match self {
            Self { sent: true, .. } => Some(Word::Sent),
            Self { intents: 0, .. } => None,
            // Giving up settles every attempt up to that one; a person may have resent it since.
            _ if open != 0 && highest(open) > self.dead => Some(Word::InDoubt),
            _ if self.dead > 0 && self.attempts() <= self.dead => Some(Word::Dead),
            _ => Some(Word::NotSent),
        }
    }

    pub(crate) fn attempts(self) -> u8 {
        if self.intents == 0 { 0 } else { highest(self.intents) }
    }
}

pub(crate) fn bit(attempt: u8) -> u16 {
    1 << attempt.min(15)
}

fn highest(bits: u16) -> u8 {
    u8::try_from(bits.ilog2()).expect("below 16")
}
