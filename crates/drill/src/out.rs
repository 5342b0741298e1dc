//! The folder that the report goes to.
//!
//! Evidence is never overwritten: what an earlier drill left in the folder is moved to `earlier/` before a new one
//! writes. Two drills can't write to one folder at once.
//!
//! Not here: what is written (`report`, `attest`).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::error::DrillError;
use crate::report::PARTIAL;

const JOURNAL: &str = attest::bundle::JOURNAL;
const EARLIER: &str = attest::bundle::EARLIER;
/// What the drill was asked to do.
pub(crate) const PLAN: &str = "plan.json";
const LOCK: &str = ".lock";
/// What a drill writes, and so what an earlier one may have left.
const OURS: [&str; 7] =
    [JOURNAL, "evidence", PLAN, "report.json", "report.md", "report.html", attest::bundle::ENVELOPE];

/// The folder, held for one drill.
#[derive(Debug)]
pub(crate) struct Out {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Out {
    /// Makes the folder, or takes it over from an earlier drill.
    pub(crate) fn claim(path: &Path, name: &str) -> Result<Self, DrillError> {
        let failed = |source: io::Error| DrillError::Out { out: path.to_owned(), source: source.into() };
        std::fs::create_dir_all(path).map_err(failed)?;
        let foreign = entries(path).map_err(failed)?.into_iter().any(|entry| !is_ours(&entry));
        if foreign {
            return Err(DrillError::Occupied(path.to_owned()));
        }
        let file = File::create(path.join(LOCK)).map_err(failed)?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|_| DrillError::Busy(path.to_owned()))?;
        move_aside(path, name).map_err(failed)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path.join(LOCK));
    }
}

fn entries(path: &Path) -> io::Result<Vec<String>> {
    std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn is_ours(entry: &str) -> bool {
    OURS.contains(&finished(entry)) || [EARLIER, LOCK].contains(&entry)
}

/// The name that an entry was to have: a drill that was killed may have left it unfinished.
fn finished(entry: &str) -> &str {
    entry.strip_suffix(PARTIAL).and_then(|name| name.strip_suffix('.')).unwrap_or(entry)
}

fn move_aside(path: &Path, name: &str) -> io::Result<()> {
    let left: Vec<String> = entries(path)?.into_iter().filter(|entry| OURS.contains(&finished(entry))).collect();
    if left.is_empty() {
        return Ok(());
    }
    let aside = path.join(EARLIER).join(format!("before-{name}"));
    std::fs::create_dir_all(&aside)?;
    left.into_iter().try_for_each(|entry| std::fs::rename(path.join(&entry), aside.join(&entry)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_report_is_kept_and_a_strangers_folder_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("report.md"), "the first").unwrap();
        drop(Out::claim(folder.path(), "two").unwrap());
        assert_eq!(std::fs::read_to_string(folder.path().join("earlier/before-two/report.md")).unwrap(), "the first");
        std::fs::write(folder.path().join("thesis.doc"), "").unwrap();
        assert!(matches!(Out::claim(folder.path(), "three"), Err(DrillError::Occupied(_))));
    }

    #[test]
    fn what_a_killed_drill_left_half_written_is_moved_aside_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("report.json.partial"), "{").unwrap();
        std::fs::write(folder.path().join(LOCK), "").unwrap();
        drop(Out::claim(folder.path(), "two").unwrap());
        assert!(folder.path().join("earlier/before-two/report.json.partial").exists());
    }

    #[test]
    fn two_drills_can_not_write_to_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Out::claim(folder.path(), "one").unwrap();
        assert!(matches!(Out::claim(folder.path(), "two"), Err(DrillError::Busy(_))));
    }
}
