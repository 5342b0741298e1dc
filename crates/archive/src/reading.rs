//! Files of an archive that somebody else may have made: only plain ones are opened, and only so much of them is kept.
//!
//! A link, a device or a pipe in the place of a file is refused before it is opened: it could lead anywhere, or never end.
//! Folders may be links, so that an archive can lie on several disks.
//!
//! Not here: what the files say (`verify`, `layout`). Somebody who changes the archive while it is read is not noticed here;
//! hashes notice.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

/// `archive.json`, a manifest, its sum. Ours have some hundred kilobytes.
pub(crate) const SMALL_MAX: u64 = 64 << 20;
/// One line of a list.
pub(crate) const LINE_MAX: u64 = 1 << 20;
/// Lines of one list: objects of a very large system.
pub(crate) const LINES_MAX: usize = 10_000_000;

/// Opens a plain file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if kind.is_file() { File::open(path) } else { Err(unfit("it is no plain file")) }
}

/// A small file as a whole.
pub(crate) fn small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(SMALL_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SMALL_MAX { Err(unfit("it is too large")) } else { Ok(bytes) }
}

/// The lines of a file, without their ends.
pub(crate) fn lines(file: File) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    let mut reader = BufReader::new(file);
    let mut count = 0;
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        count += 1;
        if line.len() as u64 == LINE_MAX && !line.ends_with(b"\n") {
            return Some(Err(unfit("a line is too long")));
        }
        if count > LINES_MAX {
            return Some(Err(unfit("it has too many lines")));
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        Some(Ok(line))
    })
}

/// As damage is told, not as a fault of the machine.
fn unfit(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "one\ntwo").unwrap();
        let all: Vec<_> = lines(open(&path).unwrap()).map(Result::unwrap).collect();
        assert_eq!(all, [b"one", b"two"]);
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(lines(open(&path).unwrap()).next().unwrap().is_err());
        assert!(small(&path).is_err());
    }

    #[test]
    fn what_is_no_plain_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        for path in [path.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert_eq!(small(path).unwrap_err().kind(), io::ErrorKind::InvalidData, "{}", path.display());
        }
    }
}
