//! Copies of folders: whole ones, and ones that share their files.
//!
//! Files and folders only. A symbolic link leads out of the folder, and a socket is nothing to keep: both are refused.
//!
//! Not here: copies of clusters that a server has run (`localpg`), which need their owners; which files must be there.

use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// Copies `from` to the folder `to`. Gives back how many files there were.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    each(from, to, |from, to| std::fs::copy(from, to).map(drop))
}

/// As [`copy`], for who may not wait.
pub(crate) async fn copied(from: PathBuf, to: PathBuf) -> io::Result<u64> {
    tokio::task::spawn_blocking(move || copy(&from, &to)).await?
}

/// As [`copy`], with links to the same files: for files that are replaced and never written into.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<u64> {
    each(from, to, |from, to| std::fs::hard_link(from, to))
}

fn each(from: &Path, to: &Path, place: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<u64> {
    let mut files = 0;
    for entry in WalkDir::new(from).follow_links(false) {
        let entry = entry?;
        let to = to.join(entry.path().strip_prefix(from).map_err(io::Error::other)?);
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&to)?;
        } else if entry.file_type().is_file() {
            place(entry.path(), &to)?;
            files += 1;
        } else {
            return Err(io::Error::other(format!("{} is neither a file nor a folder", entry.path().display())));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_in_a_linked_copy_stays_in_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::create_dir_all(one.join("deep")).unwrap();
        std::fs::write(one.join("deep/file"), "original").unwrap();
        link(&one, &two).unwrap();
        std::fs::write(folder.path().join("new"), "replaced").unwrap();
        std::fs::rename(folder.path().join("new"), two.join("deep/file")).unwrap();
        assert_eq!(std::fs::read_to_string(one.join("deep/file")).unwrap(), "original");
        assert_eq!(std::fs::read_to_string(two.join("deep/file")).unwrap(), "replaced");
    }

    #[test]
    fn files_are_copied_and_a_link_is_refused() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(from.path().join("orgs/a")).unwrap();
        std::fs::write(from.path().join("orgs/a/blob"), "x").unwrap();
        assert_eq!(copy(from.path(), to.path()).unwrap(), 1);
        assert_eq!(std::fs::read(to.path().join("orgs/a/blob")).unwrap(), b"x");
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("orgs/link")).unwrap();
        assert!(copy(from.path(), to.path()).is_err());
    }
}
