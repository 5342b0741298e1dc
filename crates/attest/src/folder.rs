//! The files of a bundle as they lie in a folder that somebody else may have made.
//!
//! Only plain files in plain folders are looked at. Links are never followed, so nothing outside of the folder is read,
//! and folders can't go round in a circle. How many files there are, how deep and how large in all, is bounded.
//!
//! Not here: what must be there (`bundle`). A folder that changes while it is read is not noticed.

use std::collections::BTreeSet;
use std::fs::{DirEntry, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// How many files a bundle may have. Ours have about fifty.
pub(crate) const FILES: usize = 10_000;
/// How many folders may lie in each other.
const DEPTH: usize = 8;
/// How large all files may be together, in bytes.
pub(crate) const BYTES: u64 = 4 << 30;

/// What is wrong with a folder itself.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{0} can't be read")]
    Unreadable(String, #[source] io::Error),
    #[error("{0} is neither a plain file nor a folder, or has a name that no file of a bundle has")]
    NotPlain(String),
    #[error("there are more than {FILES} files")]
    TooMany,
    #[error("folders lie more than {DEPTH} deep in each other")]
    TooDeep,
    #[error("the files are larger than {BYTES} bytes together")]
    TooLarge,
}

/// The paths of all files below `folder`, relative, with `/`, sorted. `left_out` are names at the top.
pub(crate) fn files(folder: &Path, left_out: &[&str]) -> Result<BTreeSet<String>, FolderError> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![(String::new(), 0)];
    while let Some((prefix, depth)) = ahead.pop() {
        if depth > DEPTH {
            return Err(FolderError::TooDeep);
        }
        let unreadable = |source| FolderError::Unreadable(shown(&prefix), source);
        for entry in std::fs::read_dir(folder.join(&prefix)).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, is_folder) = place(&prefix, &entry)?;
            if prefix.is_empty() && left_out.contains(&path.as_str()) {
                continue;
            }
            if found.len() + ahead.len() >= FILES {
                return Err(FolderError::TooMany);
            }
            if is_folder {
                ahead.push((path, depth + 1));
            } else {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

/// Where an entry is, and whether it is a folder.
fn place(prefix: &str, entry: &DirEntry) -> Result<(String, bool), FolderError> {
    let name = entry.file_name();
    let told = || shown(&format!("{prefix}/{}", name.to_string_lossy()));
    let kind = entry.file_type().map_err(|source| FolderError::Unreadable(told(), source))?;
    let plain = name.to_str().filter(|name| !name.chars().any(char::is_control));
    let Some(name) = plain.filter(|_| kind.is_file() || kind.is_dir()) else {
        return Err(FolderError::NotPlain(told()));
    };
    let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    Ok((path, kind.is_dir()))
}

/// The SHA-256 of a file in hex, and its length. `room` is what is left of [`BYTES`].
pub(crate) fn digest(folder: &Path, path: &str, room: u64) -> Result<(String, u64), FolderError> {
    let unreadable = |source| FolderError::Unreadable(shown(path), source);
    let mut file = File::open(folder.join(path)).map_err(unreadable)?;
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        if read == 0 {
            return Ok((hex::encode(hash.finalize()), length));
        }
        length += read as u64;
        if length > room {
            return Err(FolderError::TooLarge);
        }
        hash.update(&buffer[..read]);
    }
}

/// A small file as a whole; `None` if it is not there. A link, a device or a larger file is an error.
pub(crate) fn small_file(folder: &Path, name: &str, limit: usize) -> Result<Option<Vec<u8>>, FolderError> {
    let path: PathBuf = folder.join(name);
    let unreadable = |source| FolderError::Unreadable(shown(name), source);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
        Ok(found) if !found.is_file() => return Err(FolderError::NotPlain(shown(name))),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(unreadable)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > limit { Err(FolderError::TooLarge) } else { Ok(Some(bytes)) }
}

/// A name from outside as it may stand in a message: quoted, without control characters, bounded.
pub(crate) fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(200).collect::<String>())
}
