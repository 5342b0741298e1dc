//! A step summary for GitHub: the verdict, the ten rows, what is to be seen to. Short; the report has the rest.
//!
//! Not here: evidence and stages.

use crate::report::markdown::{escaped, table};
use crate::report::wording::{rpo, rto, signature};
use crate::report::{Report, Verdict};

pub(super) fn render(report: &Report) -> String {
    let mut text = format!("## {} Restore drill: {}\n\n", sign(report.verdict), report.verdict.word());
    text.push_str(&format!("{}\n\n", report.headline()));
    let rows = report.checks.iter().map(|check| {
        let verdict = format!("{} {}", sign(check.verdict), check.verdict.word());
        [escaped(&check.title), verdict, escaped(&check.summary)]
    });
    table(&mut text, ["Check", "Result", "What was seen"], rows);
    let facts = [
        ["Recovery time (RTO)".to_owned(), rto(&report.measured, report.objectives.rto_s)],
        ["Recovery point (RPO)".to_owned(), rpo(&report.measured, report.objectives.rpo_s)],
        ["Build".to_owned(), escaped(&report.build)],
        ["Signature".to_owned(), escaped(&signature(report))],
    ];
    table(&mut text, ["Field", "Value"], facts);
    if !report.follow_ups.is_empty() {
        text.push_str("### Follow-Up\n\n");
        let rows = report.follow_ups.iter().map(|follow_up| {
            let severity = follow_up.severity.word().to_owned();
            [escaped(&follow_up.finding), escaped(&follow_up.owner), severity, follow_up.status.word().to_owned()]
        });
        table(&mut text, ["Finding", "Owner", "Severity", "Status"], rows);
    }
    text
}

fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "✅",
        Verdict::Failed => "❌",
        Verdict::CouldNotVerify => "❓",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_summary_names_the_verdict_and_every_row_and_no_markup_from_outside() {
        let text = render(&sample::failing());
        assert!(text.starts_with("## ❌ Restore drill: failed\n"));
        assert!(sample::failing().checks.iter().all(|check| text.contains(&escaped(&check.title))));
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script>"));
        assert!(text.contains("### Follow-Up") && !render(&sample::passing()).contains("### Follow-Up"));
    }
}
