//! What a drill of the judge itself changes about a drill: its pace, what is broken between
//! two stages, and the comparison that is left out. An operator's drill has none of it, and no option leads here but the
//! hidden one of the test of crash safety.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::faults::Sabotage;
use crate::report::Comparison;

/// How long a drill waits where waiting is part of the question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Nothing may move for this long while only the web role is there.
    pub(crate) quiet: Duration,
    /// Nothing more may arrive for this long before the sink's record is judged.
    pub(crate) settled: Duration,
    /// An answer that is younger when a gateway is killed may not be in the recovery ledger yet. Far longer than a group of records
    /// waits there: the machine may be busy.
    pub(crate) under_way: Duration,
    /// How many slots of a busy workflow are waited for.
    pub(crate) on_time_slots: usize,
    /// A worker's lease.
    pub(crate) lease: Duration,
    /// How long one thing that is bound to happen may take.
    pub(crate) patience: Duration,
}

impl Pace {
    /// That of a drill whose verdict somebody relies on.
    pub(crate) const CALM: Self = Self {
        quiet: Duration::from_secs(2),
        settled: Duration::from_millis(1_500),
        under_way: Duration::from_secs(5),
        on_time_slots: 3,
        lease: Duration::from_secs(2),
        patience: Duration::from_secs(60),
    };
    /// That of the corpus, where a hundred drills are to end in minutes.
    pub(crate) const BRISK: Self = Self {
        quiet: Duration::from_millis(400),
        settled: Duration::from_millis(500),
        under_way: Duration::from_secs(1),
        on_time_slots: 1,
        lease: Duration::from_millis(1_000),
        patience: Duration::from_secs(10),
    };
}

/// What is different from an operator's drill.
#[derive(Debug, Clone)]
pub(crate) struct Rigging {
    pub(crate) pace: Pace,
    /// A comparison that is taken to hold, whatever was seen: the drill has to be noticed as blind.
    pub(crate) blind: Option<Comparison>,
    /// What is done to the target between two stages.
    pub(crate) sabotage: Option<Arc<Sabotage>>,
    /// The scanner knows no canary.
    pub(crate) deaf: bool,
    /// See [`crate::Options::die_after_entry`].
    pub(crate) die_after_entry: Option<u64>,
}

impl Default for Rigging {
    fn default() -> Self {
        Self { pace: Pace::CALM, blind: None, sabotage: None, deaf: false, die_after_entry: None }
    }
}

impl Rigging {
    /// Ends this process at once, without a chance to tidy up, if it was to die at this entry.
    pub(crate) fn die_at(&self, entry: u64) {
        if self.die_after_entry == Some(entry) {
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    }
}
