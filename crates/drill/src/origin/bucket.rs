//! A copied bucket: the files of an object store, without anything that says which must be there.
//!
//! Copied, not linked: what the restored system does to its objects must not reach the backup. Symbolic links are not
//! followed, for they lead out of the bucket.
//!
//! Not here: which objects the rows name (`checks::objects`).

use std::path::Path;

use anyhow::{Context as _, bail};
use walkdir::WalkDir;

/// Copies every file below `from` to the same place below `to`. Gives back how many there were.
pub(super) async fn copy(from: &Path, to: &Path) -> anyhow::Result<u64> {
    let (from, to) = (from.to_owned(), to.to_owned());
    tokio::task::spawn_blocking(move || copy_all(&from, &to)).await?
}

/// As [`copy`], where one may wait. Also for the folder of a physical backup.
pub(super) fn copy_all(from: &Path, to: &Path) -> anyhow::Result<u64> {
    let mut copied = 0;
    for entry in WalkDir::new(from).follow_links(false) {
        let entry = entry.context("the copied files can't be read")?;
        let place = to.join(entry.path().strip_prefix(from).expect("it lies below"));
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&place)?;
        } else if entry.file_type().is_file() {
            std::fs::copy(entry.path(), &place).context("a file can't be copied")?;
            copied += 1;
        } else {
            bail!("{} is neither a file nor a folder", entry.path().display());
        }
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_copied_and_a_link_is_refused() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(from.path().join("orgs/a")).unwrap();
        std::fs::write(from.path().join("orgs/a/blob"), "x").unwrap();
        assert_eq!(copy_all(from.path(), to.path()).unwrap(), 1);
        assert_eq!(std::fs::read(to.path().join("orgs/a/blob")).unwrap(), b"x");
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("orgs/link")).unwrap();
        assert!(copy_all(from.path(), to.path()).is_err());
    }
}
