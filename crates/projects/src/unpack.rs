//! Unpacking what [`crate::pack`] made.
//!
//! What is unpacked was compared with its hash before, so it is ours; it is read with the same rules all the same, since a rule may be
//! stricter by now. The workspace is a folder that whoever calls has just made: no link is in it that a name could lead through, since
//! links are made last, each without going through another.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::name::Name;
use crate::read::Limited;
use crate::{FILE_MAX, UNPACKED_MAX};

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Unpacking again won't help.
    #[error("it is not what was packed: {0}")]
    Damaged(String),
    #[error("the workspace can't be written at {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl From<io::Error> for UnpackError {
    fn from(error: io::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Writes all files into `workspace`, which is empty. Blocks.
///
/// # Errors
/// Then some of it may be there.
pub fn unpack(content: &[u8], workspace: &Path) -> Result<(), UnpackError> {
    let decoder = zstd::Decoder::new(content)?;
    // Headers and padding are less than the files may be.
    let mut tar = tar::Archive::new(Limited::new(decoder, 2 * UNPACKED_MAX));
    let mut links = Vec::new();
    for entry in tar.entries()? {
        let mut entry = entry?;
        let raw = entry.path_bytes().into_owned();
        let name = Name::read(&raw).map_err(|why| UnpackError::Damaged(why.to_owned()))?;
        let name = name.ok_or_else(|| UnpackError::Damaged("an entry has no name".to_owned()))?;
        let path = workspace.join(name.as_str());
        match entry.header().entry_type() {
            tar::EntryType::Directory => fs::create_dir_all(&path).map_err(written(&path))?,
            tar::EntryType::Regular => {
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                let mut bytes = Vec::new();
                entry.by_ref().take(FILE_MAX).read_to_end(&mut bytes)?;
                file(&path, &bytes, if executable { 0o755 } else { 0o644 }).map_err(written(&path))?;
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = name.link_to(&target).map_err(|why| UnpackError::Damaged(why.to_owned()))?;
                links.push((name, target));
            }
            _ => return Err(UnpackError::Damaged("an entry is neither a file, a folder nor a link".to_owned())),
        }
    }
    let folder = beneath::Folder::open(workspace).map_err(written(workspace))?;
    links.into_iter().try_for_each(|(name, target)| {
        folder.link(name.as_str().as_ref(), &target).map_err(written(&workspace.join(name.as_str())))
    })
}

fn file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(bytes)
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    let path = path.to_owned();
    move |source| UnpackError::Write { path, source }
}
