//! The report of a drill: what was asked, what was seen, and the verdict.
//!
//! [`Report::conclude`] takes the [`Material`] that the stages gathered and computes the rest: the ten rows in their
//! order (one that is missing becomes a row that could not be verified), the verdict, the objectives met or not, and a
//! follow-up for every row that did not pass. [`json`], [`markdown`] and [`html`] write it out.
//!
//! Not here: making the material (the stages and checks of this crate), storing evidence (`attest`), taking secrets
//! out (`redact`; the drill scans the written report as one of its checks).

mod check;
mod code;
pub mod html;
pub mod json;
pub mod markdown;
mod model;
#[cfg(test)]
pub(crate) mod sample;
mod timeline;
mod wording;

pub use check::{Check, CheckId, FINDINGS_TOLD, Finding, OpenCheck};
pub use code::{Code, Comparison, UnknownComparison};
pub use model::{
    Backup, Environment, FollowUp, FollowUpStatus, Measured, Metadata, MetadataRow, ObjectCount, Objectives, Outcome,
    Severity, Span, Stage, TableCount, Verdict, plain,
};

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use attest::Head;
use clock::Timestamp;
use ids::DrillId;
use serde::{Deserialize, Serialize};

use model::seconds;

/// The format of `report.json`. Goes up when a reader of the old one would misread the new one.
pub const SCHEMA_VERSION: u32 = 1;

/// The rule at the end of every report, in the words of the project's template.
pub const LAUNCH_RULE: &str =
    "Do not merge a managed production launch if a high-severity restore finding is still open.";

/// A whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub(in crate::report) schema_version: u32,
    pub(in crate::report) verdict: Verdict,
    pub(in crate::report) drill_id: DrillId,
    pub(in crate::report) started_at: Timestamp,
    pub(in crate::report) finished_at: Timestamp,
    pub(in crate::report) build: String,
    pub(in crate::report) metadata: Metadata,
    pub(in crate::report) environment: Environment,
    /// Absent when the drill did not get as far as a backup.
    pub(in crate::report) backup: Option<Backup>,
    pub(in crate::report) objectives: Objectives,
    pub(in crate::report) measured: Measured,
    pub(in crate::report) checks: Vec<Check>,
    pub(in crate::report) stages: Vec<Stage>,
    pub(in crate::report) counts: Vec<TableCount>,
    pub(in crate::report) object_counts: Vec<ObjectCount>,
    pub(in crate::report) notes: Vec<String>,
    pub(in crate::report) follow_ups: Vec<FollowUp>,
    /// Where the journal stood when the report was concluded.
    pub(in crate::report) journal: Option<Head>,
}

/// What the stages of a drill gathered.
#[derive(Debug, Clone)]
pub struct Material {
    pub drill_id: DrillId,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    /// Version and commit of the program.
    pub build: String,
    pub metadata: Metadata,
    pub environment: Environment,
    pub backup: Option<Backup>,
    pub objectives: Objectives,
    /// From the beginning of the restore until the system serves again.
    pub rto: Option<Span>,
    /// From the backup's snapshot to the disaster: what was written in between is lost.
    pub rpo: Option<Span>,
    /// In any order; missing ones become rows that could not be verified.
    pub checks: Vec<Check>,
    pub stages: Vec<Stage>,
    pub counts: Vec<TableCount>,
    pub object_counts: Vec<ObjectCount>,
    pub notes: Vec<String>,
    /// Besides those that follow from the checks.
    pub follow_ups: Vec<FollowUp>,
    pub journal: Option<Head>,
}

impl Report {
    /// Judges the drill.
    #[must_use]
    pub fn conclude(material: Material) -> Self {
        let measured = measure(&material);
        let checks = ten_rows(material.checks, material.finished_at);
        let mut follow_ups = follow_ups(&checks, &material.metadata.report_owner);
        follow_ups.extend(material.follow_ups);
        Self {
            schema_version: SCHEMA_VERSION,
            verdict: overall(&checks),
            drill_id: material.drill_id,
            started_at: material.started_at,
            finished_at: material.finished_at,
            build: material.build,
            metadata: material.metadata,
            environment: material.environment,
            backup: material.backup,
            objectives: material.objectives,
            measured,
            checks,
            stages: material.stages,
            counts: material.counts,
            object_counts: material.object_counts,
            notes: material.notes.iter().map(|note| plain(note)).collect(),
            follow_ups,
            journal: material.journal,
        }
    }

    /// Writes `report.html`, `report.md` and, last, `report.json` into a folder, each whole or not at all.
    ///
    /// # Errors
    /// When a file can't be written. One that stood there before stays as it was.
    pub fn write(&self, out: &Path) -> std::io::Result<()> {
        let files = [
            ("report.html", html::render(self)),
            ("report.md", markdown::render(self)),
            ("report.json", json::render(self)),
        ];
        files.into_iter().try_for_each(|(name, text)| write_whole(&out.join(name), text.as_bytes()))
    }

    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The ten rows, in the order of the template.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    #[must_use]
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    #[must_use]
    pub fn objectives(&self) -> &Objectives {
        &self.objectives
    }

    #[must_use]
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The verdict in one sentence.
    #[must_use]
    pub fn headline(&self) -> String {
        let with = |verdict| self.checks.iter().filter(|check| check.verdict == verdict).count();
        let (failed, unknown) = (with(Verdict::Failed), with(Verdict::CouldNotVerify));
        match (failed, unknown) {
            (0, 0) => "All ten checks passed.".to_owned(),
            (0, 10) => "None of the ten checks could be verified.".to_owned(),
            (0, _) => format!("Of ten checks {unknown} could not be verified, {} passed.", with(Verdict::Passed)),
            (_, 0) => format!("Of ten checks {failed} failed, {} passed.", with(Verdict::Passed)),
            _ => {
                let passed = with(Verdict::Passed);
                format!("Of ten checks {failed} failed, {unknown} could not be verified, {passed} passed.")
            }
        }
    }
}

/// Writes beside the file's place, makes it durable, and moves it there.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_added_extension("partial");
    let mut file = File::create(&partial)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // The error that matters is the one above.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

/// The verdict of ten rows. Fewer than ten, or one twice, is not a drill.
fn overall(checks: &[Check]) -> Verdict {
    let any = |verdict| checks.iter().any(|check| check.verdict == verdict);
    if any(Verdict::Failed) {
        return Verdict::Failed;
    }
    let complete = checks.iter().map(|check| check.id).eq(CheckId::ALL);
    if any(Verdict::CouldNotVerify) || !complete { Verdict::CouldNotVerify } else { Verdict::Passed }
}

/// The rows in their order. Of a check that was judged twice the worse one stays.
fn ten_rows(checks: Vec<Check>, at: Timestamp) -> Vec<Check> {
    let mut judged = checks;
    judged.sort_by_key(|check| match check.verdict {
        Verdict::Failed => 0,
        Verdict::CouldNotVerify => 1,
        Verdict::Passed => 2,
    });
    let row = |id| judged.iter().find(|check| check.id == id).cloned();
    let missing = "the drill ended before this check was begun";
    CheckId::ALL.into_iter().map(|id| row(id).unwrap_or_else(|| Check::not_run(id, at, missing))).collect()
}

fn measure(material: &Material) -> Measured {
    let rto_s = material.rto.map(Span::seconds);
    let rpo_s = material.rpo.map(Span::seconds);
    let within = |span: Span, stage: &Stage| stage.started_at >= span.from && stage.started_at < span.to;
    let quiet = |span| material.stages.iter().filter(move |stage| stage.waiting && within(span, stage));
    Measured {
        rto_s,
        rto_met: rto_s.is_some_and(|measured| measured <= material.objectives.rto_s),
        rto_quiet_s: material.rto.map_or(0.0, |span| seconds(quiet(span).map(|stage| stage.duration_ms).sum())),
        rpo_s,
        rpo_met: rpo_s.is_some_and(|measured| measured <= material.objectives.rpo_s),
        rto_span: material.rto,
        rpo_span: material.rpo,
    }
}

/// One follow-up for each row that did not pass: high when something is wrong, medium when nobody knows. The day is left
/// to the owner; a date that no person chose means nothing.
fn follow_ups(checks: &[Check], owner: &str) -> Vec<FollowUp> {
    let follow_up = |check: &Check, severity| FollowUp {
        finding: format!("{}: {}", check.title, check.summary),
        owner: owner.to_owned(),
        severity,
        due_date: None,
        status: FollowUpStatus::Open,
    };
    let of = |check: &Check| match check.verdict {
        Verdict::Passed => None,
        Verdict::Failed => Some(follow_up(check, Severity::High)),
        Verdict::CouldNotVerify => Some(follow_up(check, Severity::Medium)),
    };
    checks.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_passes_only_when_all_ten_rows_passed() {
        assert_eq!(sample::passing().verdict, Verdict::Passed);
        let mut checks = sample::passing().checks;
        checks.pop();
        assert_eq!(overall(&checks), Verdict::CouldNotVerify, "nine rows are not a drill");
        checks.push(checks[0].clone());
        assert_eq!(overall(&checks), Verdict::CouldNotVerify, "one row twice is not ten");
    }

    #[test]
    fn a_drill_that_checked_nothing_does_not_pass() {
        let report = sample::ended_early();
        assert_eq!((report.verdict, report.verdict.exit_code()), (Verdict::CouldNotVerify, 2));
        assert!(report.checks.iter().map(Check::id).eq(CheckId::ALL));
    }

    #[test]
    fn a_report_is_three_files_and_leaves_nothing_else() {
        let out = tempfile::tempdir().unwrap();
        sample::passing().write(out.path()).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["report.html", "report.json", "report.md"]);
        let json = std::fs::read_to_string(out.path().join("report.json")).unwrap();
        assert_eq!(json::read(&json).unwrap(), sample::passing());
    }

    #[test]
    fn one_failed_row_weighs_more_than_any_doubt() {
        let report = sample::failing();
        assert_eq!((report.verdict, report.verdict.exit_code()), (Verdict::Failed, 1));
    }

    #[test]
    fn rows_come_in_their_order_and_the_worse_of_two_stays() {
        let mut checks = sample::passing().checks;
        checks.reverse();
        checks.push(sample::failing().checks.remove(0));
        let rows = ten_rows(checks, sample::passing().finished_at);
        assert!(rows.iter().map(Check::id).eq(CheckId::ALL));
        assert_eq!(rows[0].verdict, Verdict::Failed);
    }

    #[test]
    fn every_row_that_did_not_pass_has_a_follow_up() {
        let severities: Vec<Severity> =
            sample::failing().follow_ups.iter().map(|follow_up| follow_up.severity).collect();
        assert_eq!(severities, [Severity::High, Severity::High, Severity::Medium, Severity::High, Severity::High]);
        assert!(sample::passing().follow_ups.is_empty());
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let measured = sample::ended_early().measured;
        assert_eq!((measured.rto_s, measured.rto_met, measured.rpo_met), (None, false, false));
    }

    #[test]
    fn quiet_windows_are_told_apart_within_the_recovery_time() {
        let measured = sample::passing().measured;
        assert_eq!(
            (measured.rto_s, measured.rto_quiet_s),
            (Some(10.5), 2.0),
            "the window after the recovery is not in it"
        );
    }
}
