//! `report.md`: the report in the layout of the project's template, with columns for what came out.
//!
//! Every text from outside is escaped, so that a name with a bar or an angle bracket in it can neither break a table nor
//! become markup where the file is shown as a page.
//!
//! Not here: findings past the first five of a row (they are in `report.json`), pictures (`html`).

use std::fmt::Write as _;

use super::model::{grouped, instant, seconds};
use super::wording::{backup, environment, number_or_unknown, rpo, rto, signature};
use super::{LAUNCH_RULE, Line, Report, Verdict};

/// How many findings a row tells before it points to `report.json`.
const FINDINGS_SHOWN: usize = 5;

/// The report as Markdown.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    text.push_str("# Restore Drill Report\n\n");
    let _ = writeln!(text, "{}. {}\n", loud(report.verdict), report.headline());
    metadata(&mut text, report);
    evidence_table(&mut text, report);
    wrong(&mut text, report);
    result(&mut text, report);
    stages(&mut text, report);
    counts(&mut text, report);
    remembered(&mut text, report);
    evidence_list(&mut text, report);
    notes(&mut text, report);
    follow_ups(&mut text, report);
    let _ = writeln!(text, "\n{LAUNCH_RULE}");
    text
}

fn metadata(text: &mut String, report: &Report) {
    text.push_str("## Drill Metadata\n\n");
    let rows = report.metadata.rows().map(|(field, value)| [field.to_owned(), escaped(value)]);
    table(text, ["Field", "Value"], rows);
}

fn evidence_table(text: &mut String, report: &Report) {
    text.push_str("## Required Restore Evidence\n\n");
    text.push_str("The drill is considered passing only when all rows are satisfied.\n\n");
    let rows = report.checks.iter().map(|check| {
        [
            escaped(&check.title),
            escaped(&check.evidence_to_collect),
            escaped(&check.pass_condition),
            loud(check.verdict),
            escaped(&check.summary),
            grouped(check.comparisons),
        ]
    });
    table(text, ["Check", "Evidence to collect", "Pass condition", "Result", "What was seen", "Compared"], rows);
}

/// What is wrong, row by row. Nothing if all passed.
fn wrong(text: &mut String, report: &Report) {
    let mut failed = report.checks.iter().filter(|check| check.findings_total > 0).peekable();
    if failed.peek().is_some() {
        text.push_str("### What is wrong\n\n");
    }
    for check in failed {
        let _ = writeln!(text, "{} ({}):\n", escaped(&check.title), findings(check.findings_total));
        for finding in check.findings.iter().take(FINDINGS_SHOWN) {
            let _ = writeln!(text, "- `{}`: {}", finding.code, escaped(&finding.sentence));
        }
        if check.findings_total > FINDINGS_SHOWN as u64 {
            let rest = check.findings_total - FINDINGS_SHOWN as u64;
            let _ = writeln!(text, "- and {rest} more, see `report.json`");
        }
        text.push('\n');
    }
}

fn result(text: &mut String, report: &Report) {
    text.push_str("## Drill Result\n\n");
    let mut rows = vec![
        ["Verdict".to_owned(), loud(report.verdict)],
        ["Drill".to_owned(), report.drill_id.to_string()],
        ["Started".to_owned(), instant(report.started_at)],
        ["Finished".to_owned(), instant(report.finished_at)],
        ["Recovery time (RTO)".to_owned(), rto(&report.measured, report.objectives.rto_s)],
        ["Recovery point (RPO)".to_owned(), rpo(&report.measured, report.objectives.rpo_s)],
        ["Build".to_owned(), escaped(&report.build)],
        ["Program".to_owned(), format!("SHA-256 `{}`", report.build_sha256)],
        ["Signature".to_owned(), escaped(&signature(report))],
        ["Environment".to_owned(), escaped(&environment(report))],
        ["Backup".to_owned(), escaped(&backup(report))],
    ];
    if let Some(journal) = &report.journal {
        let head = format!("{} entries, the last with SHA-256 `{}`", journal.sequence, journal.sha256);
        rows.push(["Journal".to_owned(), head]);
    }
    table(text, ["Field", "Value"], rows);
}

fn stages(text: &mut String, report: &Report) {
    text.push_str("### Stages\n\n");
    let rows = report.stages.iter().map(|stage| {
        let title = escaped(&stage.title) + if stage.waiting { " (quiet window)" } else { "" };
        let proof = stage.proof.as_deref().map(escaped).unwrap_or_default();
        [title, stage.outcome.word().to_owned(), format!("{:.1} s", seconds(stage.duration_ms)), proof]
    });
    table(text, ["Stage", "Outcome", "Took", "Proof"], rows);
}

fn counts(text: &mut String, report: &Report) {
    if report.counts.is_empty() && report.object_counts.is_empty() {
        return;
    }
    text.push_str("### Counts before and after\n\n");
    let rows = report.counts.iter().map(|count| {
        let content = match (count.digest_equal, &count.note) {
            (_, Some(note)) => format!("not compared: {}", escaped(note)),
            (Some(true), None) => "equal".to_owned(),
            (Some(false), None) => "**DIFFERENT**".to_owned(),
            (None, None) => "not compared".to_owned(),
        };
        let restored = number_or_unknown(count.restored_rows);
        [escaped(&count.table), escaped(&count.group), grouped(count.backup_rows), restored, content]
    });
    table(text, ["Table", "Group", "Rows in the backup", "Rows restored", "Content"], rows);
    let rows = report.object_counts.iter().map(|count| {
        [
            escaped(&count.prefix),
            grouped(count.backup_objects),
            number_or_unknown(count.restored_objects),
            grouped(count.backup_bytes),
            number_or_unknown(count.restored_bytes),
        ]
    });
    let columns = ["Prefix", "Objects in the backup", "Objects restored", "Bytes in the backup", "Bytes restored"];
    table(text, columns, rows);
}

fn remembered(text: &mut String, report: &Report) {
    let Some(remembered) = &report.remembered else { return };
    text.push_str("### What the restore remembered\n\n");
    let _ = writeln!(text, "{}\n", escaped(&remembered.sentence()));
    let mut part = |what: &str, lines: &[Line]| {
        let rows = lines.iter().map(|(what, count)| [escaped(what), grouped(*count)]);
        table(text, [what, "Count"], rows);
    };
    if let Some(seen) = &remembered.seen {
        part("Seen from outside, over both lives of the system", &seen.lines());
    }
    part("Known to the restored system, as the restore says", &remembered.known.lines());
    part("Lost with the lost system: the real recovery point", &remembered.lost.lines());
    for sentence in &remembered.attention {
        let _ = writeln!(text, "- See to it: {}", escaped(sentence));
    }
    for finding in &remembered.findings {
        let weight = if finding.normal { "as a kill leaves it, nothing is missing" } else { "a fault of the ledger" };
        let _ = writeln!(text, "- `{}` ({weight}): {}", finding.code, escaped(&finding.sentence));
    }
    if !remembered.attention.is_empty() || !remembered.findings.is_empty() {
        text.push('\n');
    }
}

fn evidence_list(text: &mut String, report: &Report) {
    text.push_str("### Evidence\n\n");
    let rows = report.checks.iter().flat_map(|check| {
        check.evidence.iter().map(|evidence| {
            let path = format!("`{}`", evidence.path);
            [escaped(&check.title), path, grouped(evidence.bytes), format!("`{}`", evidence.sha256)]
        })
    });
    table(text, ["Check", "File", "Bytes", "SHA-256"], rows);
}

fn notes(text: &mut String, report: &Report) {
    if report.notes.is_empty() {
        return;
    }
    text.push_str("### Notes\n\n");
    for note in &report.notes {
        let _ = writeln!(text, "- {}", escaped(note));
    }
    text.push('\n');
}

fn follow_ups(text: &mut String, report: &Report) {
    text.push_str("## Follow-Up\n\n");
    if report.follow_ups.is_empty() {
        text.push_str("No finding is open.\n\n");
    }
    let rows = report.follow_ups.iter().map(|follow_up| {
        let id = follow_up.id.clone().unwrap_or_default();
        let due = follow_up.due_date.map_or_else(|| "not set".to_owned(), |day| day.to_string());
        let (severity, status) = (follow_up.severity.word().to_owned(), follow_up.status.word().to_owned());
        [escaped(&follow_up.finding), escaped(&follow_up.owner), severity, due, status, id]
    });
    table(text, ["Finding", "Owner", "Severity", "Due date", "Status", "Id"], rows);
}

pub(super) fn table<const N: usize>(
    text: &mut String,
    columns: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) {
    let _ = writeln!(text, "| {} |", columns.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(N));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
}

fn loud(verdict: Verdict) -> String {
    match verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Failed => "**FAILED**".to_owned(),
        Verdict::CouldNotVerify => "**COULD NOT VERIFY**".to_owned(),
    }
}

fn findings(total: u64) -> String {
    if total == 1 { "1 finding".to_owned() } else { format!("{total} findings") }
}

/// Text that stands for itself in a table cell, in Markdown and in the HTML that is made of it. An underscore within a
/// word means nothing to Markdown, and stays: `pg_restore` can be searched for.
pub(super) fn escaped(text: &str) -> String {
    let text = super::plain(text);
    let mut safe = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let within_word = before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '_' if within_word => safe.push(c),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' => safe.extend(['\\', c]),
            _ => safe.push(c),
        }
        before = c;
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_passing_report_reads_like_the_template() {
        insta::assert_snapshot!(render(&sample::passing()));
    }

    #[test]
    fn a_failing_report_says_what_is_wrong() {
        insta::assert_snapshot!(render(&sample::failing()));
    }

    #[test]
    fn a_report_of_a_drill_that_ended_early_has_ten_rows_and_no_numbers() {
        let text = render(&sample::ended_early());
        assert_eq!(text.matches("**COULD NOT VERIFY** | the drill ended before this check was begun").count(), 10);
        assert!(text.contains("not measured; the objective is 60 s"));
    }

    #[test]
    fn names_can_not_break_a_table_or_become_markup() {
        assert_eq!(escaped("table_counts of _all_"), "table_counts of \\_all\\_");
        assert_eq!(escaped("a|b <i>*c*</i>\n`d`"), "a\\|b &lt;i&gt;\\*c\\*&lt;/i&gt; \\`d\\`");
    }
}
