//! `cowork drill export`, and `--export` of `cowork drill run`.
//!
//! Not here: the forms (`drill::report::export`).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::drill::report::export::Format;
use ::drill::report::{Report, json};
use attest::Conclusion;
use attest::bundle::{self, REPORT};
use clap::Args;

use crate::failure::Failure;
use crate::process::Process;

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The drill's report folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// junit, prometheus, github or oscal
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// Where it goes; standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `FORMAT=PATH`.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    format: Format,
    path: PathBuf,
}

impl Export {
    pub(crate) fn run(self, process: &Process) -> Result<ExitCode, Failure> {
        let folder = process.working_directory.join(&self.folder);
        let report = read(&folder)?;
        match self.out {
            Some(path) => {
                let target = Target { format: self.format, path };
                refuse_within(std::slice::from_ref(&target), &folder, process)?;
                target.write(&report, process)?;
            }
            None => print!("{}", self.format.render(&report)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The report of a drill that came to its end.
fn read(folder: &Path) -> Result<Report, Failure> {
    let advice = "Name the folder of a drill that came to its end.";
    let what = format!("The report in {} can't be used.", folder.display());
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| Failure::could_not(what.clone(), error, advice);
    match bundle::conclusion(folder).map_err(|error| failed(error.into()))? {
        Conclusion::Concluded(_) => {}
        Conclusion::Interrupted => return Err(failed("the drill was interrupted".into())),
        Conclusion::Damaged(damage) => return Err(failed(damage.into())),
    }
    let text = std::fs::read_to_string(folder.join(REPORT)).map_err(|error| failed(error.into()))?;
    json::read(&text).map_err(|error| failed(error.into()))
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (format, path) = text.split_once('=').ok_or("it is written FORMAT=PATH")?;
        let format = format.parse::<Format>().map_err(|error| error.to_string())?;
        if path.is_empty() {
            Err("it is written FORMAT=PATH".to_owned())
        } else {
            Ok(Self { format, path: path.into() })
        }
    }

    /// Whole or not at all, but for the form that grows.
    pub(super) fn write(&self, report: &Report, process: &Process) -> Result<(), Failure> {
        let (path, text) = (process.working_directory.join(&self.path), self.format.render(report));
        let written = if self.format.appends() { append(&path, &text) } else { replace(&path, &text) };
        written.map_err(|error| {
            let what = format!("The report could not be exported to {}.", path.display());
            Failure::could_not(what, error, "Name a file in a folder that you can write.")
        })
    }
}

/// What is sealed gets no more files.
pub(super) fn refuse_within(targets: &[Target], folder: &Path, process: &Process) -> Result<(), Failure> {
    match targets.iter().find(|target| process.working_directory.join(&target.path).starts_with(folder)) {
        None => Ok(()),
        Some(target) => Err(Failure::usage(
            "An export can't go into the report's folder.",
            format!("{} is within {}", target.path.display(), folder.display()),
            "Name a place outside of it: what is sealed gets no more files.",
        )),
    }
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

/// A reader such as node_exporter never sees half a file.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_added_extension("partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}
