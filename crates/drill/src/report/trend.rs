//! Earlier drills and this one as a picture: recovery time over runs, with each verdict.
//!
//! Only geometry, in the units of the picture's view box (1,000 wide); the template draws it. A drill without a recovery
//! time still has a place, with the sign of its verdict on the ground line.
//!
//! Not here: finding earlier drills (`crate::history`), colours (the template's style sheet).

use super::model::instant;
use super::{Past, Report, Verdict};

const LEFT: f64 = 60.0;
const RIGHT: f64 = 990.0;
const TOP: f64 = 24.0;
const GROUND: f64 = 150.0;
/// How wide a bar may be, and which part of its place it takes.
const BAR_MAX: f64 = 34.0;
const BAR_SHARE: f64 = 0.7;

/// What is drawn. There is none without an earlier drill.
#[derive(Debug)]
pub(super) struct Trend {
    pub(super) bars: Vec<Bar>,
    /// Where the line of the objective stands, if it is within the picture.
    pub(super) objective: Option<f64>,
    pub(super) objective_label: String,
    pub(super) highest: String,
}

/// One drill.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) sign_x: f64,
    pub(super) sign_y: f64,
    /// Shown when the pointer rests on it, and read by a screen reader.
    pub(super) description: String,
    /// This drill.
    pub(super) now: bool,
}

pub(super) fn layout(report: &Report) -> Option<Trend> {
    if report.history.is_empty() {
        return None;
    }
    let now = Past {
        drill_id: report.drill_id.to_string(),
        started_at: report.started_at,
        verdict: Some(report.verdict),
        rto_s: report.measured.rto_s,
        rpo_s: report.measured.rpo_s,
    };
    let runs: Vec<&Past> = report.history.iter().chain([&now]).collect();
    let longest = runs.iter().filter_map(|run| run.rto_s).fold(1.0, f64::max);
    let height = |seconds: f64| (GROUND - TOP) * (seconds / longest).clamp(0.0, 1.0);
    let bars = runs.iter().enumerate().map(|(index, run)| bar(run, index, runs.len(), height)).collect();
    let objective = report.objectives.rto_s;
    Some(Trend {
        bars,
        objective: (objective <= longest).then(|| GROUND - height(objective)),
        objective_label: format!("objective {objective:.0} s"),
        highest: format!("{longest:.1} s"),
    })
}

#[expect(clippy::cast_precision_loss, reason = "there are at most a few dozen")]
fn bar(run: &Past, index: usize, count: usize, height: impl Fn(f64) -> f64) -> Bar {
    let place = (RIGHT - LEFT) / count as f64;
    let width = (place * BAR_SHARE).min(BAR_MAX);
    let x = LEFT + place * (index as f64 + 0.5) - width / 2.0;
    let height = run.rto_s.map_or(0.0, height);
    let (class, sign, word) = match run.verdict {
        Some(Verdict::Passed) => ("passed", "✓", "passed"),
        Some(Verdict::Failed) => ("failed", "✗", "failed"),
        Some(Verdict::CouldNotVerify) => ("unknown", "?", "could not verify"),
        None => ("unknown", "–", "interrupted"),
    };
    let rto = run.rto_s.map_or_else(|| "no recovery time".to_owned(), |rto| format!("RTO {rto:.1} s"));
    Bar {
        x,
        y: GROUND - height,
        width,
        height,
        class,
        sign,
        sign_x: x + width / 2.0,
        sign_y: GROUND + 18.0,
        description: format!("{}: {word}, {rto}", instant(run.started_at)),
        now: index + 1 == count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn there_is_no_picture_without_an_earlier_drill() {
        assert!(layout(&sample::passing()).is_none());
    }

    #[test]
    fn every_drill_has_a_place_within_the_picture_and_an_interrupted_one_no_height() {
        let trend = layout(&sample::after_others()).unwrap();
        assert_eq!(trend.bars.len(), 4);
        for bar in &trend.bars {
            assert!(bar.x >= LEFT && bar.x + bar.width <= RIGHT && bar.y >= TOP && bar.height >= 0.0, "{bar:?}");
        }
        let interrupted = &trend.bars[1];
        assert!(interrupted.height == 0.0 && interrupted.description.contains("interrupted"));
        assert!(trend.bars.iter().map(|bar| bar.now).eq([false, false, false, true]));
    }
}
