//! What a reader found wrong with a ledger. It reads on after each; whether to go on is for its caller to decide.

use chrono::TimeDelta;
use clock::Timestamp;
use ids::{SystemId, WriterId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A writer's last segment ends early: it died, or its machine did, while it was being put. Normal: nothing left
    /// on the strength of it.
    Torn { writer: WriterId, sequence: u64 },
    /// Segments are missing from a writer's chain; what they said is lost.
    Hole { writer: WriterId, first: u64, last: u64 },
    /// An object was changed, or cut short. What it said is lost.
    Damaged { key: String, why: String },
    /// Two segments claim one place, or a segment follows another one than the one that is there: two processes wrote
    /// under one name, or a segment was replaced.
    TwoWriters { writer: WriterId, sequence: u64 },
    /// The writer's clock was set back by `by` before it closed this segment.
    ClockBack { writer: WriterId, sequence: u64, by: TimeDelta },
    /// The segment was closed `by` later than it is now: clocks are far apart.
    ClockAhead { writer: WriterId, sequence: u64, by: TimeDelta },
    /// Segments were put long after they were closed, the latest `by` after: the store was gone, the writer's clock is
    /// behind, or the ledger was copied. Normal; they are read as if they had been closed when they were put.
    PutLate { writer: WriterId, by: TimeDelta },
    /// A segment of another installation.
    AnotherSystem { key: String, system: SystemId },
    /// A newer version of this program wrote it.
    NewerFormat { key: String, format: u16 },
    /// An object that no version of this program puts here.
    Stray { key: String },
    /// What was recorded before `kept_from` was dropped, and more was asked for.
    Dropped { kept_from: Timestamp },
}

impl Finding {
    /// For programs; stable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Torn { .. } => "ledger_torn",
            Self::Hole { .. } => "ledger_hole",
            Self::Damaged { .. } => "ledger_damaged",
            Self::TwoWriters { .. } => "ledger_two_writers",
            Self::ClockBack { .. } => "ledger_clock_back",
            Self::ClockAhead { .. } => "ledger_clock_ahead",
            Self::PutLate { .. } => "ledger_put_late",
            Self::AnotherSystem { .. } => "ledger_another_system",
            Self::NewerFormat { .. } => "ledger_newer_format",
            Self::Stray { .. } => "ledger_stray",
            Self::Dropped { .. } => "ledger_dropped",
        }
    }

    /// Something that happens to healthy ledgers.
    #[must_use]
    pub fn normal(&self) -> bool {
        matches!(self, Self::Torn { .. } | Self::PutLate { .. })
    }

    /// For people.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Torn { writer, sequence } => {
                format!("the last segment of the writer {writer}, number {sequence}, was cut off while it was written")
            }
            Self::Hole { writer, first, last } => {
                format!("segments {first} to {last} of the writer {writer} are missing")
            }
            Self::Damaged { key, why } => format!("{key} can't be used: {why}"),
            Self::TwoWriters { writer, sequence } => {
                format!("segment {sequence} of the writer {writer} does not continue its chain: two wrote as one")
            }
            Self::ClockBack { writer, sequence, by } => {
                format!("the clock of the writer {writer} went back {} s before segment {sequence}", by.num_seconds())
            }
            Self::ClockAhead { writer, sequence, by } => {
                format!("segment {sequence} of the writer {writer} lies {} s in the future", by.num_seconds())
            }
            Self::PutLate { writer, by } => {
                format!("segments of the writer {writer} were put {} s after it says it closed them", by.num_seconds())
            }
            Self::AnotherSystem { key, system } => format!("{key} belongs to another system, {system}"),
            Self::NewerFormat { key, format } => format!("{key} has format {format}, which is newer than this program"),
            Self::Stray { key } => format!("{key} does not belong into a ledger"),
            Self::Dropped { kept_from } => format!("what was recorded before {kept_from} was dropped"),
        }
    }
}

/// The findings of one reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    list: Vec<Finding>,
    more: u64,
}

impl Findings {
    /// Further ones are only counted: a broken ledger may have millions.
    pub const LISTED: usize = 1_000;

    pub(crate) fn add(&mut self, finding: Finding) {
        if self.list.len() < Self::LISTED {
            self.list.push(finding);
        } else {
            self.more += 1;
        }
    }

    #[must_use]
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// How many there were beyond those listed.
    #[must_use]
    pub fn unlisted(&self) -> u64 {
        self.more
    }

    /// Those that are not normal: a restore must not go on without a word about them.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter().filter(|finding| !finding.normal())
    }
}
