//! Showing how far a backup or a restore is: bars on a terminal, a line per step otherwise. All of it on standard error.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use archive::{Progress, Step};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Shows progress.
#[derive(Debug)]
pub(crate) struct Reporter {
    /// `None`: lines.
    bars: Option<MultiProgress>,
    running: Mutex<HashMap<Step, Running>>,
}

#[derive(Debug)]
struct Running {
    bar: Option<ProgressBar>,
    since: Instant,
}

impl Reporter {
    pub(crate) fn new() -> Arc<Self> {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Arc::new(Self { bars, running: Mutex::default() })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Step, Running>> {
        self.running.lock().expect("no holder of this lock can panic")
    }
}

impl Progress for Reporter {
    fn begin(&self, step: Step, total: u64) {
        let bar = self.bars.as_ref().map(|bars| bars.add(bar(step, total)));
        self.running().insert(step, Running { bar, since: Instant::now() });
    }

    fn advance(&self, step: Step, by: u64) {
        if let Some(Running { bar: Some(bar), .. }) = self.running().get(&step) {
            bar.inc(by);
        }
    }

    fn end(&self, step: Step, outcome: &str) {
        let Some(Running { bar, since }) = self.running().remove(&step) else { return };
        let line = format!("{:<18} {outcome} ({:.1} s)", step.label(), since.elapsed().as_secs_f64());
        match (bar, &self.bars) {
            (Some(bar), Some(bars)) => {
                bar.finish_and_clear();
                // A terminal that is gone takes the line with it.
                let _ = bars.println(line);
            }
            _ => eprintln!("{line}"),
        }
    }
}

fn bar(step: Step, total: u64) -> ProgressBar {
    let shape = match (step.counts_bytes(), total) {
        (true, 0) => "{prefix:18} {spinner} {bytes} {binary_bytes_per_sec}",
        (false, 0) => "{prefix:18} {spinner} {elapsed}",
        (true, _) => "{prefix:18} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
        (false, _) => "{prefix:18} [{bar:30}] {pos}/{len}",
    };
    let style = ProgressStyle::with_template(shape).expect("the templates above are well formed").progress_chars("=> ");
    let bar = if total == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(total) };
    bar.set_style(style);
    bar.set_prefix(step.label());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_bar_whatever_is_known_of_it() {
        let steps = [
            Step::Snapshot,
            Step::Dump,
            Step::Measure,
            Step::CollectBlobs,
            Step::Seal,
            Step::Verify,
            Step::Database,
            Step::PlaceBlobs,
        ];
        for step in steps {
            for total in [0, 7] {
                assert_eq!(bar(step, total).prefix(), step.label());
            }
        }
    }
}
