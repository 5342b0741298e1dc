//! The stages as a picture: where each bar, mark and label of the timeline stands.
//!
//! Only geometry, in the units of the picture's view box (1,000 wide); the template draws it. A stage that took no visible time still
//! has a bar, and a mark outside of the drill's time ends at the picture's edge.
//!
//! Not here: colours and hatching (the template's style sheet).

use clock::Timestamp;

use super::model::{millis_between, seconds};
use super::{Outcome, Report, Span, Stage};

const LABELS: f64 = 270.0;
const RIGHT: f64 = 990.0;
const TOP: f64 = 62.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
const BAR_MIN: f64 = 3.0;
/// Room that a duration needs beside its bar.
const DURATION: f64 = 62.0;
/// Characters of a title that fit before the bars.
const TITLE_CHARS: usize = 36;

/// What is drawn.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) height: f64,
    /// Where the bars end and the axis stands.
    pub(super) bottom: f64,
    pub(super) bars: Vec<Bar>,
    pub(super) ticks: Vec<Tick>,
    pub(super) marks: Vec<Mark>,
}

/// One stage.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) title: String,
    /// Shown when the pointer rests on the bar, and read by a screen reader.
    pub(super) description: String,
    pub(super) class: &'static str,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) text_y: f64,
    pub(super) duration: String,
    pub(super) duration_x: f64,
    pub(super) anchor: &'static str,
}

/// A line of the time axis.
#[derive(Debug)]
pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) label: String,
}

/// A measured stretch above the bars: RTO or RPO.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) class: &'static str,
    pub(super) label: String,
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) y: f64,
    pub(super) label_x: f64,
    pub(super) anchor: &'static str,
}

/// Maps instants to the picture.
struct Axis {
    start: Timestamp,
    millis: f64,
}

impl Axis {
    fn of(report: &Report) -> Self {
        let ends = report.stages.iter().map(|stage| stage.span().to);
        let end = ends.max().map_or(report.finished_at, |end| end.max(report.finished_at));
        Self { start: report.started_at, millis: float(millis_between(report.started_at, end).max(1)) }
    }

    fn x(&self, at: Timestamp) -> f64 {
        LABELS + (RIGHT - LABELS) * (float(millis_between(self.start, at)) / self.millis).min(1.0)
    }
}

/// Lays out the timeline of a report.
pub(super) fn layout(report: &Report) -> Timeline {
    let axis = Axis::of(report);
    let bars: Vec<Bar> = report.stages.iter().enumerate().map(|(row, stage)| bar(&axis, row, stage)).collect();
    let bottom = TOP + ROW * float(bars.len() as u64);
    Timeline { height: bottom + 26.0, bottom, bars, ticks: ticks(&axis), marks: marks(&axis, report) }
}

fn bar(axis: &Axis, row: usize, stage: &Stage) -> Bar {
    let span = stage.span();
    let x = axis.x(span.from);
    let width = (axis.x(span.to) - x).max(BAR_MIN);
    let y = TOP + ROW * float(row as u64) + (ROW - BAR) / 2.0;
    let fits_right = x + width + DURATION <= RIGHT;
    Bar {
        title: shortened(&stage.title),
        description: description(stage),
        class: class(stage),
        x,
        y,
        width,
        text_y: y + BAR / 2.0,
        duration: duration(stage),
        duration_x: if fits_right { x + width + 6.0 } else { x - 6.0 },
        anchor: if fits_right { "start" } else { "end" },
    }
}

fn class(stage: &Stage) -> &'static str {
    match (stage.outcome, stage.waiting) {
        (Outcome::Failed, _) => "bar failed",
        (Outcome::Skipped, _) => "bar skipped",
        (Outcome::Done, true) => "bar quiet",
        (Outcome::Done, false) => "bar done",
    }
}

fn duration(stage: &Stage) -> String {
    match stage.outcome {
        Outcome::Done => short(stage.duration_ms),
        Outcome::Failed => format!("✗ {}", short(stage.duration_ms)),
        Outcome::Skipped => "skipped".to_owned(),
    }
}

fn description(stage: &Stage) -> String {
    let quiet = if stage.waiting { " (quiet window)" } else { "" };
    let proof = stage.proof.as_deref().map(|proof| format!("; {proof}")).unwrap_or_default();
    format!("{}{quiet}: {} in {}{proof}", stage.title, stage.outcome.word(), short(stage.duration_ms))
}

/// RPO and RTO on lines of their own, as they may meet in the disaster.
fn marks(axis: &Axis, report: &Report) -> Vec<Mark> {
    let mark = |class, name, span: Option<Span>, y| {
        let span = span?;
        let (x, end) = (axis.x(span.from), axis.x(span.to));
        let label = format!("{name} {}", short(span.millis()));
        let fits_right = end + 110.0 <= RIGHT;
        let (label_x, anchor) = if fits_right { (end + 7.0, "start") } else { (x - 7.0, "end") };
        Some(Mark { class, label, x, width: (end - x).max(BAR_MIN), y, label_x, anchor })
    };
    let rpo = mark("rpo", "RPO", report.measured.rpo_span, 14.0);
    let rto = mark("rto", "RTO", report.measured.rto_span, 34.0);
    rpo.into_iter().chain(rto).collect()
}

/// Four to nine lines at round seconds.
fn ticks(axis: &Axis) -> Vec<Tick> {
    let step = step(axis.millis);
    let count = (axis.millis / step).floor();
    let x = |millis: f64| LABELS + (RIGHT - LABELS) * millis / axis.millis;
    let tick = |n: u32| {
        let millis = step * f64::from(n);
        Tick { x: x(millis), label: tick_label(millis) }
    };
    (0..=9).take_while(|&n| f64::from(n) <= count).map(tick).collect()
}

fn tick_label(millis: f64) -> String {
    if millis >= 120_000.0 { format!("{} min", millis / 60_000.0) } else { format!("{} s", millis / 1_000.0) }
}

/// The smallest round step that gives at most nine ticks.
fn step(millis: f64) -> f64 {
    let rounds = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];
    let fits = |step: &f64| millis / (step * 1_000.0) <= 8.0;
    rounds.into_iter().find(fits).map_or(millis / 8.0, |step| step * 1_000.0)
}

/// A duration for people.
pub(super) fn short(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{:.1} s", seconds(millis)),
        _ => format!("{} min {:02} s", millis / 60_000, millis / 1_000 % 60),
    }
}

fn shortened(title: &str) -> String {
    if title.chars().count() <= TITLE_CHARS {
        return title.to_owned();
    }
    title.chars().take(TITLE_CHARS - 1).chain(['…']).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a picture needs no more than 53 bits")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_stage_has_a_bar_within_the_picture() {
        for report in [sample::passing(), sample::failing(), sample::ended_early()] {
            let timeline = layout(&report);
            assert_eq!(timeline.bars.len(), report.stages.len());
            for bar in &timeline.bars {
                assert!(bar.width >= BAR_MIN && bar.x >= LABELS && bar.x + bar.width <= RIGHT + BAR_MIN, "{bar:?}");
            }
        }
    }

    #[test]
    fn the_axis_has_few_and_round_ticks() {
        for millis in [900.0, 23_000.0, 61_000.0, 600_000.0, 40_000_000.0] {
            assert!(millis / step(millis) <= 9.0, "{millis}");
        }
        let labels: Vec<String> = layout(&sample::passing()).ticks.into_iter().map(|tick| tick.label).collect();
        assert_eq!(labels, ["0 s", "5 s", "10 s", "15 s", "20 s"]);
    }

    #[test]
    fn a_recovery_point_before_the_drill_ends_at_the_edge() {
        let mut report = sample::passing();
        let from = report.started_at - chrono::TimeDelta::hours(1);
        report.measured.rpo_span = Some(Span { from, to: report.started_at });
        assert!((layout(&report).marks[0].x - LABELS).abs() < f64::EPSILON);
    }
}
