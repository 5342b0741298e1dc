//! The work folder of a drill: everything that it makes is below it, and nothing of it is left afterwards.
//!
//! The folder belongs to the process that made it, which is written into it. [`clean`] ends the processes and removes
//! the folders of drills whose process is gone, `kill -9` included; it never touches a drill that is alive.
//!
//! Not here: how clusters know whose they are (`localpg`).

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::processes;

const PREFIX: &str = "cowork-drill-";
const OWNER: &str = "owner.json";
/// What a folder is called until it says whose it is; the maker's pid and start follow.
const NEW_PREFIX: &str = "cowork-drill-new-";
/// How long processes that were killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

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
    /// Makes `PARENT/cowork-drill-NAME`. There is no instant at which it would not say whose it is.
    pub(crate) fn create(parent: &Path, name: &str) -> io::Result<Self> {
        let pid = std::process::id();
        let owner = Owner { pid, start_ticks: processes::start_ticks_of(pid).unwrap_or_default() };
        std::fs::create_dir_all(parent)?;
        let new = parent.join(format!("{NEW_PREFIX}{}-{}", owner.pid, owner.start_ticks));
        std::fs::create_dir_all(&new)?;
        std::fs::write(new.join(OWNER), serde_json::to_vec(&owner)?)?;
        let path = parent.join(format!("{PREFIX}{name}"));
        std::fs::rename(new, &path)?;
        Ok(Self { path, keep: false })
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

/// What dead drills left, and what became of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// Work folders, now gone.
    pub folders: Vec<PathBuf>,
    /// Pid and command line of processes that were ended.
    pub processes: Vec<(u32, String)>,
    /// Folders of database clusters that were stopped and removed.
    pub clusters: Vec<PathBuf>,
    /// What is still there, and why.
    pub stuck: Vec<(PathBuf, String)>,
}

/// Ends the processes and removes the clusters and folders of drills below `parent` whose own process is gone. Drills
/// that are alive, and targets that were kept on purpose, stay.
#[must_use]
pub fn clean(parent: &Path) -> Cleaned {
    let mut cleaned = Cleaned::default();
    for folder in abandoned(parent) {
        cleaned.processes.extend(end_processes(&folder));
        let within = localpg::sweep_below(&folder);
        cleaned.clusters.extend(within.removed);
        cleaned.stuck.extend(within.stuck);
        match std::fs::remove_dir_all(&folder) {
            Ok(()) => cleaned.folders.push(folder),
            Err(error) => cleaned.stuck.push((folder, error.to_string())),
        }
    }
    let swept = localpg::sweep(parent);
    cleaned.clusters.extend(swept.removed);
    cleaned.stuck.extend(swept.stuck);
    cleaned
}

/// The work folders of dead drills.
fn abandoned(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).filter(|path| is_abandoned(path)).collect()
}

fn is_abandoned(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let owner = match name.strip_prefix(NEW_PREFIX) {
        Some(maker) => named_owner(maker),
        None if name.starts_with(PREFIX) => {
            std::fs::read(path.join(OWNER)).ok().and_then(|json| serde_json::from_slice::<Owner>(&json).ok())
        }
        None => None,
    };
    owner.is_some_and(|owner| !processes::is_alive(owner.pid, owner.start_ticks))
}

/// `PID-START`, from the name of a folder that was not finished.
fn named_owner(name: &str) -> Option<Owner> {
    let (pid, start_ticks) = name.split_once('-')?;
    Some(Owner { pid: pid.parse().ok()?, start_ticks: start_ticks.parse().ok()? })
}

/// Ends the processes that belong to a work folder, and waits until they are gone: until then they may write into it, or
/// start others.
#[expect(clippy::disallowed_methods, reason = "the kernel tells nobody but a parent when a process is gone")]
fn end_processes(path: &Path) -> Vec<(u32, String)> {
    let mut ended: Vec<(u32, String)> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let living = processes::marked_with(path);
        if living.is_empty() || Instant::now() > deadline {
            return ended;
        }
        for pid in living {
            if ended.iter().all(|(other, _)| *other != pid) {
                ended.push((pid, processes::command_line(pid)));
            }
            if let Ok(pid) = i32::try_from(pid) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
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
        assert_eq!(clean(parent.path()).folders, [dead.path()]);
        assert!(!dead.path().exists());
        assert!(live.path().exists());
    }

    #[test]
    fn a_folder_that_died_before_it_said_whose_it_is_is_swept_too() {
        let parent = tempfile::tempdir().unwrap();
        let (dead, alive) = (parent.path().join("cowork-drill-new-4000000-1"), std::process::id());
        let ticks = processes::start_ticks_of(alive).unwrap();
        let live = parent.path().join(format!("cowork-drill-new-{alive}-{ticks}"));
        for folder in [&dead, &live] {
            std::fs::create_dir(folder).unwrap();
        }
        assert_eq!(clean(parent.path()).folders, [dead]);
        assert!(live.exists());
    }

    #[test]
    fn a_target_that_was_kept_stays() {
        let parent = tempfile::tempdir().unwrap();
        let mut kept = WorkFolder::create(parent.path(), "kept").unwrap();
        kept.keep();
        assert_eq!(clean(parent.path()), Cleaned::default());
        assert!(kept.path().exists());
    }

    #[test]
    fn a_folder_goes_with_its_drill() {
        let parent = tempfile::tempdir().unwrap();
        let path = WorkFolder::create(parent.path(), "one").unwrap().path().to_owned();
        assert!(!path.exists());
    }
}
