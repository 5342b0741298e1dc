//! The ten rows as text for a terminal.

use std::fmt::Write as _;
use std::path::Path;

use console::{Style, measure_text_width};

use crate::report::{Check, Measured, Report, Verdict};

/// Narrower than this the last column is no longer wrapped to the terminal.
const SUMMARY_MIN: usize = 30;

/// Number, check and verdict, each with the gap around it.
const BEFORE_SUMMARY: usize = 5 + 27 + 18;

/// The table, the verdict, the measures and the paths of the reports.
pub(super) fn render(report: &Report, out_dir: &Path, width: usize, colour: bool) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "\n {:>2}  {:<25}  {:<16}  What was seen", "#", "Check", "Verdict");
    for (index, check) in report.checks().iter().enumerate() {
        row(&mut text, index + 1, check, width, colour);
    }
    let verdict = styled(report.verdict(), report.verdict().word(), colour);
    let _ = writeln!(text, "\nVerdict: {verdict}. {}", report.headline());
    measures(&mut text, report.measured(), report);
    let _ = writeln!(text);
    for name in ["report.html", "report.md", "report.json"] {
        let _ = writeln!(text, "  {}", out_dir.join(name).display());
    }
    text
}

fn row(text: &mut String, number: usize, check: &Check, width: usize, colour: bool) {
    let verdict = styled(check.verdict(), &format!("{:<16}", check.verdict().word()), colour);
    let room = width.saturating_sub(BEFORE_SUMMARY).max(SUMMARY_MIN);
    let mut lines = wrapped(check.summary(), room).into_iter();
    let first = lines.next().unwrap_or_default();
    let _ = writeln!(text, " {number:>2}  {:<25}  {verdict}  {first}", check.id().title());
    for line in lines {
        let _ = writeln!(text, "{:BEFORE_SUMMARY$}{line}", "");
    }
}

fn measures(text: &mut String, measured: &Measured, report: &Report) {
    let objectives = report.objectives();
    let met = |met| if met { "met" } else { "not met" };
    match measured.rto_s {
        Some(rto) => {
            let (objective, quiet) = (objectives.rto_s, measured.rto_quiet_s);
            let met = met(measured.rto_met);
            let _ = writeln!(text, "RTO {rto:.1} s of {objective:.0} s, {met} ({quiet:.1} s of it quiet windows)");
        }
        None => text.push_str("RTO was not measured\n"),
    }
    match measured.rpo_s {
        Some(rpo) => {
            let _ = writeln!(text, "RPO {rpo:.1} s of {:.0} s, {}", objectives.rpo_s, met(measured.rpo_met));
        }
        None => text.push_str("RPO was not measured\n"),
    }
}

fn styled(verdict: Verdict, text: &str, colour: bool) -> String {
    let style = match verdict {
        Verdict::Passed => Style::new().green(),
        Verdict::Failed => Style::new().red().bold(),
        Verdict::CouldNotVerify => Style::new().yellow().bold(),
    };
    style.force_styling(colour).apply_to(text).to_string()
}

/// Breaks a sentence at spaces into lines of at most `room` columns. A word that is longer has its own line.
fn wrapped(sentence: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        match lines.last_mut() {
            Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn sentences_wrap_at_spaces() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a-word-longer-than-the-room then", 8), ["a-word-longer-than-the-room", "then"]);
    }

    #[test]
    fn a_failed_drill_names_what_is_wrong_in_an_aligned_row() {
        insta::assert_snapshot!(render(&sample::failing(), Path::new("drill-out"), 100, false));
    }

    #[test]
    fn colour_changes_no_word() {
        let report = sample::failing();
        let (with, without) =
            (render(&report, Path::new("out"), 100, true), render(&report, Path::new("out"), 100, false));
        assert_eq!(console::strip_ansi_codes(&with), without);
    }
}
