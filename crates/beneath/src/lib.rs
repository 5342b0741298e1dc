//! Files below a folder that somebody else fills, without following a link.
//!
//! Agents and what they run make links in their workspaces, to anywhere. Whoever opens `workspace.join(path)` for them follows
//! those with rights of its own. Here a path is gone through name by name, each opened in the folder before it (`openat`,
//! `O_NOFOLLOW`), so what is reached lies below the folder, also if somebody changes it meanwhile.
//!
//! Not promised: anything about hard links and mounts. That what was opened still has its name.
//!
//! Not here: which files a checkpoint keeps (`objects`), what agents themselves may reach (`agents::sandbox`).

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Error, ErrorKind, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;

/// Of a folder on the way, and of the folder itself.
const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Of a file. A pipe that nobody writes to would be waited for.
const FILE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// A folder, held open.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// # Errors
    /// If it is not there, is a link, or is no folder.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self(open(folder, FOLDER, Mode::empty())?))
    }

    /// Opens a file to be read. `path` is relative, and has no part that moves.
    ///
    /// # Errors
    /// If it is not there, is something else than a file, lies behind a link or would lie outside.
    pub fn read(&self, path: &Path) -> io::Result<File> {
        let (parent, name) = self.parent(path, false)?;
        plain(openat(parent, name, FILE | OFlag::O_RDONLY, Mode::empty()))
    }

    /// Writes a file, new or in the place of its content, and the folders above it. `path` is as in [`Folder::read`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path, true)?;
        let flags = FILE | OFlag::O_WRONLY | OFlag::O_CREAT;
        let mut file = plain(openat(parent, name, flags, Mode::from_bits_truncate(0o666)))?;
        file.set_len(0)?;
        file.write_all(content)
    }

    /// Where a link leads, as it says. `None`: there is something else. `path` is as in [`Folder::read`].
    ///
    /// # Errors
    /// If nothing is there, or it lies behind a link or would lie outside.
    pub fn target(&self, path: &Path) -> io::Result<Option<OsString>> {
        let (parent, name) = self.parent(path, false)?;
        match readlinkat(parent, name) {
            Ok(target) => Ok(Some(target)),
            Err(Errno::EINVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a link, and the folders above it. `path` is as in [`Folder::read`], `target` any text.
    ///
    /// # Errors
    /// If something is there, or it would lie behind a link or outside.
    pub fn link(&self, path: &Path, target: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path, true)?;
        Ok(symlinkat(target, parent, name)?)
    }

    /// The folder that something lies in, and its name there.
    fn parent<'a>(&self, path: &'a Path, make: bool) -> io::Result<(OwnedFd, &'a OsStr)> {
        let outside = || Error::new(ErrorKind::InvalidInput, "the path leaves the folder");
        let mut names = Vec::new();
        for part in path.components() {
            let Component::Normal(name) = part else { return Err(outside()) };
            names.push(name);
        }
        let name = names.pop().ok_or_else(outside)?;
        let mut folder = self.0.try_clone()?;
        for name in names {
            if make {
                match mkdirat(folder.as_fd(), name, Mode::from_bits_truncate(0o777)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            folder = openat(folder.as_fd(), name, FOLDER, Mode::empty())?;
        }
        Ok((folder, name))
    }
}

fn plain(opened: nix::Result<OwnedFd>) -> io::Result<File> {
    const NO_FILE: &str = "there is something else than a file";
    let file = match opened {
        Ok(opened) => File::from(opened),
        // A link, and what can't be opened at all: a socket, or a pipe that nobody reads.
        Err(Errno::ELOOP | Errno::ENXIO) => return Err(Error::new(ErrorKind::InvalidInput, NO_FILE)),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(Error::new(ErrorKind::InvalidInput, NO_FILE)) }
}

/// Makes a folder for its owner alone, if it is not there. The one above it has to be.
///
/// # Errors
/// If a link or something else has its name.
pub fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Folder::open(folder).map(drop),
        made => made,
    }
}

/// Takes a folder away with all that is in it; of a link, the link. One that is not there is no error. Folders that their owner may not
/// write to, such as those of some package caches, are made so first.
///
/// # Errors
/// Then some of it may be gone.
pub fn remove(folder: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let _ = unlock(folder);
            fs::remove_dir_all(folder)
        }
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Lets the owner of all folders below and of `folder` itself change them.
fn unlock(folder: &Path) -> io::Result<()> {
    let mut ahead: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                ahead.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use caps::{CapSet, Capability};
    use nix::unistd::mkfifo;
    use tempfile::TempDir;

    use super::*;

    /// A folder, with links that lead out of it, beside a file that is nobody's business.
    fn world() -> (TempDir, PathBuf, Folder) {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir_all(inner.join("a/b")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        fs::write(inner.join("a/b/file"), "mine").unwrap();
        symlink(outer.path(), inner.join("out")).unwrap();
        symlink("../secret", inner.join("link")).unwrap();
        symlink("a/b/file", inner.join("inside")).unwrap();
        let folder = Folder::open(&inner).unwrap();
        (outer, inner, folder)
    }

    #[test]
    fn what_lies_below_is_read_and_written() {
        let (_outer, inner, folder) = world();
        let mut read = String::new();
        folder.read(Path::new("a/b/file")).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "mine");
        folder.write(Path::new("a/b/file"), b"it").unwrap();
        folder.write(Path::new("new/er/file"), b"new").unwrap();
        folder.link(Path::new("newer/link"), "/nowhere").unwrap();
        assert_eq!(fs::read_to_string(inner.join("a/b/file")).unwrap(), "it");
        assert_eq!(fs::read_to_string(inner.join("new/er/file")).unwrap(), "new");
        assert_eq!(fs::read_link(inner.join("newer/link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(folder.target(Path::new("newer/link")).unwrap().unwrap(), "/nowhere");
        assert_eq!(folder.target(Path::new("a/b/file")).unwrap(), None);
    }

    #[test]
    fn no_link_leads_anywhere() {
        let (outer, inner, folder) = world();
        for path in ["link", "inside", "out/secret", "out", "../secret", "/etc/passwd", "a/../../secret", ""] {
            assert!(folder.read(Path::new(path)).is_err(), "{path}");
            assert!(folder.write(Path::new(path), b"x").is_err(), "{path}");
        }
        assert!(folder.write(Path::new("out/new"), b"x").is_err());
        assert!(folder.link(Path::new("out/new"), "x").is_err());
        assert!(folder.target(Path::new("out/secret")).is_err());
        assert_eq!(fs::read_to_string(outer.path().join("secret")).unwrap(), "secret");
        assert_eq!(fs::read_to_string(inner.join("a/b/file")).unwrap(), "mine");
        assert!(!outer.path().join("new").exists());
        assert!(Folder::open(&inner.join("out")).is_err());
        assert!(make(&inner.join("out")).is_err());
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let (_outer, inner, folder) = world();
        mkfifo(&inner.join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
        let _socket = UnixListener::bind(inner.join("socket")).unwrap();
        for path in ["pipe", "socket", "a"] {
            assert!(folder.read(Path::new(path)).is_err(), "{path}");
            assert!(folder.write(Path::new(path), b"x").is_err(), "{path}");
        }
    }

    #[test]
    fn a_folder_goes_and_what_its_links_lead_to_stays() {
        let (outer, inner, _folder) = world();
        fs::create_dir_all(inner.join("cache/mod")).unwrap();
        fs::write(inner.join("cache/mod/file"), "x").unwrap();
        for folder in ["cache/mod", "cache"] {
            fs::set_permissions(inner.join(folder), Permissions::from_mode(0o555)).unwrap();
        }
        let inner_too = inner.clone();
        // Root may do everything; a thread of it that gave that up may do what others may.
        std::thread::spawn(move || {
            for capability in [Capability::CAP_DAC_OVERRIDE, Capability::CAP_DAC_READ_SEARCH] {
                caps::drop(None, CapSet::Effective, capability).unwrap();
            }
            assert!(fs::remove_file(inner_too.join("cache/mod/file")).is_err());
            remove(&inner_too).unwrap();
        })
        .join()
        .unwrap();
        assert!(!inner.exists());
        remove(&inner).unwrap();
        symlink(outer.path(), &inner).unwrap();
        remove(&inner).unwrap();
        assert_eq!(fs::read_to_string(outer.path().join("secret")).unwrap(), "secret");
    }
}
