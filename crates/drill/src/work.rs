//! The work folder of a drill: everything that it makes is below it, and nothing of it is left afterwards.
//!
//! The folder belongs to the process that made it, which is written into it. [`sweep`] ends the processes and removes
//! the folders of drills whose process is gone, `kill -9` included; it never touches a drill that is alive.
//!
//! Not here: clusters, which `localpg` sweeps by its own owner files.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::processes;

const PREFIX: &str = "cowork-drill-";
const OWNER: &str = "owner.json";

/// A drill's own folder. Removed when dropped, unless kept.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    path: PathBuf,
    keep: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    start_ticks: u64,
}

impl WorkFolder {
    /// Makes `PARENT/cowork-drill-NAME`.
    pub(crate) fn create(parent: &Path, name: &str) -> io::Result<Self> {
        let path = parent.join(format!("{PREFIX}{name}"));
        std::fs::create_dir_all(parent)?;
        std::fs::create_dir(&path)?;
        let folder = Self { path, keep: false };
        let pid = std::process::id();
        let owner = Owner { pid, start_ticks: processes::start_ticks_of(pid).unwrap_or_default() };
        std::fs::write(folder.path.join(OWNER), serde_json::to_vec(&owner)?)?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder below, made now.
    pub(crate) fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Leaves the folder where it is; the next sweep leaves it too.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
        let _ = std::fs::remove_file(self.path.join(OWNER));
    }

    /// Removes the folder now and says whether it is gone.
    pub(crate) fn remove(self) -> io::Result<()> {
        end_processes(&self.path);
        std::fs::remove_dir_all(&self.path)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if !self.keep && self.path.exists() {
            end_processes(&self.path);
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Ends and removes what dead drills left below `parent`. Gives back how many there were.
pub(crate) fn sweep(parent: &Path) -> usize {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let abandoned = entries.map(|entry| entry.path()).filter(|path| is_abandoned(path));
    abandoned
        .inspect(|path| {
            end_processes(path);
            let _ = std::fs::remove_dir_all(path);
        })
        .count()
}

fn is_abandoned(path: &Path) -> bool {
    let named_so = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
    let owner = std::fs::read(path.join(OWNER)).ok().and_then(|json| serde_json::from_slice::<Owner>(&json).ok());
    named_so && owner.is_some_and(|owner| !processes::is_alive(owner.pid, owner.start_ticks))
}

fn end_processes(path: &Path) {
    for pid in processes::marked_with(path).into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_drills_folder_is_swept_and_a_live_ones_stays() {
        let parent = tempfile::tempdir().unwrap();
        let mut dead = WorkFolder::create(parent.path(), "dead").unwrap();
        let live = WorkFolder::create(parent.path(), "live").unwrap();
        dead.keep = true;
        std::fs::write(dead.path().join(OWNER), br#"{"pid": 4000000, "start_ticks": 1}"#).unwrap();
        assert_eq!(sweep(parent.path()), 1);
        assert!(!dead.path().exists());
        assert!(live.path().exists());
    }

    #[test]
    fn a_folder_goes_with_its_drill() {
        let parent = tempfile::tempdir().unwrap();
        let path = WorkFolder::create(parent.path(), "one").unwrap().path().to_owned();
        assert!(!path.exists());
    }
}
