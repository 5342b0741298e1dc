//! One row of the report: what it asks, how it is judged.
//!
//! A check is opened, told what was compared and what was wrong, and closed. Its verdict follows from that; nobody sets
//! it. Zero comparisons can't pass (ARCHITECTURE.md, invariant 7), and neither can a check with findings.
//!
//! Not here: doing the comparing.

use attest::Evidence;
use clock::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::{Verdict, millis_between};
use crate::said::{Sentence, say};

/// How many findings of one check are told. The count of all is kept.
pub const FINDINGS_TOLD: usize = 50;

/// The ten checks, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckId {
    PostgresRestore,
    ObjectStoreRestore,
    SecretReferences,
    WebOnlyBoot,
    SessionProjectionParity,
    ArtifactMetadata,
    WorkerRecovery,
    SchedulerRecovery,
    GatewayRecovery,
    Redaction,
}

/// What the report says about a check before it is carried out. The words are those of the project's template.
struct Question {
    id: &'static str,
    title: &'static str,
    evidence_to_collect: &'static str,
    pass_condition: &'static str,
}

impl CheckId {
    pub const ALL: [Self; 10] = [
        Self::PostgresRestore,
        Self::ObjectStoreRestore,
        Self::SecretReferences,
        Self::WebOnlyBoot,
        Self::SessionProjectionParity,
        Self::ArtifactMetadata,
        Self::WorkerRecovery,
        Self::SchedulerRecovery,
        Self::GatewayRecovery,
        Self::Redaction,
    ];

    /// The id as it stands in JSON, in folder names and in links.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.question().id
    }

    /// The column "Check".
    #[must_use]
    pub fn title(self) -> &'static str {
        self.question().title
    }

    /// The column "Evidence to collect".
    #[must_use]
    pub fn evidence_to_collect(self) -> &'static str {
        self.question().evidence_to_collect
    }

    /// The column "Pass condition".
    #[must_use]
    pub fn pass_condition(self) -> &'static str {
        self.question().pass_condition
    }

    fn question(self) -> &'static Question {
        &QUESTIONS[self as usize]
    }
}

/// In the order of [`CheckId::ALL`].
static QUESTIONS: [Question; 10] = [
    Question {
        id: "postgres-restore",
        title: "Postgres restore",
        evidence_to_collect: "pg_restore output and table-count summary",
        pass_condition: "sessions, events, projections, workflows, channel bindings, BYOK metadata, billing/usage, \
                         and audit rows are present",
    },
    Question {
        id: "object-store-restore",
        title: "Object-store restore",
        evidence_to_collect: "provider copy/sync output and prefix-count summary",
        pass_condition: "artifact metadata points at restored blobs; checkpoint manifests are present",
    },
    Question {
        id: "secret-references",
        title: "Secret/KMS references",
        evidence_to_collect: "secret manager version list",
        pass_condition: "cloud secret adapter, OIDC, cookie, gateway, and channel secret refs exist; no plaintext \
                         exported",
    },
    Question {
        id: "web-only-boot",
        title: "Web-only boot",
        evidence_to_collect: "GET /healthz, GET /api/workspace, GET /api/diagnostics, GET /api/metrics",
        pass_condition: "all operator reads succeed while workers are still scaled to zero",
    },
    Question {
        id: "session-projection-parity",
        title: "Session projection parity",
        evidence_to_collect: "restored session list and one session projection",
        pass_condition: "latest projection sequence is at least the restored event sequence for the sampled session",
    },
    Question {
        id: "artifact-metadata",
        title: "Artifact metadata",
        evidence_to_collect: "restored artifact list and one download/read check",
        pass_condition: "metadata and blob are both available",
    },
    Question {
        id: "worker-recovery",
        title: "Worker recovery",
        evidence_to_collect: "one worker enabled and one bounded smoke prompt",
        pass_condition: "worker claims a lease, executes command, writes projection, and saves checkpoint",
    },
    Question {
        id: "scheduler-recovery",
        title: "Scheduler recovery",
        evidence_to_collect: "scheduler enabled after worker check",
        pass_condition: "due workflow claim emits a run without double-firing",
    },
    Question {
        id: "gateway-recovery",
        title: "Gateway recovery",
        evidence_to_collect: "Gateway enabled",
        pass_condition: "last delivery cursor resumes without duplicate sends; retry/dead-letter controls work",
    },
    Question {
        id: "redaction",
        title: "Redaction",
        evidence_to_collect: "diagnostics/log sample",
        pass_condition: "no API token, BYOK plaintext, OAuth token, channel credential, signed URL query, email, or \
                         local host path appears",
    },
];

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// For programs, in snake case: `row_missing`.
    pub code: String,
    /// For people: what is wrong, with its name.
    pub sentence: Sentence,
}

/// A check that was judged. Fields are closed to the rest of the crate so that nothing but [`OpenCheck`] makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub(in crate::report) id: CheckId,
    pub(in crate::report) title: String,
    pub(in crate::report) evidence_to_collect: String,
    pub(in crate::report) pass_condition: String,
    pub(in crate::report) verdict: Verdict,
    /// What was seen, in one sentence; what is wrong, if something is.
    pub(in crate::report) summary: Sentence,
    /// `false`: the drill ended before.
    pub(in crate::report) begun: bool,
    /// How many things were compared.
    pub(in crate::report) comparisons: u64,
    /// The first [`FINDINGS_TOLD`].
    pub(in crate::report) findings: Vec<Finding>,
    pub(in crate::report) findings_total: u64,
    pub(in crate::report) evidence: Vec<Evidence>,
    pub(in crate::report) started_at: Timestamp,
    pub(in crate::report) duration_ms: u64,
}

impl Check {
    /// A check that was never begun.
    #[must_use]
    pub fn not_run(id: CheckId, at: Timestamp, reason: Sentence) -> Self {
        let mut check = OpenCheck::new(id, at);
        check.doubt(reason);
        Self { begun: false, ..check.close(at, "") }
    }

    /// Whether it was carried out at all.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.begun
    }

    #[must_use]
    pub fn id(&self) -> CheckId {
        self.id
    }

    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    #[must_use]
    pub fn summary(&self) -> &str {
        self.summary.as_str()
    }

    #[must_use]
    pub fn comparisons(&self) -> u64 {
        self.comparisons
    }

    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    #[must_use]
    pub fn findings_total(&self) -> u64 {
        self.findings_total
    }

    #[must_use]
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Findings that were counted and not told.
    #[must_use]
    pub fn findings_untold(&self) -> u64 {
        self.findings_total.saturating_sub(self.findings.len() as u64)
    }

    /// Whether the verdict is one that these numbers allow. A report read from a file is held to it.
    pub(in crate::report) fn consistent(&self) -> bool {
        let told = self.findings_total >= self.findings.len() as u64;
        told && match self.verdict {
            _ if !self.begun && self.verdict != Verdict::CouldNotVerify => false,
            Verdict::Passed => self.comparisons > 0 && self.findings_total == 0,
            Verdict::Failed => self.findings_total > 0,
            Verdict::CouldNotVerify => self.findings_total == 0,
        }
    }
}

/// A check that is being carried out.
#[derive(Debug)]
pub struct OpenCheck {
    id: CheckId,
    started_at: Timestamp,
    comparisons: u64,
    findings: Vec<Finding>,
    findings_total: u64,
    doubts: Vec<Sentence>,
    evidence: Vec<Evidence>,
}

impl OpenCheck {
    #[must_use]
    pub fn new(id: CheckId, started_at: Timestamp) -> Self {
        Self {
            id,
            started_at,
            comparisons: 0,
            findings: Vec::new(),
            findings_total: 0,
            doubts: Vec::new(),
            evidence: Vec::new(),
        }
    }

    #[must_use]
    pub fn id(&self) -> CheckId {
        self.id
    }

    /// Counts things that were compared with what was expected of them, whatever came out.
    pub fn compared(&mut self, things: u64) {
        self.comparisons += things;
    }

    /// Something is wrong. The check fails.
    pub fn find(&mut self, code: &'static str, sentence: impl Into<Sentence>) {
        self.findings_total += 1;
        let sentence = sentence.into();
        let finding = || Finding { code: code.to_owned(), sentence: sentence.clone() };
        if self.findings.len() < FINDINGS_TOLD {
            self.findings.push(finding());
        } else if let Some(place) = self.place_for(code) {
            self.findings[place] = finding();
        }
    }

    /// Where the first finding with this code goes when no more can be told: in the place of a code that is told again
    /// elsewhere. Each code is told at least once.
    fn place_for(&self, code: &str) -> Option<usize> {
        let told = |code: &str| self.findings.iter().filter(|finding| finding.code == code).count();
        (told(code) == 0).then(|| self.findings.iter().rposition(|finding| told(&finding.code) > 1)).flatten()
    }

    /// Something could not be looked at. The check can't pass any more; it fails if something is wrong besides.
    pub fn doubt(&mut self, reason: impl Into<Sentence>) {
        self.doubts.push(reason.into());
    }

    pub fn evidence(&mut self, evidence: Evidence) {
        self.evidence.push(evidence);
    }

    /// How many things are wrong so far.
    #[must_use]
    pub fn findings_total(&self) -> u64 {
        self.findings_total
    }

    /// Judges. `passed` is the summary of a check that passed; otherwise the first finding or doubt is the summary.
    #[must_use]
    pub fn close(self, at: Timestamp, passed: &'static str) -> Check {
        let (verdict, summary) = self.judge(passed);
        Check {
            id: self.id,
            title: self.id.title().to_owned(),
            evidence_to_collect: self.id.evidence_to_collect().to_owned(),
            pass_condition: self.id.pass_condition().to_owned(),
            verdict,
            summary,
            begun: true,
            comparisons: self.comparisons,
            findings: self.findings,
            findings_total: self.findings_total,
            evidence: self.evidence,
            started_at: self.started_at,
            duration_ms: millis_between(self.started_at, at),
        }
    }

    fn judge(&self, passed: &'static str) -> (Verdict, Sentence) {
        if let Some(first) = self.findings.first() {
            return (Verdict::Failed, and_others(&first.sentence, self.findings_total - 1, "finding"));
        }
        if let Some(first) = self.doubts.first() {
            return (Verdict::CouldNotVerify, and_others(first, self.doubts.len() as u64 - 1, "reason"));
        }
        if self.comparisons == 0 {
            return (
                Verdict::CouldNotVerify,
                "nothing was compared, and a check that compared nothing can't pass".into(),
            );
        }
        (Verdict::Passed, passed.into())
    }
}

/// A sentence, and how many more there are of its kind.
fn and_others(sentence: &Sentence, others: u64, kind: &'static str) -> Sentence {
    match others {
        0 => sentence.clone(),
        1 => say!("{} (and 1 more {})", sentence, kind),
        _ => say!("{} (and {} more {}s)", sentence, others, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};

    fn start() -> Timestamp {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn judged(tell: impl FnOnce(&mut OpenCheck)) -> Check {
        let mut check = OpenCheck::new(CheckId::Redaction, start());
        tell(&mut check);
        let check = check.close(start() + TimeDelta::milliseconds(1_500), "everything was as expected");
        assert!(check.consistent(), "{check:?}");
        check
    }

    #[test]
    fn a_check_that_compared_nothing_does_not_pass() {
        assert_eq!(judged(|_| {}).verdict, Verdict::CouldNotVerify);
    }

    #[test]
    fn a_check_passes_when_all_that_was_compared_agreed() {
        let check = judged(|check| check.compared(7));
        assert_eq!((check.verdict, check.summary.as_str()), (Verdict::Passed, "everything was as expected"));
        assert_eq!((check.comparisons, check.duration_ms), (7, 1_500));
    }

    #[test]
    fn one_finding_fails_a_check_and_is_its_summary() {
        let check = judged(|check| {
            check.compared(7);
            check.find("canary_found", "the email canary stands in worker.log");
        });
        assert_eq!((check.verdict, check.summary.as_str()), (Verdict::Failed, "the email canary stands in worker.log"));
    }

    #[test]
    fn a_finding_weighs_more_than_a_doubt() {
        let check = judged(|check| {
            check.doubt("worker.log could not be read");
            check.find("canary_found", "the email canary stands in web.log");
        });
        assert_eq!(check.verdict, Verdict::Failed);
    }

    #[test]
    fn a_doubt_outweighs_what_agreed() {
        let check = judged(|check| {
            check.compared(1_000);
            check.doubt("worker.log could not be read");
        });
        assert_eq!(check.verdict, Verdict::CouldNotVerify);
        assert_eq!(check.summary, "worker.log could not be read");
    }

    #[test]
    fn findings_are_bounded_and_counted() {
        let check = judged(|check| (0..60).for_each(|n| check.find("row_missing", say!("row {} is missing", n))));
        assert_eq!((check.findings.len(), check.findings_total, check.findings_untold()), (FINDINGS_TOLD, 60, 10));
        assert_eq!(check.summary, "row 0 is missing (and 59 more findings)");
    }

    #[test]
    fn a_code_is_told_however_many_findings_of_others_came_before() {
        let check = judged(|check| {
            (0..60).for_each(|n| check.find("row_missing", say!("row {} is missing", n)));
            check.find("row_added", "row 61 was not there before");
        });
        assert_eq!((check.findings.len(), check.findings_total), (FINDINGS_TOLD, 61));
        assert_eq!(check.findings.last().unwrap().code, "row_added");
    }

    #[test]
    fn the_ten_ids_are_those_of_the_report_format() {
        for id in CheckId::ALL {
            assert_eq!(serde_json::to_value(id).unwrap(), id.as_str());
        }
    }
}
