//! The launch gate: may this build be launched on the evidence of that drill?
//!
//! A pure question about a bundle that was verified, the findings file and the clock. Every reason to refuse is told, not
//! only the first. Only a signed drill of the same build that passed, that is young enough and looked at every row, with
//! no high finding open, lets a launch through.
//!
//! Not here: verifying (`attest`), reading files (the binary).

use attest::VerifyError;
use attest::statement::{BUILD, Statement, Verdict};
use chrono::TimeDelta;
use clock::Timestamp;
use serde::Serialize;

use crate::findings::{Known, Register};
use crate::report::Severity;

/// How far a drill's clock may be ahead of ours.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// What a launch needs.
#[derive(Debug, Clone)]
pub struct Terms {
    pub now: Timestamp,
    /// How long ago the drill may have ended.
    pub max_age: TimeDelta,
    /// SHA-256 of the program that is to be launched.
    pub build_sha256: String,
}

/// One reason against a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// For programs.
    pub code: &'static str,
    pub sentence: String,
}

impl Reason {
    fn new(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }
}

/// Why the build may not be launched. None: it may.
#[must_use]
pub fn judge(evidence: &Result<Statement, VerifyError>, register: &Register, terms: &Terms) -> Vec<Reason> {
    let mut reasons = match evidence {
        Ok(statement) => of_statement(statement, terms),
        Err(VerifyError::Refused(refusal)) => {
            refusal.problems.iter().map(|problem| Reason::new(problem.code, &problem.sentence)).collect()
        }
        Err(error) => vec![Reason::new("no_evidence", error.to_string())],
    };
    let today = terms.now.date_naive();
    let high = |known: &&Known| known.severity == Severity::High && known.is_open(today);
    reasons.extend(register.findings().iter().filter(high).map(|known| {
        let (id, word, owner) = (&known.id, known.word(today), &known.owner);
        Reason::new("finding_open", format!("{id} ({word}, {owner}): {}", known.finding))
    }));
    reasons
}

fn of_statement(statement: &Statement, terms: &Terms) -> Vec<Reason> {
    let predicate = &statement.predicate;
    let mut reasons = Vec::new();
    let age = terms.now - predicate.timings.finished_at;
    if age > terms.max_age {
        let (hours, allowed) = (age.num_hours(), terms.max_age.num_hours());
        reasons.push(Reason::new("too_old", format!("the drill ended {hours} h ago; {allowed} h are allowed")));
    }
    if age < -CLOCK_SKEW {
        reasons.push(Reason::new("from_the_future", "the drill ended later than now: a clock is wrong"));
    }
    let drilled = statement.digest_of(BUILD).unwrap_or_default();
    if drilled != terms.build_sha256 {
        let ours = &terms.build_sha256;
        reasons.push(Reason::new("other_build", format!("the drill was of the build {drilled}, this one is {ours}")));
    }
    for check in &predicate.checks {
        let (id, count) = (&check.id, check.findings);
        match check.verdict {
            Verdict::Passed => {}
            Verdict::Failed => reasons.push(Reason::new("row_failed", format!("{id} failed, with {count} findings"))),
            Verdict::CouldNotVerify if check.begun => {
                reasons.push(Reason::new("row_missing", format!("{id} could not be verified")));
            }
            Verdict::CouldNotVerify => reasons.push(Reason::new("row_missing", format!("{id} was never begun"))),
        }
    }
    if !predicate.clean_up.held {
        reasons.push(Reason::new("not_cleaned_up", "the drill does not prove that nothing of it is left"));
    }
    if !predicate.isolation.held {
        reasons.push(Reason::new("not_isolated", "the drill does not prove that its copy was kept apart"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, sample};
    use attest::statement::{Digest, Subject};
    use attest::{Head, Refusal};

    fn statement(report: &Report) -> Statement {
        let head = Head { sequence: 1, sha256: attest::sha256_hex(b"") };
        let build = Subject { name: BUILD.into(), digest: Digest { sha256: attest::sha256_hex(b"build") } };
        Statement::new(vec![build], report.predicate(head, "key", false))
    }

    fn terms() -> Terms {
        Terms {
            now: sample::passing().finished_at() + TimeDelta::hours(1),
            max_age: TimeDelta::hours(24),
            build_sha256: attest::sha256_hex(b"build"),
        }
    }

    fn codes(evidence: Statement, register: &Register, terms: &Terms) -> Vec<&'static str> {
        let mut evidence = evidence;
        // The sample's stages have other names than those that prove it.
        evidence.predicate.isolation.held = true;
        judge(&Ok(evidence), register, terms).into_iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn a_young_drill_of_this_build_that_passed_lets_a_launch_through() {
        assert!(codes(statement(&sample::passing()), &Register::default(), &terms()).is_empty());
    }

    #[test]
    fn old_evidence_that_of_another_build_and_that_of_tomorrow_are_refused() {
        let judged = |terms: &Terms| codes(statement(&sample::passing()), &Register::default(), terms);
        assert_eq!(judged(&Terms { now: terms().now + TimeDelta::days(2), ..terms() }), ["too_old"]);
        assert_eq!(judged(&Terms { now: terms().now - TimeDelta::days(2), ..terms() }), ["from_the_future"]);
        assert_eq!(judged(&Terms { build_sha256: attest::sha256_hex(b"other"), ..terms() }), ["other_build"]);
    }

    #[test]
    fn each_row_that_did_not_pass_is_named() {
        let reasons = codes(statement(&sample::failing()), &Register::default(), &terms());
        assert_eq!(reasons.iter().filter(|code| **code == "row_failed").count(), 4);
        assert_eq!(reasons.iter().filter(|code| **code == "row_missing").count(), 1);
        let early = codes(statement(&sample::ended_early()), &Register::default(), &terms());
        assert_eq!(early.iter().filter(|code| **code == "row_missing").count(), 10);
    }

    #[test]
    fn what_does_not_verify_is_refused_with_its_problems() {
        let none = judge(&Err(VerifyError::NoDrill), &Register::default(), &terms());
        assert_eq!(none[0].code, "no_evidence");
        let problem = attest::Problem { code: "unsigned", sentence: "it is not signed".into() };
        let refused = VerifyError::Refused(Refusal { problems: vec![problem], total: 1 });
        assert_eq!(judge(&Err(refused), &Register::default(), &terms())[0].code, "unsigned");
    }

    #[test]
    fn an_open_high_finding_stands_against_a_launch_until_it_is_deferred_or_closed() {
        let mut register = Register::default();
        register.record(&sample::failing());
        let judged = |register: &Register, terms: &Terms| codes(statement(&sample::passing()), register, terms);
        assert_eq!(judged(&register, &terms()), ["finding_open"; 5], "the medium one does not");
        let today = terms().now.date_naive();
        let ids: Vec<String> = register.findings().iter().map(|known| known.id.clone()).collect();
        for id in ids {
            register.defer(&id, "Ada", "known", today + TimeDelta::days(3), today).unwrap();
        }
        assert!(judged(&register, &terms()).is_empty());
        let later = Terms { now: terms().now + TimeDelta::days(5), max_age: TimeDelta::days(9), ..terms() };
        assert_eq!(judged(&register, &later), ["finding_open"; 5], "the deferrals have ended");
    }
}
