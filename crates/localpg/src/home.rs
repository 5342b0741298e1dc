//! The folder that a cluster lives in, and the folder of its socket.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::account::Account;
use crate::claim::Claim;
use crate::endpoint::PORT;
use crate::error::{StartError, io_error};

/// The kernel's limit on a socket's path, less its closing zero.
const SOCKET_PATH_MAX: usize = 107;

/// Where socket folders go whose home is too deep for one.
const SHORT_PARENT: &str = "/tmp";

/// Begins the names of temporary homes.
pub(crate) const PREFIX: &str = "cowork-pg-";

/// Begins the names of socket folders in `SHORT_PARENT`. Not `PREFIX`: a sweep must not take them for homes.
const SOCKETS_PREFIX: &str = "cowork-sock-";

/// A home folder. Its path is absolute and free of links, since the server's command line is compared with it.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    path: PathBuf,
}

impl Home {
    /// Opens `folder`, making it if need be, for use by `account`.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Account), StartError> {
        std::fs::create_dir_all(folder).map_err(io_error("make", folder))?;
        let path = folder.canonicalize().map_err(io_error("open", folder))?;
        let home = Self { path };
        let account = Account::choose(&home.data());
        account.reach(home.path.parent().unwrap_or(&home.path))?;
        if is_empty(&home.path).map_err(io_error("read", &home.path))? {
            account.admit(&home.path).map_err(io_error("set the mode of", &home.path))?;
        }
        account.reach(&home.path)?;
        Ok((home, account))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Appending. Statements that fail are quoted in it, so it is for us alone.
    pub(crate) fn open_log(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(self.log())
    }

    /// Makes the socket's folder, after noting it in `claim`.
    pub(crate) fn make_sockets(&self, claim: &mut Claim, account: Account) -> Result<PathBuf, StartError> {
        let inside = self.path.join("run");
        if fits(&inside) {
            claim.record(&inside).map_err(io_error("write", self.path.join("owner")))?;
            let _ = std::fs::remove_dir_all(&inside);
            account.create_folder(&inside).map_err(io_error("make", &inside))?;
            return Ok(inside);
        }
        numbered(Path::new(SHORT_PARENT), SOCKETS_PREFIX, |folder| {
            claim.record(folder)?;
            account.create_folder(folder)
        })
    }
}

/// Removes a socket's folder that an earlier owner noted. What doesn't look like one of ours is left alone.
pub(crate) fn remove_sockets(home: &Path, sockets: &Path) {
    let in_short_parent = sockets.parent() == Some(Path::new(SHORT_PARENT))
        && sockets.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SOCKETS_PREFIX));
    if sockets.starts_with(home) || in_short_parent {
        let _ = std::fs::remove_dir_all(sockets);
    }
}

/// Makes `parent/PREFIX-PID-N` with an `N` that is free, by means of `make`. A process gives no number twice, so that a name
/// stands for one cluster only, also when that is long gone.
fn numbered(parent: &Path, prefix: &str, mut make: impl FnMut(&Path) -> io::Result<()>) -> Result<PathBuf, StartError> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{prefix}{}-{number}", std::process::id()));
        match make(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("make", folder)(error)),
        }
    }
}

/// A home for something temporary.
pub(crate) fn create_numbered(parent: &Path) -> Result<PathBuf, StartError> {
    numbered(parent, PREFIX, |folder| std::fs::DirBuilder::new().mode(0o700).create(folder))
}

/// Short enough, and without a character that means something in the server's list of socket folders.
fn fits(folder: &Path) -> bool {
    let text = folder.to_string_lossy();
    let socket = text.len() + format!("/.s.PGSQL.{PORT}").len();
    socket <= SOCKET_PATH_MAX && text.chars().all(|char| char.is_ascii_alphanumeric() || "/._-+".contains(char))
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(std::fs::read_dir(folder)?.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_short_plain_path_holds_a_socket() {
        assert!(fits(Path::new("/tmp/x/run")));
        assert!(!fits(&Path::new("/tmp").join("x".repeat(90))));
        assert!(!fits(Path::new("/tmp/a,b")));
        assert!(!fits(Path::new("/tmp/a b")));
    }

    #[test]
    fn a_name_stands_for_one_folder_also_when_that_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let make = || numbered(parent.path(), "one-", |folder| std::fs::create_dir(folder)).unwrap();
        let first = make();
        std::fs::remove_dir(&first).unwrap();
        assert_ne!(make(), first);
    }

    #[test]
    fn a_noted_folder_that_is_not_ours_is_left_alone() {
        let other = tempfile::tempdir().unwrap();
        remove_sockets(Path::new("/home/of/a/cluster"), other.path());
        assert!(other.path().exists());
    }
}
