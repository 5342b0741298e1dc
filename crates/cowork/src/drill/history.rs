//! `cowork drill history`: the drills of a folder, the oldest first.
//!
//! Not here: reading them (`drill::history`). Whether a bundle is what was signed says `cowork drill verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use ::drill::history::{self, History, Run};
use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::process::Process;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// The folder that has the report folders in it, or one of those
    #[arg(value_name = "DIR", default_value = "drill-reports")]
    folder: PathBuf,
    /// Print them as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl List {
    pub(crate) fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        let folder = process.working_directory.join(&self.folder);
        let history = history::read(&folder).map_err(|error| {
            let what = format!("The folder {} can't be read.", folder.display());
            Failure::could_not(what, error, "Name the folder that drills report to.")
        })?;
        if self.json {
            println!("{:#}", json!(history));
        } else {
            tell(&history);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(history: &History) {
    if history.runs.is_empty() && history.unreadable.is_empty() {
        println!("No drill has reported here.");
        return;
    }
    println!("{:<20} {:<16} {:>9} {:>9}  {:<8} folder", "started (UTC)", "verdict", "RTO", "RPO", "sealed");
    for run in &history.runs {
        println!("{}", line(run));
    }
    for (folder, why) in &history.unreadable {
        println!("{:<20} {:<16} {}: {why}", "-", "UNREADABLE", folder.display());
    }
}

fn line(run: &Run) -> String {
    let past = &run.past;
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} s"));
    format!(
        "{:<20} {:<16} {:>9} {:>9}  {:<8} {}",
        past.started_at.format("%Y-%m-%d %H:%M:%S"),
        past.verdict.map_or("interrupted", ::drill::report::Verdict::word),
        seconds(past.rto_s),
        seconds(past.rpo_s),
        if run.sealed { "yes" } else { "no" },
        run.folder.display()
    )
}
