//! Copies of folders: whole ones, and ones that share their files.
//!
//! Not here: copies of clusters (`localpg`), which need their owners.

use std::io;
use std::path::Path;

use walkdir::WalkDir;

/// Copies `from` to the new folder `to`.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    each(from, to, |from, to| std::fs::copy(from, to).map(drop))
}

/// As [`copy`], with links to the same files: for files that are replaced and never written into.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    each(from, to, |from, to| std::fs::hard_link(from, to))
}

fn each(from: &Path, to: &Path, place: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    for entry in WalkDir::new(from) {
        let entry = entry?;
        let to = to.join(entry.path().strip_prefix(from).map_err(io::Error::other)?);
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&to)?;
        } else {
            place(entry.path(), &to)?;
        }
    }
    Ok(())
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
}
