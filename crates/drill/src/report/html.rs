//! `report.html`: the report for people, one file that needs nothing else.
//!
//! No script, no reference to another file or host, so that it can be mailed, archived and printed. The template escapes
//! every value that it is given; nothing is marked as safe. A verdict is always a word and a sign, never only a colour.
//!
//! Not here: geometry of the timeline (`timeline`), the picture's colours (`templates/report.html`).

use askama::Template;
use attest::Evidence;

use super::model::{grouped, instant};
use super::timeline::{self, Timeline, short};
use super::trend::{self, Trend};
use super::wording::{backup, environment, number_or_unknown, rpo, rto, signature};
use super::{
    Check, Finding, LAUNCH_RULE, LedgerFinding, Line, ObjectCount, Remembered, Report, Severity, TableCount, Verdict,
};
use crate::said::Sentence;

/// How many findings of a row are shown before the rest is folded away.
const FINDINGS_UNFOLDED: usize = 5;

/// The report as a page.
#[must_use]
pub fn render(report: &Report) -> String {
    Page::of(report).render().expect("the template writes to memory, and its values always print")
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    look: Look,
    started: String,
    took: String,
    rows: Vec<Row<'a>>,
    /// The rows that did not pass.
    open_rows: Vec<&'a Check>,
    gauges: [Gauge; 2],
    timeline: Timeline,
    trend: Option<Trend>,
    signature: String,
    tables: Vec<Compared>,
    prefixes: Vec<Compared>,
    stored: Vec<Stored<'a>>,
    environment: String,
    backup: String,
    remembered: Option<Memory<'a>>,
    launch_rule: &'static str,
}

/// How a verdict looks.
struct Look {
    class: &'static str,
    sign: &'static str,
}

impl Look {
    /// Of something that was left out on purpose.
    const PLAIN: Self = Self { class: "plain", sign: "–" };

    fn of(verdict: Verdict) -> Self {
        let (class, sign) = match verdict {
            Verdict::Passed => ("passed", "✓"),
            Verdict::Failed => ("failed", "✗"),
            Verdict::CouldNotVerify => ("unknown", "?"),
        };
        Self { class, sign }
    }
}

/// One of the ten.
struct Row<'a> {
    number: usize,
    check: &'a Check,
    look: Look,
    took: String,
    compared: String,
    /// The findings that are shown at once.
    first: &'a [Finding],
    /// The findings behind a fold.
    others: &'a [Finding],
    /// How many more there are that the report only counts.
    untold: Option<String>,
}

/// A measure against its objective.
struct Gauge {
    name: &'static str,
    what: &'static str,
    sentence: String,
    look: Look,
    /// Shares of the track, in percent.
    measured: f64,
    quiet: f64,
    objective: f64,
}

/// A piece of evidence.
struct Stored<'a> {
    path: &'a str,
    bytes: String,
    sha256: &'a str,
}

/// What the restore remembered.
struct Memory<'a> {
    sentence: String,
    parts: Vec<Part>,
    attention: &'a [Sentence],
    findings: &'a [LedgerFinding],
}

/// Counts that belong together.
struct Part {
    title: &'static str,
    by: &'static str,
    lines: Vec<Count>,
}

struct Count {
    what: &'static str,
    count: String,
    /// Nothing of it, nothing to look at; or a number that must be 0 and is not.
    class: &'static str,
}

/// A line of the counts before and after.
struct Compared {
    name: String,
    group: String,
    before: [String; 2],
    after: [String; 2],
    /// Share of what was there before, in percent.
    share: f64,
    look: Look,
    word: String,
}

impl Gauge {
    fn met(&self) -> &'static str {
        match self.look.class {
            "passed" => "met",
            "failed" => "not met",
            _ => "not measured",
        }
    }
}

impl Compared {
    fn percent(&self) -> String {
        format!("{:.1} %", self.share)
    }
}

impl<'a> Page<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            report,
            look: Look::of(report.verdict),
            started: instant(report.started_at),
            took: short(super::model::millis_between(report.started_at, report.finished_at)),
            rows: report.checks.iter().enumerate().map(|(index, check)| row(index + 1, check)).collect(),
            open_rows: report.checks.iter().filter(|check| check.verdict != Verdict::Passed).collect(),
            gauges: gauges(report),
            timeline: timeline::layout(report),
            trend: trend::layout(report),
            signature: signature(report),
            tables: report.counts.iter().map(table).collect(),
            prefixes: report.object_counts.iter().map(prefix).collect(),
            stored: report.checks.iter().flat_map(Check::evidence).map(stored).collect(),
            environment: environment(report),
            backup: backup(report),
            remembered: report.remembered.as_ref().map(memory),
            launch_rule: LAUNCH_RULE,
        }
    }
}

fn memory(remembered: &Remembered) -> Memory<'_> {
    let part = |title, by, lines: &[Line]| Part { title, by, lines: lines.iter().map(count).collect() };
    let seen = remembered.seen.as_ref();
    let seen = seen
        .map(|seen| part("Seen from outside", "counted by the drill, over both lives of the system", &seen.lines()));
    let known = part("Known again", "as the restore says", &remembered.known.lines());
    let lost = part("Lost: the real recovery point", "as the restore says", &remembered.lost.lines());
    let parts = seen.into_iter().chain([known, lost]).collect();
    Memory { sentence: remembered.sentence(), parts, attention: &remembered.attention, findings: &remembered.findings }
}

/// Of a healthy restore these are 0.
const NEVER: [&str; 5] =
    ["deliveries duplicated", "deliveries lost", "deliveries unexplained", "slots fired twice", "slots lost"];

fn count((what, number): &Line) -> Count {
    let class = match number {
        0 => "none",
        _ if NEVER.contains(what) => "failed",
        _ => "some",
    };
    Count { what, count: grouped(*number), class }
}

fn row(number: usize, check: &Check) -> Row<'_> {
    let untold = check.findings_untold();
    let (first, others) = check.findings.split_at(check.findings.len().min(FINDINGS_UNFOLDED));
    Row {
        number,
        check,
        look: Look::of(check.verdict),
        took: short(check.duration_ms),
        compared: grouped(check.comparisons),
        first,
        others,
        untold: (untold > 0).then(|| grouped(untold)),
    }
}

fn stored(evidence: &Evidence) -> Stored<'_> {
    Stored { path: &evidence.path, bytes: grouped(evidence.bytes), sha256: &evidence.sha256 }
}

fn gauges(report: &Report) -> [Gauge; 2] {
    let (measured, objectives) = (&report.measured, &report.objectives);
    let look = |value: Option<f64>, met| match (value, met) {
        (None, _) => Look::of(Verdict::CouldNotVerify),
        (Some(_), true) => Look::of(Verdict::Passed),
        (Some(_), false) => Look::of(Verdict::Failed),
    };
    let gauge = |name, what, sentence, look, value: Option<f64>, quiet: f64, objective: f64| {
        let value = value.unwrap_or(0.0);
        // A tenth of the track stays free, so that both ends can be seen.
        let share = |part: f64| 100.0 * part / (value.max(objective) * 1.1).max(f64::MIN_POSITIVE);
        let (measured, quiet, objective) = (share(value), share(quiet.min(value)), share(objective));
        Gauge { name, what, sentence, look, measured, quiet, objective }
    };
    [
        gauge(
            "RTO",
            "Recovery time: from the beginning of the restore until the system serves again",
            rto(measured, objectives.rto_s),
            look(measured.rto_s, measured.rto_met),
            measured.rto_s,
            measured.rto_quiet_s,
            objectives.rto_s,
        ),
        gauge(
            "RPO",
            "Recovery point: what was written between the backup and the disaster is lost",
            rpo(measured, objectives.rpo_s),
            look(measured.rpo_s, measured.rpo_met),
            measured.rpo_s,
            0.0,
            objectives.rpo_s,
        ),
    ]
}

fn table(count: &TableCount) -> Compared {
    let (look, word) = match (count.differs(), &count.note, count.digest_equal) {
        (_, Some(note), _) => (Look::PLAIN, format!("not compared: {note}")),
        (true, None, _) => (Look::of(Verdict::Failed), "different".to_owned()),
        (false, None, Some(_)) => (Look::of(Verdict::Passed), "equal".to_owned()),
        (false, None, None) => (Look::of(Verdict::CouldNotVerify), "content not compared".to_owned()),
    };
    Compared {
        name: count.table.to_string(),
        group: count.group.to_string(),
        before: [grouped(count.backup_rows), String::new()],
        after: [number_or_unknown(count.restored_rows), String::new()],
        share: share(count.backup_rows, count.restored_rows),
        look,
        word,
    }
}

fn prefix(count: &ObjectCount) -> Compared {
    let (verdict, word) = if count.differs() { (Verdict::Failed, "different") } else { (Verdict::Passed, "equal") };
    Compared {
        name: count.prefix.to_string(),
        group: String::new(),
        before: [grouped(count.backup_objects), grouped(count.backup_bytes)],
        after: [number_or_unknown(count.restored_objects), number_or_unknown(count.restored_bytes)],
        share: share(count.backup_objects, count.restored_objects),
        look: Look::of(verdict),
        word: word.to_owned(),
    }
}

/// How much of what was there before is there after, in percent, at most 100.
#[expect(clippy::cast_precision_loss, reason = "a picture needs no more than 53 bits")]
fn share(before: u64, after: Option<u64>) -> f64 {
    let after = after.unwrap_or(0);
    if after >= before { 100.0 } else { 100.0 * after as f64 / before as f64 }
}

impl Severity {
    /// The style class of the word.
    fn class(self) -> &'static str {
        match self {
            Self::High => "failed",
            Self::Medium | Self::Low => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_page_needs_nothing_outside_of_itself() {
        for report in [sample::passing(), sample::failing(), sample::ended_early()] {
            let page = render(&report);
            for reference in
                ["http:", "https:", "src=", "@import", "url(h", "<link", "<script", "<iframe", "javascript:"]
            {
                assert!(!page.contains(reference), "the page contains {reference}");
            }
        }
    }

    #[test]
    fn text_can_not_become_markup() {
        let page = render(&sample::failing());
        assert!(page.contains("&#60;script&#62;") && !page.contains("<script>"));
    }

    #[test]
    fn every_row_and_finding_stands_on_the_page() {
        let report = sample::failing();
        let page = render(&report);
        for check in report.checks() {
            assert!(page.contains(&format!("id=\"{}\"", check.id().as_str())));
            assert!(check.evidence().iter().all(|evidence| page.contains(&evidence.sha256)));
        }
        assert_eq!(page.matches("was sent again").count(), 50 + 2, "50 told, the summary and the follow-up");
        assert!(page.contains("unsigned: no signing key was given"));
        assert!(page.contains("45 more findings, and 23 that are only counted"));
        assert!(page.contains(LAUNCH_RULE));
    }

    #[test]
    fn a_verdict_is_a_word_and_a_sign() {
        for (report, banner) in
            [(sample::passing(), "Passed"), (sample::failing(), "Failed"), (sample::ended_early(), "Could not verify")]
        {
            assert!(render(&report).contains(&format!("<p class=\"verdict\">{banner}</p>")), "{banner}");
        }
    }
}
