//! The folder that drills report to, read with limits: drills lie in folders of it, in itself, and in what those keep of earlier
//! ones.
//!
//! Which drills there are is told by the first lines of their journals, so a list reads whole only what its page shows. Whatever
//! else lies there is told or left out; it fails nothing.
//!
//! Not here: whether a bundle is what was signed (`attest`).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use attest::Conclusion;
use attest::bundle::{EARLIER, ENVELOPE, JOURNAL, REPORT};
use clock::Timestamp;
use ids::DrillId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Verdict;

/// How many folders are looked at.
const FOLDERS: usize = 2_000;
/// How much of a journal is read for its first line.
const FIRST_LINE_BYTES: u64 = 1 << 16;
/// How large a report may be. Ours have some hundred kilobytes.
const REPORT_BYTES: u64 = 16 << 20;
/// How many folders are told that can't be understood. All are counted.
const UNREADABLE_TOLD: usize = 20;
/// Rows of a report.
const ROWS: usize = 10;

/// A drill's folder.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) drill: DrillId,
    pub(super) started_at: Timestamp,
    pub(super) build: Option<String>,
    pub(super) folder: PathBuf,
}

/// What a first look found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The newest first, each drill once.
    pub(super) places: Vec<Place>,
    pub(super) unreadable: Vec<Unknown>,
    pub(super) unreadable_total: usize,
}

/// A folder with a journal that does not say which drill's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UnreadableDrill)]
pub(super) struct Unknown {
    /// Its name, below the folder of drills.
    name: String,
    reason: String,
}

/// What a drill's folder tells.
#[derive(Debug)]
pub(super) enum Told {
    Concluded(Box<Report>),
    Interrupted,
    Unreadable(String),
}

/// What is shown of `report.json`, of whatever version.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) drill_id: DrillId,
    pub(super) started_at: Timestamp,
    pub(super) finished_at: Timestamp,
    pub(super) verdict: Verdict,
    pub(super) build: String,
    pub(super) objectives: Seconds,
    pub(super) measured: Seconds,
    pub(super) checks: Vec<Check>,
    pub(super) stages: Vec<Stage>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Seconds {
    pub(super) rto_s: Option<f64>,
    pub(super) rpo_s: Option<f64>,
}

/// A row of the report.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DrillCheck)]
pub(super) struct Check {
    /// `postgres-restore`, `object-store-restore` and so on.
    id: String,
    title: String,
    verdict: Verdict,
    /// What was seen; what is wrong, if something is.
    summary: String,
    /// How many things were compared with what was expected of them.
    comparisons: u64,
    /// The first of them.
    findings: Vec<Found>,
    pub(super) findings_total: u64,
}

/// What a check found.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DrillFinding)]
pub(super) struct Found {
    /// Which comparison did not hold; docs/reference/finding-codes.md lists them.
    code: String,
    sentence: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DrillStage)]
pub(super) struct Stage {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    duration_ms: u64,
    /// `done`, `failed` or `skipped`.
    outcome: String,
}

/// Which drills there are. A folder that is not there yet has none.
pub(super) fn look(folder: &Path) -> io::Result<Look> {
    let mut folders = vec![folder.to_owned()];
    match folders_in(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::default()),
        found => folders.extend(found?),
    }
    let earlier: Vec<PathBuf> =
        folders.iter().flat_map(|folder| folders_in(&folder.join(EARLIER)).unwrap_or_default()).collect();
    folders.extend(earlier);
    folders.truncate(FOLDERS);
    let (mut look, mut known) = (Look::default(), BTreeSet::new());
    for place in folders {
        match begun(&place) {
            None => {}
            Some(Ok(begun)) if known.insert(begun.drill) => look.places.push(begun),
            Some(Ok(_)) => look.tell(folder, &place, "another folder holds the same drill".to_owned()),
            Some(Err(reason)) => look.tell(folder, &place, reason),
        }
    }
    look.places.sort_by_key(|place| std::cmp::Reverse(place.drill));
    Ok(look)
}

impl Look {
    fn tell(&mut self, above: &Path, place: &Path, reason: String) {
        self.unreadable_total += 1;
        if self.unreadable.len() < UNREADABLE_TOLD {
            let name = place.strip_prefix(above).unwrap_or(place).to_string_lossy();
            let name = if name.is_empty() { ".".to_owned() } else { name.chars().take(200).collect() };
            self.unreadable.push(Unknown { name, reason });
        }
    }
}

/// The plain folders in a folder, those with the last names first: drills are named by their time.
fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.flatten();
    let plain = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut folders: Vec<PathBuf> = plain.take(FOLDERS).map(|entry| entry.path()).collect();
    folders.sort_by(|one, other| other.cmp(one));
    Ok(folders)
}

/// What the first entry of a journal says. `None`: there is no journal.
fn begun(folder: &Path) -> Option<Result<Place, String>> {
    let path = folder.join(JOURNAL);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // Such as a pipe, which nobody may ever write to.
        Ok(found) if !found.is_file() => Some(Err(format!("its {JOURNAL} is no plain file"))),
        Ok(_) | Err(_) => Some(first_entry(&path).and_then(|entry| place(folder, &entry))),
    }
}

fn first_entry(journal: &Path) -> Result<attest::Entry, String> {
    let file = File::open(journal).map_err(|_| format!("its {JOURNAL} can't be read"))?;
    let mut line = Vec::new();
    let read = BufReader::new(file.take(FIRST_LINE_BYTES)).read_until(b'\n', &mut line);
    read.map_err(|_| format!("its {JOURNAL} can't be read"))?;
    let whole = line.strip_suffix(b"\n").ok_or("the first entry of its journal is not whole")?;
    serde_json::from_slice(whole).map_err(|_| "the first line of its journal is no entry".to_owned())
}

fn place(folder: &Path, first: &attest::Entry) -> Result<Place, String> {
    let text = |name: &str| first.data.get(name).and_then(|value| value.as_str());
    let drill = text("drill_id").and_then(|id| id.parse().ok()).ok_or("its journal does not say which drill it is")?;
    let build = text("build").map(|build| build.chars().take(200).collect());
    Ok(Place { drill, started_at: first.at, build, folder: folder.to_owned() })
}

impl Place {
    /// Whether there is an envelope. Nobody has looked into it.
    pub(super) fn sealed(&self) -> bool {
        std::fs::symlink_metadata(self.folder.join(ENVELOPE)).is_ok_and(|found| found.is_file())
    }

    pub(super) fn told(&self) -> Told {
        match attest::bundle::conclusion(&self.folder) {
            Ok(Conclusion::Concluded(_)) => {
                self.report().map_or_else(Told::Unreadable, |report| Told::Concluded(report.into()))
            }
            Ok(Conclusion::Interrupted) => Told::Interrupted,
            Ok(Conclusion::Damaged(damage)) => Told::Unreadable(format!("its journal is damaged: {damage}")),
            Err(error) => Told::Unreadable(error.to_string()),
        }
    }

    fn report(&self) -> Result<Report, String> {
        let text = small(&self.folder.join(REPORT), REPORT_BYTES).map_err(|reason| format!("its {REPORT} {reason}"))?;
        // What stands there is not repeated: it may be anybody's.
        let foreign = |error: serde_json::Error| format!("its {REPORT} is no report, from line {} on", error.line());
        let report: Report = serde_json::from_slice(&text).map_err(foreign)?;
        if report.drill_id != self.drill {
            return Err(format!("its {REPORT} is another drill's than its journal"));
        }
        let passed = report.checks.len() == ROWS && report.checks.iter().all(|row| row.verdict == Verdict::Passed);
        if report.verdict == Verdict::Passed && !passed {
            return Err(format!("its {REPORT} says that it passed, and its rows do not"));
        }
        Ok(report)
    }
}

/// A plain file of at most `limit` bytes; or what is wrong with it, after its name.
pub(super) fn small(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let found = std::fs::symlink_metadata(path).map_err(|_| "can't be read")?;
    if !found.is_file() {
        return Err("is no plain file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|_| "can't be read")?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|_| "can't be read")?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= limit);
    if fits { Ok(bytes) } else { Err(format!("is larger than {limit} bytes")) }
}
