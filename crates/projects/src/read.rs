//! Going through an archive, entry by entry, without writing anything.
//!
//! Not here: which entries are taken (`pack`).

use std::io::{self, Cursor, Read};

use crate::pack::{Format, PackError};
use crate::{AROUND, RATIO_FROM, RATIO_MAX, UNPACKED_MAX};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File {
        executable: bool,
    },
    Folder,
    /// Its content is where it leads.
    Link,
    /// Something that no workspace keeps, in words.
    Other(&'static str),
}

/// Who is shown each entry: its name as it stands there, what it is, and its content.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], Kind, &mut dyn Read) -> Result<(), PackError> + 'a;

/// Shows every entry of `archive` in its order.
pub(crate) fn each(archive: &[u8], visit: &mut Visit<'_>) -> Result<Format, PackError> {
    match archive {
        [0x1f, 0x8b, ..] => tar_gz(archive, visit).map(|()| Format::TarGz),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => zip(archive, visit).map(|()| Format::Zip),
        _ => Err(PackError::NoArchive),
    }
}

/// How much may be unpacked from so many bytes.
pub(crate) fn limit(archive: usize) -> u64 {
    UNPACKED_MAX.min(RATIO_FROM.max(RATIO_MAX.saturating_mul(archive as u64)))
}

fn tar_gz(archive: &[u8], visit: &mut Visit<'_>) -> Result<(), PackError> {
    tar(Limited::new(flate2::read::MultiGzDecoder::new(archive), limit(archive.len()) + AROUND), visit)
}

pub(crate) fn tar(limited: Limited<impl Read>, visit: &mut Visit<'_>) -> Result<(), PackError> {
    let mut tar = tar::Archive::new(limited);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let name = entry.path_bytes().into_owned();
        let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                Kind::File { executable: entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0) }
            }
            tar::EntryType::Directory => Kind::Folder,
            // Of the whole archive: what `git archive` says of its commit.
            tar::EntryType::XGlobalHeader => continue,
            tar::EntryType::Symlink => {
                visit(&name, Kind::Link, &mut target.unwrap_or_default().as_slice())?;
                continue;
            }
            tar::EntryType::Link => {
                Kind::Other("it is another name of a file (a hard link): pack that file twice (--hard-dereference)")
            }
            _ => Kind::Other("it is neither a file nor a folder"),
        };
        visit(&name, kind, &mut entry)?;
    }
    // To its end, where the checksum stands.
    io::copy(&mut tar.into_inner(), &mut io::sink())?;
    Ok(())
}

fn zip(archive: &[u8], visit: &mut Visit<'_>) -> Result<(), PackError> {
    let broken = |error: zip::result::ZipError| PackError::Broken(error.to_string());
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).map_err(broken)?;
    for at in 0..zip.len() {
        let mut entry = zip.by_index(at).map_err(broken)?;
        let name = entry.name_raw().to_vec();
        let mode = entry.unix_mode().unwrap_or(0);
        let kind = match mode & 0o170_000 {
            0o120_000 => Kind::Link,
            0 | 0o100_000 | 0o040_000 if name.ends_with(b"/") => Kind::Folder,
            0 | 0o100_000 => Kind::File { executable: mode & 0o100 != 0 },
            _ => Kind::Other("it is neither a file nor a folder"),
        };
        visit(&name, kind, &mut entry)?;
    }
    Ok(())
}

impl From<io::Error> for PackError {
    fn from(error: io::Error) -> Self {
        match error.get_ref() {
            Some(inner) if inner.is::<TooMuch>() => Self::TooLarge("it unpacks to more than it may"),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// Gives out so many bytes, and fails where one more would come.
pub(crate) struct Limited<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("there is more than may be")]
struct TooMuch;

impl<R: Read> Limited<R> {
    pub(crate) fn new(inner: R, left: u64) -> Self {
        Self { inner, left }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(TooMuch))?;
        Ok(read)
    }
}
