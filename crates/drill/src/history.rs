//! Drills that were run before, as their folders tell.
//!
//! A folder is a drill's if it has a journal. One whose journal has no end, or which has no report, was interrupted,
//! whatever else lies in it. Folders that can't be understood are left out of pictures and told in lists.
//!
//! Not here: whether a bundle is what was signed (`attest`), drawing (`report::trend`).

use std::path::{Path, PathBuf};

use attest::Conclusion;
use attest::bundle::{EARLIER, ENVELOPE, JOURNAL, REPORT};
use clock::Timestamp;
use ids::DrillId;
use serde::{Deserialize, Serialize};

use crate::report::{Past, Verdict};

/// How many folders are looked at, and how many drills a picture shows.
const FOLDERS: usize = 2_000;
const SHOWN: usize = 40;
/// How large a report may be, in bytes.
const REPORT_BYTES: u64 = 64 << 20;
/// How much of a journal is read for its first line.
const FIRST_LINE_BYTES: u64 = 1 << 16;

/// One drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    pub folder: PathBuf,
    #[serde(flatten)]
    pub past: Past,
    pub build: Option<String>,
    /// Whether there is an envelope. Nobody has checked it.
    pub sealed: bool,
    pub rto_objective_s: Option<f64>,
    pub rpo_objective_s: Option<f64>,
}

/// What was found below a folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct History {
    /// The oldest first.
    pub runs: Vec<Run>,
    /// Folders that look like a drill's and can't be understood, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// The drills in `folder` itself, in the folders in it, and in what those keep of earlier ones.
///
/// # Errors
/// If the folder can't be read.
pub fn read(folder: &Path) -> std::io::Result<History> {
    let mut history = History::default();
    let mut folders = vec![folder.to_owned()];
    folders.extend(folders_in(folder)?);
    let kept = |folder: &PathBuf| folders_in(&folder.join(EARLIER)).unwrap_or_default();
    let earlier: Vec<PathBuf> = folders.iter().take(FOLDERS).flat_map(kept).collect();
    folders.extend(earlier);
    for folder in folders.into_iter().take(FOLDERS).filter(|folder| folder.join(JOURNAL).exists()) {
        match run(&folder) {
            Ok(run) => history.runs.push(run),
            Err(reason) => history.unreadable.push((folder, reason)),
        }
    }
    history.runs.sort_by_key(|run| run.past.started_at);
    Ok(history)
}

/// What a report shows of the drills before it.
pub(crate) fn earlier(folder: &Path, than: DrillId) -> Vec<Past> {
    let runs = read(folder).map(|history| history.runs).unwrap_or_default();
    let others = runs.into_iter().map(|run| run.past).filter(|past| past.drill_id != than.to_string());
    let all: Vec<Past> = others.collect();
    all[all.len().saturating_sub(SHOWN)..].to_vec()
}

/// The plain folders in a folder, sorted.
fn folders_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.flatten();
    let plain = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut folders: Vec<PathBuf> = plain.take(FOLDERS).map(|entry| entry.path()).collect();
    folders.sort();
    Ok(folders)
}

/// What is shown of a report, of whatever version.
#[derive(Deserialize)]
struct Parts {
    drill_id: String,
    started_at: Timestamp,
    verdict: Verdict,
    build: String,
    objectives: Seconds,
    measured: Seconds,
}

#[derive(Deserialize)]
struct Seconds {
    rto_s: Option<f64>,
    rpo_s: Option<f64>,
}

fn run(folder: &Path) -> Result<Run, String> {
    match attest::bundle::conclusion(folder).map_err(|error| error.to_string())? {
        Conclusion::Concluded(_) => concluded(folder),
        Conclusion::Interrupted => interrupted(folder),
        Conclusion::Damaged(damage) => Err(format!("its journal is damaged: {damage}")),
    }
}

fn concluded(folder: &Path) -> Result<Run, String> {
    let path = folder.join(REPORT);
    let size = std::fs::metadata(&path).map_err(|error| error.to_string())?.len();
    if size > REPORT_BYTES {
        return Err(format!("its {REPORT} is larger than {REPORT_BYTES} bytes"));
    }
    let text = std::fs::read(&path).map_err(|error| error.to_string())?;
    let parts: Parts = serde_json::from_slice(&text).map_err(|error| format!("its {REPORT}: {error}"))?;
    Ok(Run {
        folder: folder.to_owned(),
        past: Past {
            drill_id: parts.drill_id,
            started_at: parts.started_at,
            verdict: Some(parts.verdict),
            rto_s: parts.measured.rto_s,
            rpo_s: parts.measured.rpo_s,
        },
        build: Some(parts.build),
        sealed: folder.join(ENVELOPE).is_file(),
        rto_objective_s: parts.objectives.rto_s,
        rpo_objective_s: parts.objectives.rpo_s,
    })
}

/// All that is known is its first entry.
fn interrupted(folder: &Path) -> Result<Run, String> {
    use std::io::{BufRead as _, Read as _};
    let file = std::fs::File::open(folder.join(JOURNAL)).map_err(|error| error.to_string())?;
    let mut line = String::new();
    std::io::BufReader::new(file.take(FIRST_LINE_BYTES)).read_line(&mut line).map_err(|error| error.to_string())?;
    let first: attest::Entry =
        serde_json::from_str(&line).map_err(|_| "it was interrupted before its first entry was whole".to_owned())?;
    let text = |name: &str| first.data.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    Ok(Run {
        folder: folder.to_owned(),
        past: Past {
            drill_id: text("drill_id").unwrap_or_else(|| "unknown".to_owned()),
            started_at: first.at,
            verdict: None,
            rto_s: None,
            rpo_s: None,
        },
        build: text("build"),
        sealed: false,
        rto_objective_s: None,
        rpo_objective_s: None,
    })
}
