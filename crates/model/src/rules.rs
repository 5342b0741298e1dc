//! What is explored: which effects, how much may go wrong, and which rules are kept.

use crate::state::{COPIES, EFFECTS, PROCESSES};

/// What kind of effect it is, which decides what may be done when nobody knows whether it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A delivery to a destination that knows its id again.
    Deduplicated,
    /// A delivery to a destination that does not.
    Plain,
    /// A slot that fires by a transaction; its primary key lets one win.
    Slot,
    /// A row that is changed first and told to the ledger then, and answered last.
    Revocation,
}

/// When a process looks at the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fence {
    AfterTheIntent,
    BeforeTheIntent,
    Never,
}

/// The rules of the protocol. All of them kept: [`Rules::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The intent is durable before the effect leaves.
    pub intent_before_send: bool,
    pub fence: Fence,
    /// A restorer marks the new generation before it reads the ledger.
    pub marked_before_read: bool,
    /// A restore replays the ledger over the rows.
    pub replayed: bool,
    /// What the ledger knows of an effect without a row is consulted when the row is made.
    pub remembered: bool,
    /// A sending's number is never used again, not even by a later generation for a row that its backup did not have:
    /// the ledger tells sendings apart by nothing else.
    pub numbers_never_repeat: bool,
    /// An effect in doubt waits for an operator, where the destination does not deduplicate.
    pub doubt_is_held: bool,
    /// So does one whose lease ran out.
    pub expired_is_held: bool,
    /// So does one whose answer was never heard.
    pub unheard_is_doubt: bool,
    /// An effect has the same id in every generation.
    pub stable_ids: bool,
    /// The outcome is told after the effect has left, not before.
    pub outcome_after_send: bool,
    /// The ledger learns the outcome before the row does.
    pub outcome_before_acknowledgement: bool,
    /// Only what certainly did not leave is given back.
    pub unsent_when_given_back: bool,
    /// An acknowledgement, and the firing of a slot, compare what the row says by now.
    pub compared: bool,
    /// A revocation is answered after the ledger has it.
    pub answered_when_durable: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            intent_before_send: true,
            fence: Fence::AfterTheIntent,
            marked_before_read: true,
            replayed: true,
            remembered: true,
            numbers_never_repeat: true,
            doubt_is_held: true,
            expired_is_held: true,
            unheard_is_doubt: true,
            stable_ids: true,
            outcome_after_send: true,
            outcome_before_acknowledgement: true,
            unsent_when_given_back: true,
            compared: true,
            answered_when_durable: true,
        }
    }
}

/// How often each thing may happen. 255: as often as it likes, and nobody counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    pub copies: u8,
    pub processes: u8,
    pub crashes: u8,
    /// Leases that run out, whether or not their holder lives.
    pub expiries: u8,
    /// Claims that are given back, because the ledger could not be told.
    pub give_backs: u8,
    /// Answers that are not a plain yes.
    pub refusals: u8,
    pub backups: u8,
    /// An operator's "send it again".
    pub resends: u8,
}

/// What is explored.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    pub effects: &'a [Kind],
    pub limits: Limits,
    pub rules: Rules,
}

impl World<'_> {
    pub(crate) fn check(&self) {
        let Limits { copies, processes, .. } = self.limits;
        assert!(self.effects.len() <= EFFECTS && usize::from(copies) <= COPIES && usize::from(processes) <= PROCESSES);
        assert!(copies > 0 && processes > 0, "a world without a system");
    }

    pub(crate) fn effects(&self) -> impl Iterator<Item = (usize, Kind)> + '_ {
        self.effects.iter().copied().enumerate()
    }
}
