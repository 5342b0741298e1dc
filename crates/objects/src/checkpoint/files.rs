//! The files of a checkpoint: found in a workspace, sealed as objects, put back in place.
//!
//! Restoring builds a folder beside the workspace and then swaps the two by renaming, so nobody ever meets half of a
//! workspace. The staged folder is fresh and made here, so no link in it can lead a write elsewhere.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::manifest::File;
use super::{OpenError, SaveError};
use crate::key::{CheckpointKey, ObjectKeys};
use crate::objects::Objects;

/// A larger file can't be saved: it is held in memory while it is sealed.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Permission bits that are kept. No set-user-id and the like.
const MODE: u32 = 0o777;
/// The name of a file's object, and with it its content, in the associated data of its seal.
const AAD: &[u8] = b"cowork checkpoint file 1 ";

pub(super) struct Found {
    pub(super) folders: Vec<String>,
    pub(super) files: Vec<FoundFile>,
}

pub(super) struct FoundFile {
    pub(super) path: String,
    mode: u32,
}

/// Everything below `workspace`, sorted by path.
pub(super) fn find(workspace: &Path) -> Result<Found, SaveError> {
    let mut found = Found { folders: Vec::new(), files: Vec::new() };
    for entry in walkdir::WalkDir::new(workspace).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| SaveError::Read {
            path: error.path().unwrap_or(workspace).display().to_string(),
            source: error.into(),
        })?;
        let path = relative(workspace, entry.path())?;
        let read = |source: walkdir::Error| SaveError::Read { path: path.clone(), source: source.into() };
        let metadata = entry.metadata().map_err(read)?;
        if metadata.is_dir() {
            found.folders.push(path);
        } else if !metadata.is_file() {
            return Err(SaveError::Unsupported { path, what: "neither a file nor a folder" });
        } else if metadata.len() > FILE_BYTES_MAX {
            return Err(SaveError::Unsupported { path, what: "larger than 256 MiB" });
        } else {
            found.files.push(FoundFile { path, mode: metadata.permissions().mode() & MODE });
        }
    }
    Ok(found)
}

fn relative(workspace: &Path, path: &Path) -> Result<String, SaveError> {
    let below = path.strip_prefix(workspace).unwrap_or(path);
    let unsupported = || SaveError::Unsupported { path: below.display().to_string(), what: "a name that is not UTF-8" };
    Ok(below.to_str().ok_or_else(unsupported)?.to_owned())
}

/// Seals one file of the workspace, read at `from`, as an object, or finds that it is there already.
pub(super) async fn put(
    objects: Objects,
    key: CheckpointKey,
    keys: ObjectKeys,
    from: PathBuf,
    file: FoundFile,
) -> Result<File, SaveError> {
    let path = file.path.clone();
    let sealing = tokio::task::spawn_blocking(move || {
        let content = fs::read(from).map_err(|source| SaveError::Read { path, source })?;
        seal(&key, &content).map(|(name, sealed)| (content.len() as u64, name, sealed))
    });
    let (size, name, sealed) = sealing.await.expect("sealing does not panic")?;
    let blob = objects.ensure(&keys.checkpoint_file(&name), sealed.into()).await?;
    Ok(File {
        path: file.path,
        mode: file.mode,
        size,
        blob_key: blob.key,
        blob_size: blob.size,
        blob_sha256: hex::encode(blob.sha256),
    })
}

fn seal(key: &CheckpointKey, content: &[u8]) -> Result<([u8; 32], Vec<u8>), SaveError> {
    let compressed = zstd::bulk::compress(content, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(SaveError::Compress)?;
    let name = key.name(&compressed);
    Ok((name, key.seal(&[AAD, &name].concat(), &compressed)))
}

/// A file with its content, read from its object and checked.
pub(super) async fn get(objects: Objects, key: CheckpointKey, file: File) -> Result<(File, Vec<u8>), OpenError> {
    let blob = file.blob().ok_or_else(|| OpenError::Manifest(format!("{:?} names no object", file.path)))?;
    let sealed = objects.get_blob(&blob).await?;
    let size = file.size;
    let opening = tokio::task::spawn_blocking(move || unseal(&key, &blob.key, size, &sealed));
    Ok((file, opening.await.expect("opening does not panic")?))
}

fn unseal(key: &CheckpointKey, blob_key: &str, size: u64, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let refused = || OpenError::Sealed(blob_key.to_owned());
    let name = blob_key.rsplit('/').next().and_then(|name| hex::decode(name).ok()).ok_or_else(refused)?;
    let compressed = key.open(&[AAD, &name].concat(), sealed).ok_or_else(refused)?;
    let capacity = usize::try_from(size.min(FILE_BYTES_MAX)).expect("the limit fits");
    let content = zstd::bulk::decompress(&compressed, capacity).map_err(|_| refused())?;
    if content.len() as u64 == size { Ok(content) } else { Err(refused()) }
}

/// A workspace in the making, beside the one that it will replace. Removed if it does not.
#[derive(Debug)]
pub(super) struct Staged {
    folder: PathBuf,
    workspace: PathBuf,
}

impl Staged {
    pub(super) fn new(workspace: &Path) -> Result<Self, OpenError> {
        let folder = beside(workspace, "restoring");
        remove(&folder)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(written(&folder))?;
        Ok(Self { folder, workspace: workspace.to_owned() })
    }

    pub(super) fn folders(&self, folders: &[String]) -> Result<(), OpenError> {
        for folder in folders {
            let path = self.folder.join(folder);
            fs::create_dir(&path).map_err(written(&path))?;
        }
        Ok(())
    }

    pub(super) fn file(&self, file: &File, content: &[u8]) -> Result<(), OpenError> {
        let path = self.folder.join(&file.path);
        let mut options = fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut opened = opened.map_err(written(&path))?;
        opened.write_all(content).map_err(written(&path))?;
        opened.set_permissions(fs::Permissions::from_mode(file.mode & MODE)).map_err(written(&path))
    }

    /// Renames the old workspace away and this one in. A crash between the two leaves none, which a worker that
    /// claims the session restores again.
    pub(super) fn put_in_place(self) -> Result<(), OpenError> {
        let old = beside(&self.workspace, "replaced");
        remove(&old)?;
        match fs::rename(&self.workspace, &old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(written(&self.workspace)(error)),
            _ => fs::rename(&self.folder, &self.workspace).map_err(written(&self.workspace))?,
        }
        remove(&old)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `put_in_place` there is nothing here any more.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn beside(workspace: &Path, what: &str) -> PathBuf {
    let mut name = workspace.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}"));
    workspace.with_file_name(name)
}

fn remove(folder: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(written(folder)(error)),
        _ => Ok(()),
    }
}

fn written(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Write { path, source }
}
