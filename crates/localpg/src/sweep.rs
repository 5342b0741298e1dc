//! Removing what killed processes left.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;

use crate::claim::{Claim, ClaimError};
use crate::home::{self, PREFIX};
use crate::postmaster::stop_leftover;
use crate::process;

/// How long processes that were killed may take to be gone.
const KILLED: Duration = Duration::from_secs(20);

/// What a sweep saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Homes of dead owners, now gone.
    pub removed: Vec<PathBuf>,
    /// Homes of dead owners whose server didn't stop or whose files didn't go, and why.
    pub stuck: Vec<(PathBuf, String)>,
}

/// Stops and removes the temporary clusters under `parent` whose owner is dead. Those of the living, those of other
/// users, and everything that is not a cluster of ours stay.
#[must_use]
pub fn sweep(parent: &Path) -> SweepReport {
    let mut report = SweepReport::default();
    let Ok(entries) = std::fs::read_dir(parent) else { return report };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let folder = entry.path();
        match sweep_home(&folder) {
            Ok(true) => report.removed.push(folder),
            Ok(false) => {}
            Err(detail) => report.stuck.push((folder, detail)),
        }
    }
    report
}

/// Stops and removes the one cluster in `folder`, temporary or not, if its owner is dead. Whether it was removed.
///
/// # Errors
/// What kept it, for people, if its server didn't stop or its files didn't go.
pub fn sweep_home(folder: &Path) -> Result<bool, String> {
    let Ok(home) = folder.canonicalize() else { return Ok(false) };
    let is_ours = std::fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
    if !is_ours {
        return Ok(false);
    }
    let claim = match Claim::take_existing(&home) {
        Ok(claim) => claim,
        Err(ClaimError::Held(_)) => return Ok(false),
        // Its maker died before it claimed the folder, or is about to: only an empty folder can be removed this way,
        // and a maker that loses it takes another name.
        Err(ClaimError::Io(_)) => return Ok(std::fs::remove_dir(&home).is_ok()),
    };
    stop_leftover(&home.join("data"), true).map_err(|error| error.to_string())?;
    if !process::end_below(&home, KILLED) {
        return Err("a program of Postgres that works in it can't be ended".to_owned());
    }
    if let Some(sockets) = claim.previous_sockets() {
        home::remove_sockets(&home, sockets);
    }
    std::fs::remove_dir_all(&home).map_err(|error| error.to_string())?;
    Ok(true)
}

/// As [`sweep_home`], for every cluster below `folder`, however deep, and whatever it is called. Gives back what
/// became of them, links not followed.
#[must_use]
pub fn sweep_below(folder: &Path) -> SweepReport {
    let mut report = SweepReport::default();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let inner: Vec<PathBuf> = inner.map(|entry| entry.path()).collect();
        if !is_home(&folder) {
            folders.extend(inner);
            continue;
        }
        match sweep_home(&folder) {
            Ok(true) => report.removed.push(folder),
            Ok(false) => {}
            Err(detail) => report.stuck.push((folder, detail)),
        }
    }
    report
}

/// Whether somebody claimed the folder for a cluster.
fn is_home(folder: &Path) -> bool {
    folder.join("owner").is_file() && !folder.join("owner").is_symlink()
}
