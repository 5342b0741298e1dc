//! A fault as data: what is broken, where, and what the judge has to say of it.
//!
//! Not here: the faults (`catalogue`).

use std::collections::BTreeSet;
use std::fmt;

use super::act::Act;
use super::harm::Harm;
use super::live::scenes::Scene;
use crate::report::{CheckId, Code, Comparison, Outcome, Report, Verdict};

/// A world that is broken in one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) id: &'static str,
    /// What is broken, and how that is made.
    pub(crate) what: &'static str,
    pub(crate) steps: &'static [Step],
    /// Exactly what the judge says.
    pub(crate) expected: &'static [Told],
    /// What it may say besides, because it follows in some runs only.
    pub(crate) tolerated: &'static [Told],
}

/// A thing that is done, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// To the source, before its backup: whatever is recorded agrees with it.
    Source(Act),
    /// The source is backed up once more, before what follows.
    EarlierBackup,
    /// Something happens in the source, with its roles, before its backup.
    Scene(Scene),
    /// The source's key is replaced by a new one, which the target gets with all the older ones.
    RotateKey,
    /// The source begins another generation, as after a restore.
    NextGeneration,
    /// The source is backed up while people are at work in it.
    BusyBackup,
    /// The source's server goes on after the disaster.
    Survivor,
    /// To the backup.
    Backup(Harm),
    /// To the target, after a stage.
    After(&'static str, Act),
    /// A shell script stands between the drill and the program: these clauses of a `case` on its arguments. `$REAL` is
    /// the program, `$CANARY` a planted email address.
    Wrapper(&'static str),
    /// The drill's report owner is called like a canary.
    CanaryAsOwner,
    /// Another drill's scanner: it finds nothing.
    DeafScanner,
}

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    Source,
    Backup,
    Target,
    Program,
    Judge,
}

impl Where {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Backup => "backup",
            Self::Target => "target",
            Self::Program => "program",
            Self::Judge => "judge",
        }
    }
}

/// One thing that a judge says of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    /// A row failed, with this code.
    Found(Comparison),
    /// A row could not be verified.
    Unknown(CheckId),
    /// A stage did not end well, though all rows were judged.
    Stage(&'static str),
}

/// `found(CheckId::PostgresRestore, Code::TableCount)`
pub(crate) const fn found(row: CheckId, code: Code) -> Told {
    Told::Found(Comparison { row, code })
}

pub(crate) const fn unknown(row: CheckId) -> Told {
    Told::Unknown(row)
}

impl Fault {
    pub(crate) const fn new(
        id: &'static str,
        what: &'static str,
        steps: &'static [Step],
        expected: &'static [Told],
    ) -> Self {
        Self { id, what, steps, expected, tolerated: &[] }
    }

    pub(crate) const fn tolerating(self, tolerated: &'static [Told]) -> Self {
        Self { tolerated, ..self }
    }

    /// Where its first step is made.
    pub(crate) fn place(&self) -> Where {
        match self.steps.first() {
            Some(
                Step::Source(_)
                | Step::EarlierBackup
                | Step::Scene(_)
                | Step::RotateKey
                | Step::NextGeneration
                | Step::BusyBackup
                | Step::Survivor,
            ) => {
                let harmed = self.steps.iter().any(|step| matches!(step, Step::Backup(_)));
                if harmed { Where::Backup } else { Where::Source }
            }
            Some(Step::Backup(_)) => Where::Backup,
            Some(Step::After(..)) => Where::Target,
            Some(Step::Wrapper(_)) => Where::Program,
            Some(Step::CanaryAsOwner | Step::DeafScanner) | None => Where::Judge,
        }
    }

    /// Whether the judge said what it has to, and nothing else.
    pub(crate) fn caught_by(&self, told: &BTreeSet<Told>) -> bool {
        let known = |one: &Told| self.expected.contains(one) || self.tolerated.contains(one);
        self.expected.iter().all(|one| told.contains(one)) && told.iter().all(known)
    }

    /// Whether the comparison is among those that have to notice it.
    pub(crate) fn needs(&self, comparison: Comparison) -> bool {
        self.expected.contains(&Told::Found(comparison))
    }
}

/// What a report says, besides that rows passed.
pub(crate) fn told(report: &Report) -> BTreeSet<Told> {
    let mut told = BTreeSet::new();
    for check in report.checks() {
        match check.verdict() {
            Verdict::Passed => {}
            Verdict::CouldNotVerify => {
                told.insert(Told::Unknown(check.id()));
            }
            Verdict::Failed => {
                let codes = check.findings().iter().filter_map(|finding| code(&finding.code));
                told.extend(codes.map(|code| found(check.id(), code)));
            }
        }
    }
    let judged = report.checks().iter().all(|check| check.verdict() != Verdict::CouldNotVerify);
    if judged && let Some(broken) = report.stages().iter().find(|stage| stage.outcome == Outcome::Failed) {
        told.insert(Told::Stage(super::STAGES.iter().find(|id| **id == broken.id).copied().unwrap_or("other")));
    }
    told
}

fn code(text: &str) -> Option<Code> {
    Code::ALL.iter().find(|code| code.as_str() == text).copied()
}

/// `postgres-restore:table_count`, `redaction:could_not_verify`, `stage:tear-down`
impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(comparison) => comparison.fmt(out),
            Self::Unknown(row) => write!(out, "{}:could_not_verify", row.as_str()),
            Self::Stage(stage) => write!(out, "stage:{stage}"),
        }
    }
}
