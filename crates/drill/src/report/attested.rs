//! A report as the seal's predicate tells it: counts, codes, instants and proofs, without the sentences.
//!
//! Not here: which files are sealed, and signing (`attest`).

use std::collections::BTreeSet;

use attest::Head;
use attest::statement::{self, CheckResult, Predicate, Proof, ProofStep, StageTiming, Timings};

use super::{Check, Outcome, Report, Span, Stage, Verdict};

/// The stages that prove that the restored system reached nothing but what it was meant to.
const ISOLATION: [&str; 6] = ["isolation", "prepare", "data", "generation", "quiet", "scan"];
/// The same of an environment that exists: it could have been production.
const ISOLATION_OF_PLAN: [&str; 7] = ["prove", "isolation", "prepare", "data", "generation", "quiet", "scan"];
/// The stage that proves that nothing is left.
const CLEAN_UP: [&str; 1] = ["tear-down"];

impl Report {
    /// What is signed. `journal` is the end of the closed journal; a target that was `kept` was not cleaned up.
    #[must_use]
    pub fn predicate(&self, journal: Head, key_id: &str, kept: bool) -> Predicate {
        let clean_up = self.proof(&CLEAN_UP);
        Predicate {
            drill_id: self.drill_id.to_string(),
            build: self.build.clone(),
            key_id: key_id.to_owned(),
            verdict: self.verdict.attested(),
            checks: self.checks.iter().map(Check::attested).collect(),
            timings: self.timings(),
            isolation: if self.of_plan() { self.proof(&ISOLATION_OF_PLAN) } else { self.proof(&ISOLATION) },
            clean_up: Proof { held: clean_up.held && !kept, ..clean_up },
            journal,
        }
    }

    /// Whether it is about an environment that exists.
    fn of_plan(&self) -> bool {
        self.stages.iter().any(|stage| stage.id == ISOLATION_OF_PLAN[0])
    }

    fn timings(&self) -> Timings {
        let stage = |stage: &Stage| StageTiming {
            id: stage.id.clone(),
            started_at: stage.started_at,
            duration_ms: stage.duration_ms,
            outcome: stage.outcome.word().to_owned(),
        };
        Timings {
            started_at: self.started_at,
            finished_at: self.finished_at,
            rto_ms: self.measured.rto_span.map(Span::millis),
            rto_objective_ms: millis(self.objectives.rto_s),
            rpo_ms: self.measured.rpo_span.map(Span::millis),
            rpo_objective_ms: millis(self.objectives.rpo_s),
            stages: self.stages.iter().map(stage).collect(),
        }
    }

    /// What the stages with these ids say. A stage that is missing proves nothing.
    fn proof(&self, ids: &[&str]) -> Proof {
        let step = |id: &&str| {
            let stage = self.stages.iter().find(|stage| stage.id == **id);
            ProofStep {
                stage: (*id).to_owned(),
                held: stage.is_some_and(|stage| stage.outcome == Outcome::Done && stage.proof.is_some()),
                proof: stage.and_then(|stage| stage.proof.as_ref().map(ToString::to_string)),
            }
        };
        let steps: Vec<ProofStep> = ids.iter().map(step).collect();
        Proof { held: steps.iter().all(|step| step.held), steps }
    }
}

impl Check {
    fn attested(&self) -> CheckResult {
        let codes: BTreeSet<_> = self.findings.iter().map(|finding| finding.code.clone()).collect();
        CheckResult {
            id: self.id.as_str().to_owned(),
            verdict: self.verdict.attested(),
            begun: self.begun,
            comparisons: self.comparisons,
            findings: self.findings_total,
            codes: codes.into_iter().collect(),
        }
    }
}

impl Verdict {
    fn attested(self) -> statement::Verdict {
        match self {
            Self::Passed => statement::Verdict::Passed,
            Self::Failed => statement::Verdict::Failed,
            Self::CouldNotVerify => statement::Verdict::CouldNotVerify,
        }
    }
}

/// Seconds as milliseconds. Objectives are small whole numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from float saturates")]
fn millis(seconds: f64) -> u64 {
    (seconds * 1_000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{CheckId, sample};

    #[test]
    fn the_ten_checks_of_the_seal_are_those_of_the_report() {
        assert!(CheckId::ALL.map(CheckId::as_str).into_iter().eq(statement::CHECKS));
    }

    #[test]
    fn what_was_never_begun_and_never_proven_is_said_so() {
        let head = Head { sequence: 1, sha256: attest::sha256_hex(b"") };
        let predicate = sample::ended_early().predicate(head, "key", false);
        assert!(predicate.checks.iter().all(|check| !check.begun));
        assert!(!predicate.isolation.held && !predicate.clean_up.held);
        assert_eq!((predicate.timings.rto_ms, predicate.timings.rto_objective_ms), (None, 60_000));
    }

    #[test]
    fn a_drill_is_apart_only_if_it_was_seen_to_have_no_way_out() {
        let head = || Head { sequence: 1, sha256: attest::sha256_hex(b"") };
        let mut report = sample::passing();
        let first = report.stages[0].clone();
        let stage = |id: &str, proof: Option<&'static str>| Stage {
            id: id.to_owned(),
            proof: proof.map(Into::into),
            outcome: Outcome::Done,
            ..first.clone()
        };
        for (ids, steps) in [(&ISOLATION[..], 6), (&ISOLATION_OF_PLAN, 7)] {
            report.stages = ids.iter().map(|id| stage(id, Some("seen"))).collect();
            let isolation = report.predicate(head(), "key", false).isolation;
            assert_eq!((isolation.steps.len(), isolation.held), (steps, true));
            for (place, unproven) in ids.iter().enumerate() {
                let kept = report.stages[place].proof.take();
                assert!(!report.predicate(head(), "key", false).isolation.held, "{unproven}");
                report.stages[place].proof = kept;
            }
        }
    }

    #[test]
    fn a_target_that_was_kept_was_not_cleaned_up() {
        let head = || Head { sequence: 1, sha256: attest::sha256_hex(b"") };
        assert!(sample::passing().predicate(head(), "key", false).clean_up.held);
        assert!(!sample::passing().predicate(head(), "key", true).clean_up.held);
    }
}
