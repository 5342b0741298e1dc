//! Temporary clusters that begin as a copy of one that was stopped: much sooner ready than a new one.
//!
//! The copy has the same system identifier: whoever tells clusters apart by it can't tell a copy from what it is of.

use std::path::Path;
use std::process::Command;

use crate::binaries::Binaries;
use crate::cluster::Cluster;
use crate::error::{StartError, io_error};
use crate::home::{Home, create_numbered};
use crate::options::Options;

impl Cluster {
    /// Copies the cluster in `stopped`, which nobody may run meanwhile, to a folder of its own under `parent`, and starts
    /// the copy. Dropping it removes it.
    ///
    /// # Errors
    /// As [`Cluster::start`], or if the copy can't be made.
    pub fn temporary_copy(
        binaries: &Binaries,
        stopped: &Path,
        parent: &Path,
        options: Options,
    ) -> Result<Self, StartError> {
        let folder = create_numbered(parent)?;
        let copied = Home::open(&folder)
            .and_then(|(home, _)| copy(&stopped.join("data"), &home.data()).map_err(io_error("copy", stopped)));
        let started = copied.and_then(|()| Self::start(binaries, &folder, options));
        started.map(Self::into_temporary).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(&folder);
        })
    }
}

/// With owners and modes, and without copying blocks where the file system can share them.
pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto", "--"]).arg(from).arg(to);
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(std::io::Error::other(said))
}
