//! `cowork validate ops` and `cowork validate deploy`: what documents and manifests say of the program, held against the
//! program.
//!
//! Every metric, route, command, flag and variable that is named there exists; every one that exists is documented;
//! alerts parse; plans can be carried out. Only reads.
//!
//! Not here: whether what a document explains is true. A drill and the runbook's test find that out.

mod alerts;
mod commands;
mod deployment;
mod documents;
mod mentions;
mod program;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::failure::{EXIT_FAILED, Failure};
use crate::process::Process;

#[derive(Debug, Subcommand)]
pub(crate) enum Validate {
    /// Hold the documents against the program: metrics, routes, commands, variables, runbooks, links
    #[command(after_long_help = EXIT_CODES)]
    Ops(Where),
    /// Hold the manifests of `deploy/` against the program: services, units, Kubernetes, alerts, plans
    #[command(after_long_help = EXIT_CODES)]
    Deploy(Where),
}

const EXIT_CODES: &str =
    "Exit codes: 0 all of it holds, 1 something does not, 2 it could not be read, 64 called wrongly.";

#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The folder that `docs/` and `deploy/` are in
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

/// Something that a document or a manifest says, and that is not so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Problem {
    /// Below the root.
    file: String,
    line: usize,
    sentence: String,
}

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Files, and names in them. Nothing looked at is nothing proven.
    pub(crate) files: usize,
    pub(crate) looked_at: usize,
    pub(crate) problems: Vec<Problem>,
}

impl Findings {
    /// Notes that `holds` was looked at.
    fn expect(&mut self, holds: bool, file: &str, line: usize, sentence: impl FnOnce() -> String) {
        self.looked_at += 1;
        if !holds {
            self.problems.push(Problem { file: file.to_owned(), line, sentence: sentence() });
        }
    }
}

/// A file below the root that was read.
#[derive(Debug)]
pub(crate) struct Text {
    name: String,
    text: String,
}

impl Validate {
    fn place(&self) -> &Where {
        match self {
            Self::Ops(place) | Self::Deploy(place) => place,
        }
    }

    pub(crate) fn json(&self) -> bool {
        self.place().json
    }

    pub(crate) fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        let root = process.working_directory.join(&self.place().root);
        let folder = match self {
            Self::Ops(_) => "docs",
            Self::Deploy(_) => "deploy",
        };
        if !root.join(folder).is_dir() {
            return Err(Failure::could_not(
                "There is nothing to validate.",
                format!("there is no folder {folder} in {}", root.display()),
                "Name the folder that it is in with --root.",
            ));
        }
        let found = match self {
            Self::Ops(_) => documents::examine(&root),
            Self::Deploy(_) => deployment::examine(&root),
        };
        let mut found = found.map_err(|error| {
            Failure::could_not("Something can't be read.", error, "See that every file there is readable text.")
        })?;
        found.problems.sort();
        found.problems.dedup();
        self.tell(&found);
        Ok(if found.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }

    fn tell(&self, found: &Findings) {
        let Findings { files, looked_at, problems } = found;
        if self.json() {
            return println!("{}", json!({"files": files, "looked_at": looked_at, "problems": problems}));
        }
        for Problem { file, line, sentence } in problems {
            println!("{file}:{line}: {sentence}");
        }
        println!("{looked_at} names in {files} files were looked at; {} problems.", problems.len());
    }
}

/// The files below `folder` with one of these endings, by name.
fn texts(root: &Path, folder: &str, endings: &[&str]) -> std::io::Result<Vec<Text>> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root.join(folder)).sort_by_file_name() {
        let entry = entry?;
        let ending = entry.path().extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if entry.file_type().is_file() && endings.contains(&ending) {
            found.push(text(root, entry.path())?);
        }
    }
    Ok(found)
}

fn text(root: &Path, path: &Path) -> std::io::Result<Text> {
    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| std::io::Error::new(error.kind(), format!("{name}: {error}")))?;
    Ok(Text { name, text })
}
