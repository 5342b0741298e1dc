//! The report of a drill: what was asked, what was seen, and the verdict.
//!
//! [`Report::conclude`] takes the [`Material`] that the stages gathered and computes the rest: the ten rows in their
//! order (one that is missing becomes a row that could not be verified), the verdict, the objectives met or not, and a
//! follow-up for every row that did not pass. [`json`], [`markdown`] and [`html`] write it out.
//!
//! Not here: making the material (the stages and checks of this crate), storing evidence (`attest`), taking secrets
//! out (`redact`; the drill scans the written report as one of its checks).

mod attested;
mod check;
mod code;
pub mod export;
mod follow;
mod history;
pub mod html;
pub mod json;
pub mod markdown;
mod model;
mod remembered;
#[cfg(test)]
pub(crate) mod sample;
mod timeline;
mod trend;
mod wording;

pub use check::{Check, CheckId, FINDINGS_TOLD, Finding, OpenCheck};
pub use code::{Code, Comparison, UnknownComparison};
pub(crate) use follow::found;
pub use history::Past;
pub use model::{
    Backup, Environment, FollowUp, FollowUpStatus, Measured, Metadata, MetadataRow, ObjectCount, Objectives, Outcome,
    Severity, Span, Stage, TableCount, Verdict, plain,
};

pub use remembered::{DeliveriesSeen, Known, LedgerFinding, LedgerUse, Line, Lost, Remembered, Seen, SlotsSeen};

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use attest::Head;
use clock::Timestamp;
use ids::DrillId;
use serde::{Deserialize, Serialize};

use crate::said::Sentence;
use model::seconds;

/// The format of `report.json`. Goes up when a reader of the old one would misread the new one.
pub const SCHEMA_VERSION: u32 = 2;

/// What a form of the report ends with until it is published.
pub(crate) const PARTIAL: &str = "partial";

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
    pub(in crate::report) build_sha256: String,
    /// The id of the key that the bundle is signed with. Absent: it is not signed, and nobody can check who wrote it.
    pub(in crate::report) signed_by: Option<String>,
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
    /// Absent: the drill ended before the restore had told, or the report is older than this part of it.
    #[serde(default)]
    pub(in crate::report) remembered: Option<Remembered>,
    pub(in crate::report) notes: Vec<Sentence>,
    pub(in crate::report) follow_ups: Vec<FollowUp>,
    /// Earlier drills, the oldest first. Not this one.
    pub(in crate::report) history: Vec<Past>,
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
    /// Of the program's file.
    pub build_sha256: String,
    pub signed_by: Option<String>,
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
    pub remembered: Option<Remembered>,
    pub notes: Vec<Sentence>,
    /// Besides those that follow from the checks.
    pub follow_ups: Vec<FollowUp>,
    pub history: Vec<Past>,
    pub journal: Option<Head>,
}

impl Report {
    /// Judges the drill.
    #[must_use]
    pub fn conclude(material: Material) -> Self {
        let measured = measure(&material);
        let checks = ten_rows(material.checks, material.finished_at);
        let mut follow_ups = follow::follow_ups(&checks, &material.metadata.report_owner);
        follow_ups.extend(material.follow_ups);
        Self {
            schema_version: SCHEMA_VERSION,
            verdict: overall(&checks, &material.stages),
            drill_id: material.drill_id,
            started_at: material.started_at,
            finished_at: material.finished_at,
            build: material.build,
            build_sha256: material.build_sha256,
            signed_by: material.signed_by,
            metadata: material.metadata,
            environment: material.environment,
            backup: material.backup,
            objectives: material.objectives,
            measured,
            checks,
            stages: material.stages,
            counts: material.counts,
            object_counts: material.object_counts,
            remembered: material.remembered,
            notes: material.notes,
            follow_ups,
            history: material.history,
            journal: material.journal,
        }
    }

    /// Writes `report.html`, `report.md` and `report.json` into a folder, durable but under names that say they are
    /// not finished. [`Written::publish`] gives them their names.
    ///
    /// # Errors
    /// When a file can't be written. One that stood there before stays as it was.
    pub fn write(&self, out: &Path) -> std::io::Result<Written> {
        let files = [
            ("report.html", html::render(self)),
            ("report.md", markdown::render(self)),
            ("report.json", json::render(self)),
        ];
        let mut written = Written { out: out.to_owned(), files: Vec::new() };
        for (name, text) in files {
            written.files.push((name, attest::sha256_hex(text.as_bytes())));
            write_durably(&written.partial(name), text.as_bytes())?;
        }
        Ok(written)
    }

    #[must_use]
    pub fn follow_ups(&self) -> &[FollowUp] {
        &self.follow_ups
    }

    /// Replaces the Follow-Up table by what the findings file knows.
    pub(crate) fn set_follow_ups(&mut self, follow_ups: Vec<FollowUp>) {
        self.follow_ups = follow_ups;
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
    pub fn drill_id(&self) -> DrillId {
        self.drill_id
    }

    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    #[must_use]
    pub fn finished_at(&self) -> Timestamp {
        self.finished_at
    }

    /// Whom findings belong to until somebody else is named.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.metadata.report_owner
    }

    /// The id of the key that the bundle is signed with.
    #[must_use]
    pub fn signed_by(&self) -> Option<&str> {
        self.signed_by.as_deref()
    }

    /// The same drill at another time.
    #[cfg(test)]
    pub(crate) fn shift(&mut self, by: chrono::TimeDelta) {
        self.drill_id = uuid::Uuid::from_u128(u128::from(by.num_seconds().unsigned_abs())).into();
        self.started_at += by;
        self.finished_at += by;
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
        let broken = self.stages.iter().find(|stage| stage.outcome != Outcome::Done);
        match (failed, unknown) {
            (0, 0) => broken.map_or_else(
                || "All ten checks passed.".to_owned(),
                |stage| format!("All ten checks passed, but the stage \"{}\" did not end well.", stage.title),
            ),
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

/// The forms of a report, written but not yet published. A drill that dies now leaves no report.
#[derive(Debug)]
pub struct Written {
    out: PathBuf,
    /// Name and SHA-256.
    files: Vec<(&'static str, String)>,
}

impl Written {
    /// Name and SHA-256 of each form.
    #[must_use]
    pub fn digests(&self) -> &[(&'static str, String)] {
        &self.files
    }

    /// Gives the forms their names, `report.json` last.
    ///
    /// # Errors
    /// When a file can't be renamed.
    pub fn publish(mut self) -> std::io::Result<()> {
        for (name, _) in std::mem::take(&mut self.files) {
            std::fs::rename(self.partial(name), self.out.join(name))?;
        }
        File::open(&self.out)?.sync_all()
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.out.join(name).with_added_extension(PARTIAL)
    }
}

/// What was not published is no report.
impl Drop for Written {
    fn drop(&mut self) {
        for (name, _) in &self.files {
            let _ = std::fs::remove_file(self.partial(name));
        }
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The verdict of ten rows and of the stages that led to them. Fewer than ten, or one twice, is not a drill; and a drill
/// that could not do something of its own, such as leaving nothing behind, did not verify all that it says.
fn overall(checks: &[Check], stages: &[Stage]) -> Verdict {
    let any = |verdict| checks.iter().any(|check| check.verdict == verdict);
    if any(Verdict::Failed) {
        return Verdict::Failed;
    }
    let complete = checks.iter().map(|check| check.id).eq(CheckId::ALL);
    let carried_out = stages.iter().all(|stage| stage.outcome == Outcome::Done);
    if any(Verdict::CouldNotVerify) || !complete || !carried_out { Verdict::CouldNotVerify } else { Verdict::Passed }
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
    CheckId::ALL.into_iter().map(|id| row(id).unwrap_or_else(|| Check::not_run(id, at, missing.into()))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_passes_only_when_all_ten_rows_passed() {
        assert_eq!(sample::passing().verdict, Verdict::Passed);
        let mut checks = sample::passing().checks;
        checks.pop();
        assert_eq!(overall(&checks, &[]), Verdict::CouldNotVerify, "nine rows are not a drill");
        checks.push(checks[0].clone());
        assert_eq!(overall(&checks, &[]), Verdict::CouldNotVerify, "one row twice is not ten");
    }

    #[test]
    fn a_drill_that_left_something_behind_does_not_pass() {
        let report = sample::passing();
        let mut stages = report.stages.clone();
        stages.last_mut().unwrap().outcome = Outcome::Failed;
        assert_eq!(overall(&report.checks, &stages), Verdict::CouldNotVerify);
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
        sample::passing().write(out.path()).unwrap().publish().unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["report.html", "report.json", "report.md"]);
        let json = std::fs::read_to_string(out.path().join("report.json")).unwrap();
        assert_eq!(json::read(&json).unwrap(), sample::passing());
    }

    #[test]
    fn a_report_that_is_not_published_leaves_nothing() {
        let out = tempfile::tempdir().unwrap();
        drop(sample::passing().write(out.path()).unwrap());
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
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
        let (high, medium) = (Severity::High, Severity::Medium);
        assert_eq!(severities, [high, high, high, medium, high, high], "row 1 has findings of two kinds");
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
