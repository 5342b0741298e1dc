//! JUnit XML: a suite of ten cases. A failed row is a failure, one that could not be verified an error, so that no reader
//! counts it as passed; nothing is ever "skipped".
//!
//! Not here: stages and counts.

use std::fmt::Write as _;

use crate::report::model::seconds;
use crate::report::{Check, Report, Verdict};

pub(super) fn render(report: &Report) -> String {
    let with = |verdict| report.checks.iter().filter(|check| check.verdict == verdict).count();
    let (failures, errors) = (with(Verdict::Failed), with(Verdict::CouldNotVerify));
    let (tests, time) = (report.checks.len(), seconds(took_ms(report)));
    let at = report.started_at.format("%Y-%m-%dT%H:%M:%S");
    let counts =
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"{time:.3}\"");
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(text, "<testsuites name=\"restore drill\" {counts}>");
    let _ = writeln!(text, "  <testsuite name=\"restore drill\" timestamp=\"{at}\" {counts}>");
    let _ = writeln!(text, "    <properties>");
    let properties =
        [("drill_id", report.drill_id.to_string()), ("build", report.build.clone()), ("verdict", word(report.verdict))];
    for (name, value) in properties {
        let _ = writeln!(text, "      <property name=\"{name}\" value=\"{}\"/>", escaped(&value));
    }
    let _ = writeln!(text, "    </properties>");
    report.checks.iter().for_each(|check| case(&mut text, check));
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn case(text: &mut String, check: &Check) {
    let (name, time, summary) = (check.id.as_str(), seconds(check.duration_ms), escaped(&check.summary));
    let head = format!("    <testcase classname=\"restore-drill\" name=\"{name}\" time=\"{time:.3}\"");
    let tag = match check.verdict {
        Verdict::Passed => {
            let _ = writeln!(text, "{head}/>");
            return;
        }
        Verdict::Failed => "failure",
        Verdict::CouldNotVerify => "error",
    };
    let kind = check.findings.first().map_or("could_not_verify", |finding| finding.code.as_str());
    let _ = writeln!(text, "{head}>\n      <{tag} type=\"{}\" message=\"{summary}\">", escaped(kind));
    for finding in &check.findings {
        let _ = writeln!(text, "{}: {}", escaped(&finding.code), escaped(&finding.sentence));
    }
    if check.findings_untold() > 0 {
        let _ = writeln!(text, "and {} more", check.findings_untold());
    }
    let _ = writeln!(text, "      </{tag}>\n    </testcase>");
}

fn took_ms(report: &Report) -> u64 {
    crate::report::model::millis_between(report.started_at, report.finished_at)
}

fn word(verdict: Verdict) -> String {
    verdict.word().to_owned()
}

/// Text for an attribute or an element. Characters that XML can't hold are gone already: see `plain`.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in crate::report::plain(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_failing_drill_as_junit() {
        let mut report = sample::failing();
        for check in &mut report.checks {
            check.findings.truncate(2);
        }
        insta::assert_snapshot!(render(&report));
    }

    #[test]
    fn a_row_in_doubt_is_an_error_and_nothing_is_skipped() {
        let text = render(&sample::ended_early());
        assert!(text.contains("tests=\"10\" failures=\"0\" errors=\"10\" skipped=\"0\""));
        assert_eq!(text.matches("<error ").count(), 10);
    }
}
