//! A drill that runs beside the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::binary::cowork;
use crate::processes::living_below;
use crate::report::Report;
use crate::running::Running;
use crate::wait::wait_for;

/// A drill. Killed when dropped; what it leaves then, [`crate::Folder`] removes.
#[derive(Debug)]
pub struct Drill {
    pub running: Running,
    pub work: PathBuf,
    pub out: PathBuf,
}

/// A drill that came to its end.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub said: String,
    pub report: Report,
}

impl Ended {
    /// That all ten rows passed.
    ///
    /// # Panics
    /// With the rows that did not.
    #[track_caller]
    pub fn passed(&self) -> &Self {
        let rows = self.report.0["checks"].as_array().into_iter().flatten();
        let others: Vec<&Value> = rows.filter(|row| row["verdict"] != "passed").collect();
        assert_eq!(self.code, 0, "{others:#?}\n{}", self.said);
        assert_eq!((self.report.verdict(), self.report.rows_that("passed").len()), ("passed", 10));
        self
    }

    /// That row 1 failed with a finding of this code that names `what`, and the drill with it.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn refused_by_row_1(&self, code: &str, what: &str) -> &Self {
        self.report.assert_found("postgres-restore", code, what);
        assert_eq!((self.code, self.report.verdict()), (1, "failed"), "{}", self.said);
        self
    }
}

/// What a drill says when it waits for a person.
#[derive(Debug)]
pub struct Paused {
    pub database: String,
    pub objects: PathBuf,
    /// The lost system's recovery ledger.
    pub ledger: PathBuf,
    pub secrets: PathBuf,
    pub logs: PathBuf,
    pub canary: String,
}

impl Drill {
    /// Starts one that works below `work` and reports to `out`. Its seed is fixed, its races are not.
    #[must_use]
    pub fn start(work: &Path, out: &Path, extra: &[&str]) -> Self {
        let mut command = cowork(&["drill", "run", "--seed", "7"]);
        command.args(extra);
        Self::begin(command, work, out)
    }

    /// As [`Self::start`], without the capability that leaving the machine's network takes. Who is not root has it not anyway.
    #[must_use]
    pub fn limited(work: &Path, out: &Path, extra: &[&str]) -> Self {
        let plain = cowork(&["drill", "run", "--seed", "7"]);
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]);
            command.arg(plain.get_program()).args(plain.get_args()).env_clear();
            command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command
        } else {
            plain
        };
        command.args(extra);
        Self::begin(command, work, out)
    }

    /// Starts one of the environment that `plan` describes.
    #[must_use]
    pub fn of_plan(plan: &Path, work: &Path, out: &Path) -> Self {
        let mut command = cowork(&["drill", "run", "--plan"]);
        command.arg(plan);
        Self::begin(command, work, out)
    }

    fn begin(mut command: Command, work: &Path, out: &Path) -> Self {
        command.arg("--work").arg(work).arg("--out").arg(out);
        let name = out.file_name().map_or_else(|| "drill".into(), |name| name.to_string_lossy());
        let folder = out.parent().expect("a report's folder is below the test's");
        Self { running: Running::start(command, folder, &name), work: work.to_owned(), out: out.to_owned() }
    }

    /// Waits for an entry of its journal. A drill that ends before fails the test.
    ///
    /// # Panics
    /// If it ends, or takes too long.
    #[track_caller]
    pub fn wait_for_entry(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || {
            let ended = self.running.ended();
            let found = journal(&self.out).into_iter().find(&wanted);
            assert!(
                found.is_some() || ended.is_none(),
                "it ended with {ended:?} before: {what}\n{}",
                self.running.said()
            );
            found
        })
    }

    /// Waits until a stage has begun.
    #[track_caller]
    pub fn wait_for_stage(&mut self, stage: &str) {
        let begun = |entry: &Value| entry["kind"] == "stage_started" && entry["data"]["stage"] == stage;
        self.wait_for_entry(&format!("the stage {stage} begins"), begun);
    }

    /// Waits until it waits for Enter, and reads its directions.
    ///
    /// # Panics
    /// If they lack something.
    #[track_caller]
    pub fn wait_for_pause(&mut self) -> Paused {
        self.wait_for_stage("pause");
        let said = self.running.said();
        let direction = |name: &str| {
            let line = said.lines().find_map(|line| line.trim_start().strip_prefix(name));
            line.unwrap_or_else(|| panic!("it does not say {name:?}:\n{said}")).trim().to_owned()
        };
        let psql = direction("database");
        Paused {
            database: psql.trim_start_matches("psql").trim().trim_matches('\'').to_owned(),
            objects: direction("objects").into(),
            ledger: direction("ledger").into(),
            secrets: direction("secrets").into(),
            logs: direction("logs").into(),
            canary: direction("a canary"),
        }
    }

    pub fn enter(&mut self) {
        self.running.enter();
    }

    pub fn interrupt(&self) {
        self.running.signal(Signal::SIGINT);
    }

    /// Waits for its end, and holds it to this: nothing of it is left but its report.
    ///
    /// # Panics
    /// If something is.
    #[track_caller]
    pub fn finish(mut self) -> Ended {
        let code = self.running.wait();
        let said = self.running.said();
        let mark = self.work.join(format!("cowork-drill-{}", drill_id(&self.out)));
        assert!(!mark.exists(), "{} is left\n{said}", mark.display());
        let left: Vec<_> =
            std::fs::read_dir(&self.work).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        let own = format!("cowork-pg-{}-", self.running.pid());
        assert!(!left.iter().any(|path| path.to_string_lossy().contains(&own)), "left: {left:?}\n{said}");
        assert_eq!(living_below(&mark), [], "processes are left\n{said}");
        Ended { code, said, report: Report::read(&self.out) }
    }
}

/// The whole entries of the journal in `out`; a line that is being written is not one yet.
#[must_use]
pub fn journal(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("journal.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn drill_id(out: &Path) -> String {
    let started = journal(out).into_iter().find(|entry| entry["kind"] == "drill_started");
    started.and_then(|entry| entry["data"]["drill_id"].as_str().map(str::to_owned)).expect("a drill has an id")
}
