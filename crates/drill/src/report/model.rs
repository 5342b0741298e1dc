//! The parts of a report, as they stand in `report.json` (`report.schema.json` is their schema).
//!
//! Counts, names, hashes and sentences only: no rows and no secrets.
//!
//! Not here: checks (`check`), the whole and its verdict (`report`).

use chrono::{NaiveDate, SubsecRound as _};
use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::said::{Name, Sentence};

/// How long a sentence may be, in characters. Longer ones are cut, with a mark.
const SENTENCE_CHARS: usize = 600;

/// What a drill, or one check, came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    CouldNotVerify,
}

impl Verdict {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::CouldNotVerify => "could not verify",
        }
    }

    /// The word at the top of a page.
    #[must_use]
    pub fn banner(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::Failed => "Failed",
            Self::CouldNotVerify => "Could not verify",
        }
    }

    /// The exit code of `cowork drill run`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::CouldNotVerify => 2,
        }
    }
}

/// The table "Drill Metadata". The defaults are the words of the project's template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<MetadataRow>", try_from = "Vec<MetadataRow>")]
pub struct Metadata {
    pub drill_type: String,
    pub scope: String,
    pub restore_mode: String,
    pub report_owner: String,
    pub secret_handling: String,
}

/// One row of "Drill Metadata".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataRow {
    pub field: String,
    pub value: String,
}

const METADATA_FIELDS: [&str; 5] = ["Drill type", "Scope", "Restore mode", "Report owner", "Secret handling"];

impl Default for Metadata {
    fn default() -> Self {
        Self {
            drill_type: "Non-production provider-neutral restore rehearsal".into(),
            scope: "Postgres control plane, object-store artifacts/checkpoints, Gateway delivery cursors".into(),
            restore_mode: "Web-first, workers/scheduler/Gateway held at zero until validation".into(),
            report_owner: "Open Cowork operator".into(),
            secret_handling: "Secret names and versions only; no plaintext".into(),
        }
    }
}

impl Metadata {
    /// Field and value, in the order of the template.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, &str); 5] {
        let values = [&self.drill_type, &self.scope, &self.restore_mode, &self.report_owner, &self.secret_handling];
        std::array::from_fn(|row| (METADATA_FIELDS[row], values[row].as_str()))
    }
}

impl From<Metadata> for Vec<MetadataRow> {
    fn from(metadata: Metadata) -> Self {
        let row = |(field, value): (&str, &str)| MetadataRow { field: field.into(), value: value.into() };
        metadata.rows().into_iter().map(row).collect()
    }
}

impl TryFrom<Vec<MetadataRow>> for Metadata {
    type Error = &'static str;

    fn try_from(rows: Vec<MetadataRow>) -> Result<Self, Self::Error> {
        if !rows.iter().map(|row| row.field.as_str()).eq(METADATA_FIELDS) {
            return Err("the metadata rows are not the five of the template, in its order");
        }
        let rows: [MetadataRow; 5] = rows.try_into().map_err(|_| "the metadata has not five rows")?;
        let [drill_type, scope, restore_mode, report_owner, secret_handling] = rows.map(|row| row.value);
        Ok(Self { drill_type, scope, restore_mode, report_owner, secret_handling })
    }
}

/// Where the drill ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    pub postgres_version: String,
    pub os: Option<String>,
    pub cores: u32,
}

/// The backup that was restored, as its manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    pub backup_id: String,
    /// The instant of the snapshot: what came later is not in the backup.
    pub taken_at: Timestamp,
    pub tables: u64,
    pub rows: u64,
    /// Of the backup's files, without the blobs.
    pub bytes: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
}

/// What the operator wants of a recovery, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objectives {
    /// Recovery time: from the beginning of the restore until the system serves again.
    pub rto_s: f64,
    /// Recovery point: how much of the time before the disaster may be lost.
    pub rpo_s: f64,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Span {
    #[must_use]
    pub fn millis(self) -> u64 {
        millis_between(self.from, self.to)
    }

    #[must_use]
    pub fn seconds(self) -> f64 {
        seconds(self.millis())
    }
}

/// What came out, against the objectives. What was not measured is absent, and not met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub rto_s: Option<f64>,
    pub rto_met: bool,
    /// How much of `rto_s` was spent in quiet windows, in which the drill waits on purpose to see that nothing moves.
    pub rto_quiet_s: f64,
    pub rpo_s: Option<f64>,
    pub rpo_met: bool,
    pub rto_span: Option<Span>,
    pub rpo_span: Option<Span>,
}

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// It ran, and it or its proof did not hold.
    Failed,
    /// It was not begun, because an earlier one failed.
    Skipped,
}

impl Outcome {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One stage of the drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    pub id: String,
    pub title: String,
    pub started_at: Timestamp,
    pub duration_ms: u64,
    pub outcome: Outcome,
    /// What stood between this stage and the next, in one sentence.
    pub proof: Option<Sentence>,
    /// A quiet window: the drill waits on purpose to see that nothing moves.
    pub waiting: bool,
}

impl Stage {
    /// The stretch of time that the stage took.
    #[must_use]
    pub fn span(&self) -> Span {
        let took = chrono::TimeDelta::milliseconds(i64::try_from(self.duration_ms).unwrap_or(i64::MAX / 1_000_000));
        Span { from: self.started_at, to: self.started_at + took }
    }
}

/// A table before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableCount {
    pub table: Name,
    /// The words of the template's first row: `sessions`, `billing/usage`.
    pub group: Name,
    pub backup_rows: u64,
    /// Absent when the table could not be read.
    pub restored_rows: Option<u64>,
    /// Absent when the content was not compared.
    pub digest_equal: Option<bool>,
    /// Why the content was not compared.
    pub note: Option<Sentence>,
}

impl TableCount {
    /// Whether the table is what the backup says, as far as it was compared.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.note.is_none() && (self.restored_rows != Some(self.backup_rows) || self.digest_equal == Some(false))
    }
}

/// The objects below a prefix before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectCount {
    pub prefix: Name,
    pub backup_objects: u64,
    pub backup_bytes: u64,
    /// Absent when they could not be counted.
    pub restored_objects: Option<u64>,
    pub restored_bytes: Option<u64>,
}

impl ObjectCount {
    #[must_use]
    pub fn differs(&self) -> bool {
        (self.restored_objects, self.restored_bytes) != (Some(self.backup_objects), Some(self.backup_bytes))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    High,
    Medium,
    Low,
}

impl Severity {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::High => "High",
            Self::Medium => "Medium",
            Self::Low => "Low",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowUpStatus {
    Open,
    /// Somebody has taken the risk upon themselves, until the due date.
    Deferred,
    Closed,
}

impl FollowUpStatus {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Deferred => "Deferred",
            Self::Closed => "Closed",
        }
    }
}

/// Something that a person has to see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowUp {
    /// The same in every drill that finds it, for `cowork findings`. Absent for what is only told.
    pub id: Option<String>,
    pub finding: String,
    pub owner: String,
    pub severity: Severity,
    /// A day, `YYYY-MM-DD`. Absent until the owner sets it.
    pub due_date: Option<NaiveDate>,
    pub status: FollowUpStatus,
}

/// Text as it may stand in a report: one line, no control characters, of bounded length. Escaping for Markdown, HTML or
/// a terminal comes on top, where it is written.
#[must_use]
pub fn plain(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if invisible(c) { ' ' } else { c }).collect();
    let words = one_line.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(SENTENCE_CHARS) {
        Some((end, _)) => format!("{} [cut]", &words[..end]),
        None => words,
    }
}

/// Control characters, and those that reorder or hide text around them.
fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Milliseconds from one instant to another; 0 if the clock was stepped back in between.
pub(in crate::report) fn millis_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from((to - from).num_milliseconds()).unwrap_or(0)
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
pub(in crate::report) fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

/// A count for people: `12,345`.
pub(in crate::report) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An instant for people, in UTC, to the second.
pub(in crate::report) fn instant(at: Timestamp) -> String {
    at.trunc_subsecs(0).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_report_is_one_bounded_line_without_tricks() {
        assert_eq!(plain("two\nlines\tand \u{1b}[31mred\u{202e}"), "two lines and [31mred");
        assert_eq!(plain(&"é".repeat(700)).chars().count(), SENTENCE_CHARS + " [cut]".len());
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn metadata_reads_back_and_keeps_the_order_of_the_template() {
        let metadata = Metadata { report_owner: "the on-call person".into(), ..Metadata::default() };
        let json = serde_json::to_value(&metadata).unwrap();
        assert_eq!(json[0]["field"], "Drill type");
        assert_eq!(serde_json::from_value::<Metadata>(json).unwrap(), metadata);
        assert!(serde_json::from_str::<Metadata>("[]").is_err());
    }
}
