//! Removing what killed processes left.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::claim::{Claim, ClaimError};
use crate::home::{self, PREFIX};
use crate::postmaster::stop_leftover;

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
    if let Some(sockets) = claim.previous_sockets() {
        home::remove_sockets(&home, sockets);
    }
    std::fs::remove_dir_all(&home).map_err(|error| error.to_string())?;
    Ok(true)
}
