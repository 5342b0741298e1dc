//! Clusters that leave nothing behind.

use std::path::Path;

use crate::binaries::Binaries;
use crate::cluster::Cluster;
use crate::error::StartError;
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
}

/// Whether a sweep took the folder away while it was still unclaimed. Rare, and harmless: another name does it.
fn swept(folder: &Path, error: &StartError) -> bool {
    matches!(error, StartError::Owned { .. } | StartError::Io { .. }) && !folder.exists()
}
