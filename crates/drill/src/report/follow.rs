//! What follows from a report: each kind of finding once, under an id that is the same in every drill.
//!
//! The id is made of the row, the code and the sentence without what differs from run to run: ids, numbers, hashes and
//! instants. So a hundred missing rows of one table are one thing to see to, and it is the same one tomorrow.
//!
//! Not here: who owns it and what became of it (`crate::findings`).

use attest::sha256_hex;

use super::{Check, FollowUp, FollowUpStatus, Severity, Verdict};

/// The code of a row that nobody could judge.
const COULD_NOT_VERIFY: &str = "could_not_verify";
/// The code for all rows that were never begun.
const ENDED_EARLY: &str = "ended_early";
/// In place of a row's id, for what concerns the whole drill.
const DRILL: &str = "drill";

/// One kind of finding of one drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: String,
    /// The row's id.
    pub(crate) check: String,
    pub(crate) code: String,
    /// The first of its kind.
    pub(crate) sentence: String,
    pub(crate) severity: Severity,
}

/// High when something is wrong, medium when nobody knows.
pub(crate) fn found(checks: &[Check]) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    let mut add = |found: Found| {
        if all.iter().all(|other| other.id != found.id) {
            all.push(found);
        }
    };
    for check in checks {
        let id = check.id.as_str();
        for finding in &check.findings {
            let sentence = format!("{}: {}", check.title, finding.sentence);
            add(Found::new(id, &finding.code, &finding.sentence, sentence, Severity::High));
        }
        if check.verdict == Verdict::CouldNotVerify && check.begun {
            let sentence = format!("{}: {}", check.title, check.summary);
            add(Found::new(id, COULD_NOT_VERIFY, "", sentence, Severity::Medium));
        }
    }
    if let Some(first) = checks.iter().find(|check| !check.begun) {
        let count = checks.iter().filter(|check| !check.begun).count();
        let sentence = format!("{count} rows were never begun: {}", first.summary);
        add(Found::new(DRILL, ENDED_EARLY, "", sentence, Severity::Medium));
    }
    all
}

impl Found {
    fn new(check: &str, code: &str, subject: &str, sentence: String, severity: Severity) -> Self {
        let name = format!("{check}\n{code}\n{}", lasting(subject));
        let id = format!("F-{}", &sha256_hex(name.as_bytes())[..10]);
        Self { id, check: check.to_owned(), code: code.to_owned(), sentence, severity }
    }
}

/// The Follow-Up table of one drill by itself. The day is left to the owner; a date that no person chose means nothing.
pub(super) fn follow_ups(checks: &[Check], owner: &str) -> Vec<FollowUp> {
    let follow_up = |found: Found| FollowUp {
        id: Some(found.id),
        finding: found.sentence,
        owner: owner.to_owned(),
        severity: found.severity,
        due_date: None,
        status: FollowUpStatus::Open,
    };
    found(checks).into_iter().map(follow_up).collect()
}

/// A sentence without what differs from run to run.
fn lasting(sentence: &str) -> String {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut text = String::new();
    let mut rest = sentence;
    while let Some(start) = rest.find(part_of_word) {
        text.push_str(&rest[..start]);
        let word = &rest[start..];
        let end = word.find(|c| !part_of_word(c)).unwrap_or(word.len());
        text.push_str(if differs(&word[..end]) { "#" } else { &word[..end] });
        rest = &word[end..];
    }
    text.push_str(rest);
    // Numbers with separators, and the parts of an instant, are one.
    while let Some(pair) = ["#,#", "#.#", "#:#"].into_iter().find(|pair| text.contains(pair)) {
        text = text.replace(pair, "#");
    }
    text
}

/// Whether a word is a number, an id, a hash or a part of an instant: it begins with a digit, or is long hex.
fn differs(word: &str) -> bool {
    let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    let long_hex = word.len() >= 8 && word.chars().all(hex) && word.contains(|c: char| c.is_ascii_digit());
    word.starts_with(|c: char| c.is_ascii_digit()) || long_hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{CheckId, OpenCheck, sample};

    #[test]
    fn an_id_does_not_change_with_counts_ids_and_instants() {
        let id =
            |sentence: &str| Found::new("postgres-restore", "table_count", sentence, String::new(), Severity::High).id;
        let first = id("table sessions has 12 rows, the backup had 14 at 2026-11-23T10:00:00.123Z (f00dcafe12)");
        assert_eq!(first, id("table sessions has 9,999 rows, the backup had 3 at 2027-01-01T00:00:00Z (0badcafe99)"));
        assert_ne!(first, id("table events has 12 rows, the backup had 14 at 2026-11-23T10:00:00.123Z (f00dcafe12)"));
        let session = |id: &str| format!("session {id} has lost its projection");
        assert_eq!(
            lasting(&session("a1980f6a-0000-7000-8000-000000000001")),
            lasting(&session("01980f6a-0000-7000-8000-000000000002"))
        );
        assert_eq!(lasting("worker-1 died after 3 s: dead, decade"), "worker-1 died after # s: dead, decade");
    }

    #[test]
    fn a_kind_of_finding_is_one_thing_to_see_to() {
        let report = sample::failing();
        let twice = report.follow_ups.iter().filter(|follow_up| follow_up.finding.contains("sent again")).count();
        assert_eq!(twice, 1, "73 deliveries were sent twice");
        let ids: Vec<_> = report.follow_ups.iter().map(|follow_up| follow_up.id.clone()).collect();
        let again: Vec<_> = sample::failing().follow_ups.into_iter().map(|follow_up| follow_up.id).collect();
        assert_eq!(ids, again);
    }

    #[test]
    fn rows_that_were_never_begun_are_one_thing_to_see_to() {
        let found = found(&sample::ended_early().checks);
        assert_eq!(found.iter().map(|found| found.code.as_str()).collect::<Vec<_>>(), [ENDED_EARLY]);
    }

    #[test]
    fn a_row_in_doubt_is_found_beside_what_is_wrong_elsewhere() {
        let at = sample::passing().finished_at;
        let mut check = OpenCheck::new(CheckId::Redaction, at);
        check.doubt("a log could not be read");
        let found = found(&[check.close(at, "")]);
        assert_eq!((found[0].code.as_str(), found[0].severity), (COULD_NOT_VERIFY, Severity::Medium));
    }
}
