//! Clusters that leave nothing behind.

use std::io;
use std::path::Path;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::cluster::Cluster;
use crate::error::{StartError, io_error};
use crate::home::create_numbered;
use crate::options::Options;

impl Cluster {
    /// Starts a fresh cluster in a folder of its own under `parent`, for data that is thrown away. Dropping it removes
    /// it; if this process is killed, [`crate::sweep`] does.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn temporary(binaries: &Binaries, parent: &Path) -> Result<Self, StartError> {
        Self::temporary_with(binaries, parent, Options::fast())
    }

    /// [`Cluster::temporary`] with options of one's own.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn temporary_with(binaries: &Binaries, parent: &Path, options: Options) -> Result<Self, StartError> {
        loop {
            let folder = create_numbered(parent)?;
            match Self::start(binaries, &folder, options) {
                Ok(cluster) => return Ok(cluster.into_temporary()),
                Err(error) if swept(&folder, &error) => {}
                Err(error) => {
                    let _ = std::fs::remove_dir_all(&folder);
                    return Err(error);
                }
            }
        }
    }

    /// Starts a cluster whose data somebody else has made: a physical backup. `filled` is a folder on the file system of
    /// `parent` with `data` and whatever `data` refers to as `../NAME`; all of it is moved. Dropping the cluster removes
    /// it.
    ///
    /// # Errors
    /// As [`Cluster::start`]; then nothing of it is left.
    pub fn temporary_from(
        binaries: &Binaries,
        parent: &Path,
        filled: &Path,
        options: Options,
    ) -> Result<Self, StartError> {
        let folder = create_numbered(parent)?;
        let moved = hand_over(filled, &folder).map_err(io_error("hand over", filled));
        let started = moved.and_then(|()| Self::start(binaries, &folder, options));
        if started.is_err() {
            let _ = std::fs::remove_dir_all(&folder);
        }
        Ok(started?.into_temporary())
    }
}

fn hand_over(filled: &Path, folder: &Path) -> io::Result<()> {
    let account = Account::choose(&filled.join("data"));
    for entry in std::fs::read_dir(filled)? {
        let entry = entry?;
        account.own(&entry.path())?;
        std::fs::rename(entry.path(), folder.join(entry.file_name()))?;
    }
    account.admit(folder)
}

/// Whether a sweep took the folder away while it was still unclaimed. Rare, and harmless: another name does it. A folder that is
/// gone can't be entered either.
fn swept(folder: &Path, error: &StartError) -> bool {
    let of_a_lost_folder =
        matches!(error, StartError::Owned { .. } | StartError::Io { .. } | StartError::NotReachable { .. });
    of_a_lost_folder && !folder.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_swept_is_told_from_one_that_keeps_the_account_out() {
        let kept = tempfile::tempdir().unwrap();
        let out = |folder: &Path| swept(folder, &StartError::NotReachable { folder: folder.to_owned(), uid: 1 });
        assert!(!out(kept.path()));
        assert!(out(&kept.path().join("gone")));
    }
}
