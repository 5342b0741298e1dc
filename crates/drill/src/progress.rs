//! What a person sees while a drill runs, and at its end.
//!
//! On a terminal the running stages move (a spinner, or a bar where the count is known) and finished ones stay as lines.
//! Elsewhere, and when asked to be quiet, every stage is one plain line when it begins and one when it ends. Progress goes
//! to stderr; the ten rows at the end go to stdout. A word stands beside every colour and sign.
//!
//! Not here: whether there is a terminal, and `NO_COLOR`: the binary looks and passes [`Mode`]. Nothing that is printed
//! here decides anything; what counts is in the journal and the report.

mod table;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use console::{Style, Term};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::report::{Outcome, Report, plain};

/// How wide lines are where there is no terminal to ask.
const PLAIN_WIDTH: usize = 120;

/// How often a moving stage is redrawn.
const REDRAW_MS: u64 = 100;

/// Where the duration stands in the line of a finished stage.
const TITLE_COLUMNS: usize = 56;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Lines that move; for a terminal. Otherwise plain lines.
    pub live: bool,
    /// Colour, on a terminal that wants it.
    pub colour: bool,
}

impl Mode {
    /// Plain lines without colour.
    pub const PLAIN: Self = Self { live: false, colour: false };
}

/// Shows the stages of a drill. Cheap to clone; stages may run side by side.
#[derive(Clone)]
pub struct Progress {
    mode: Mode,
    bars: MultiProgress,
    out: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Progress").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Progress {
    /// Shows progress on stderr.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self::on(mode, Box::new(std::io::stderr()))
    }

    /// Writes plain lines to `out`. Moving lines go to stderr all the same.
    #[must_use]
    pub fn on(mode: Mode, out: Box<dyn Write + Send>) -> Self {
        Self { mode, bars: MultiProgress::new(), out: Arc::new(Mutex::new(out)) }
    }

    /// Begins a stage.
    #[must_use]
    pub fn stage(&self, title: &str) -> StageHandle {
        let title = plain(title);
        let bar = if self.mode.live {
            let bar = self.bars.add(ProgressBar::new_spinner().with_style(spinner()).with_prefix(title.clone()));
            bar.enable_steady_tick(Duration::from_millis(REDRAW_MS));
            bar
        } else {
            self.line(&format!("begins   {title}"));
            ProgressBar::hidden()
        };
        StageHandle { progress: self.clone(), title, bar, begun: Instant::now(), quarter: Mutex::new(0), ended: false }
    }

    /// Prints a line between the stages: what to do during a pause, where something is.
    pub fn line(&self, text: &str) {
        if self.mode.live && !self.bars.is_hidden() && self.bars.println(text).is_ok() {
            return;
        }
        let mut out = self.out.lock().expect("no holder of this lock can panic");
        // A reader that went away (a closed pipe) is no reason to end a drill.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// Prints the ten rows, the verdict, and where the reports are, to stdout.
    pub fn table(&self, report: &Report, out_dir: &Path) {
        let term = Term::stdout();
        let width = if self.mode.live { usize::from(term.size().1) } else { PLAIN_WIDTH };
        // As above: nobody reads on.
        let _ = term.write_str(&table::render(report, out_dir, width, self.mode.colour));
    }
}

/// A stage that is being shown. Dropped without [`StageHandle::finish`] (an error on its way up) it shows as failed.
#[derive(Debug)]
pub struct StageHandle {
    progress: Progress,
    title: String,
    bar: ProgressBar,
    begun: Instant,
    /// The last quarter that a plain line told.
    quarter: Mutex<u64>,
    ended: bool,
}

impl StageHandle {
    /// Tells how far the stage is. A total of zero means that nobody knows.
    pub fn tick(&self, done: u64, total: u64) {
        if total == 0 {
            return;
        }
        if self.progress.mode.live {
            if self.bar.length() != Some(total) {
                self.bar.set_style(counted());
                self.bar.set_length(total);
            }
            self.bar.set_position(done);
        } else {
            self.tell_quarter(done, total);
        }
    }

    /// Tells what the stage is at, in a few words.
    pub fn note(&self, text: &str) {
        let text = plain(text);
        if self.progress.mode.live {
            self.bar.set_message(text);
        } else {
            self.progress.line(&format!("         {}: {text}", self.title));
        }
    }

    /// Ends the stage.
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    /// Plain lines are for logs: a line each quarter is enough.
    fn tell_quarter(&self, done: u64, total: u64) {
        let now = done.saturating_mul(4) / total;
        let mut told = self.quarter.lock().expect("no holder of this lock can panic");
        if now > *told && now < 4 {
            *told = now;
            self.progress.line(&format!("         {}: {done} of {total}", self.title));
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        self.bar.finish_and_clear();
        self.progress.bars.remove(&self.bar);
        let line = finished(&self.title, outcome, self.begun.elapsed(), self.progress.mode);
        self.progress.line(&line);
    }
}

impl Drop for StageHandle {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Outcome::Failed);
        }
    }
}

/// The line of a finished stage.
fn finished(title: &str, outcome: Outcome, took: Duration, mode: Mode) -> String {
    let (sign, colour) = match outcome {
        Outcome::Done => ("✓", Style::new().green()),
        Outcome::Failed => ("✗", Style::new().red().bold()),
        Outcome::Skipped => ("-", Style::new().yellow()),
    };
    let lead = if mode.live { format!("{sign} {:<7}", outcome.word()) } else { format!("{:<8}", outcome.word()) };
    let lead = colour.force_styling(mode.colour).apply_to(lead);
    format!("{lead} {}  {:>9}", console::pad_str(title, TITLE_COLUMNS, console::Alignment::Left, None), short(took))
}

/// A duration for people.
fn short(took: Duration) -> String {
    match took.as_secs() {
        0 => format!("{} ms", took.as_millis()),
        1..60 => format!("{:.1} s", took.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

fn spinner() -> ProgressStyle {
    style("{spinner:.cyan} {elapsed:>6} {prefix}  {msg:.dim}")
}

fn counted() -> ProgressStyle {
    style("{spinner:.cyan} {elapsed:>6} {prefix}  {wide_bar:.cyan/dim} {human_pos}/{human_len}  {msg:.dim}")
        .progress_chars("━╸─")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are well formed").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written, for both ends of a test.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The plain lines that `show` leads to, without durations.
    fn lines(show: impl FnOnce(&Progress)) -> Vec<String> {
        let written = Written::default();
        show(&Progress::on(Mode::PLAIN, Box::new(written.clone())));
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.chars().take(45).collect::<String>().trim_end().to_owned()).collect()
    }

    #[test]
    fn a_stage_without_a_terminal_is_a_line_at_each_end() {
        let lines = lines(|progress| progress.stage("restore Postgres").finish(Outcome::Done));
        assert_eq!(lines, ["begins   restore Postgres", "done     restore Postgres"]);
    }

    #[test]
    fn a_count_without_a_terminal_is_told_each_quarter() {
        let lines = lines(|progress| {
            let stage = progress.stage("copy");
            (0..=1_000).for_each(|done| stage.tick(done, 1_000));
            stage.finish(Outcome::Done);
        });
        assert_eq!(
            lines[1..4],
            ["         copy: 250 of 1000", "         copy: 500 of 1000", "         copy: 750 of 1000"]
        );
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn a_stage_that_an_error_ended_shows_as_failed() {
        let lines = lines(|progress| drop(progress.stage("restore Postgres")));
        assert_eq!(lines[1], "failed   restore Postgres");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(short(Duration::from_millis(43)), "43 ms");
        assert_eq!(short(Duration::from_millis(4_310)), "4.3 s");
        assert_eq!(short(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn colour_is_only_where_it_was_asked_for() {
        let line = |colour| finished("x", Outcome::Failed, Duration::ZERO, Mode { live: true, colour });
        assert!(line(true).contains('\u{1b}') && !line(false).contains('\u{1b}'));
        assert!(line(false).starts_with("✗ failed"));
    }
}
