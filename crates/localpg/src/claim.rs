//! Owning a home folder.
//!
//! `owner` is locked for as long as its cluster is in use. Its first line is the owner's process id, for people; its
//! second the folder of the socket, so that whoever comes after a killed owner can remove it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = "owner";

/// A held lock on a home folder. Lost with the process.
#[derive(Debug)]
pub(crate) struct Claim {
    file: File,
    previous_sockets: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) enum ClaimError {
    /// Somebody alive holds it. Carries the process id that they wrote.
    Held(String),
    Io(io::Error),
}

impl From<io::Error> for ClaimError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Claim {
    /// Claims `home`, whoever had it before.
    pub(crate) fn take(home: &Path) -> Result<Self, ClaimError> {
        Self::lock(home, OpenOptions::new().create(true))
    }

    /// Claims `home` if it was ever claimed.
    pub(crate) fn take_existing(home: &Path) -> Result<Self, ClaimError> {
        Self::lock(home, &mut OpenOptions::new())
    }

    fn lock(home: &Path, options: &mut OpenOptions) -> Result<Self, ClaimError> {
        let path = home.join(NAME);
        let mut file = options.read(true).write(true).truncate(false).mode(0o644).open(&path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ClaimError::Held(first_line(&text))),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // A sweep may have removed the file between our opening and our locking it: then we hold nothing.
        if std::fs::metadata(&path)?.ino() != file.metadata()?.ino() {
            return Err(ClaimError::Held(first_line(&text)));
        }
        let previous_sockets = text.lines().nth(1).filter(|line| !line.is_empty()).map(PathBuf::from);
        Ok(Self { file, previous_sockets })
    }

    /// The socket folder of the owner before this one.
    pub(crate) fn previous_sockets(&self) -> Option<&Path> {
        self.previous_sockets.as_deref()
    }

    /// Writes down who we are and where our socket will be, before that folder is made.
    pub(crate) fn record(&mut self, sockets: &Path) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        write!(self.file, "{}\n{}\n", std::process::id(), sockets.display())?;
        self.file.flush()
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("(unknown)").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_claims_wins_and_the_other_learns_who() {
        let home = tempfile::tempdir().unwrap();
        let mut first = Claim::take(home.path()).unwrap();
        first.record(Path::new("/tmp/sockets")).unwrap();
        match Claim::take(home.path()) {
            Err(ClaimError::Held(pid)) => assert_eq!(pid, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        drop(first);
        let second = Claim::take(home.path()).unwrap();
        assert_eq!(second.previous_sockets(), Some(Path::new("/tmp/sockets")));
    }

    #[test]
    fn a_folder_that_was_never_claimed_is_not_swept_into_a_claim() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(Claim::take_existing(home.path()), Err(ClaimError::Io(_))));
        assert!(!home.path().join(NAME).exists());
    }
}
