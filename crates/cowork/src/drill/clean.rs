//! `cowork drill clean`: what killed drills left goes. Running drills and kept targets stay.
//!
//! Not here: how they are told apart (`drill::clean`).

use std::path::PathBuf;
use std::process::ExitCode;

use ::drill::Cleaned;
use clap::Args;
use serde_json::json;

use crate::failure::{EXIT_FAILED, Failure};
use crate::process::Process;

#[derive(Debug, Args)]
pub(crate) struct Clean {
    /// Below which folder the drills worked
    /// [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Print what was removed as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Clean {
    pub(crate) fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        let named = self.work.as_ref().map(|work| process.working_directory.join(work));
        let work = named.unwrap_or_else(|| super::work_parent(process));
        std::fs::read_dir(&work).map_err(|error| {
            let what = format!("The folder {} can't be read.", work.display());
            Failure::could_not(what, error, "Name the folder that was given to `cowork drill run --work`.")
        })?;
        let cleaned = ::drill::clean(&work);
        if self.json {
            println!("{:#}", json!(cleaned));
        } else {
            tell(&cleaned);
        }
        Ok(if cleaned.stuck.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }
}

fn tell(cleaned: &Cleaned) {
    for (pid, line) in &cleaned.processes {
        println!("ended    {pid}  {line}");
    }
    for cluster in &cleaned.clusters {
        println!("stopped  {}", cluster.display());
    }
    for folder in &cleaned.folders {
        println!("removed  {}", folder.display());
    }
    for (path, why) in &cleaned.stuck {
        println!("LEFT     {}: {why}", path.display());
    }
    if *cleaned == Cleaned::default() {
        println!("Nothing was left.");
    }
}
