//! The files of a checkpoint: found in a workspace, sealed as objects, put back in place.
//!
//! Nothing here follows a link. What is found is opened without (`beneath`). Restoring builds a folder beside the workspace and then
//! swaps the two by renaming, so nobody ever meets half of a workspace. The staged folder is fresh and made here, and its links are
//! made when all else is there, so none can lead a write elsewhere.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt as _, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beneath::Folder;
use walkdir::{DirEntry, WalkDir};

use super::manifest::{File, Link};
use super::{Kind, LeftOut, OpenError, SaveError};
use crate::key::{CheckpointKey, ObjectKeys};
use crate::objects::Objects;

/// A larger file can't be saved: it is held in memory while it is sealed.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// More can't be named by a manifest, whatever they are called. One with longer names holds less.
const ENTRIES_MAX: usize = 500_000;
/// Permission bits that are kept. No set-user-id and the like.
const MODE: u32 = 0o777;
/// The name of a file's object, and with it its content, in the associated data of its seal.
const AAD: &[u8] = b"cowork checkpoint file 1 ";

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) folders: Vec<String>,
    /// Paths.
    pub(super) files: Vec<String>,
    pub(super) links: Vec<Link>,
    pub(super) left_out: LeftOut,
}

/// Everything below `workspace`, which `folder` holds open, sorted by path.
pub(super) fn find(workspace: &Path, folder: &Folder) -> Result<Found, SaveError> {
    let mut found = Found::default();
    let walk = WalkDir::new(workspace).follow_root_links(false).min_depth(1).sort_by_file_name();
    for (number, entry) in walk.into_iter().enumerate() {
        if number == ENTRIES_MAX {
            return Err(SaveError::too_many());
        }
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(workspace);
            unread(&path.strip_prefix(workspace).unwrap_or(path).display().to_string(), error.into())
        })?;
        let path = entry.path().strip_prefix(workspace).unwrap_or(entry.path());
        let Some(path) = path.to_str() else { return Err(SaveError::no_utf8(path, "has a name that is not UTF-8")) };
        take(&mut found, folder, path.to_owned(), &entry)?;
    }
    Ok(found)
}

fn take(found: &mut Found, folder: &Folder, path: String, entry: &DirEntry) -> Result<(), SaveError> {
    let kind = entry.file_type();
    if kind.is_dir() {
        found.folders.push(path);
    } else if kind.is_symlink() {
        let target = folder.target(path.as_ref()).and_then(|target| target.ok_or_else(|| ErrorKind::NotFound.into()));
        let target = target.map_err(|error| unread(&path, error))?;
        let Some(target) = target.to_str() else {
            return Err(SaveError::no_utf8(path.as_ref(), "is a link to something whose name is not UTF-8"));
        };
        found.links.push(Link { path, target: target.to_owned() });
    } else if kind.is_file() {
        let metadata = entry.metadata().map_err(|error| unread(&path, error.into()))?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(SaveError::too_large(path));
        }
        found.files.push(path);
    } else {
        let kind = if kind.is_socket() {
            Kind::Socket
        } else if kind.is_fifo() {
            Kind::Pipe
        } else {
            Kind::Device
        };
        found.left_out.add(path, kind);
    }
    Ok(())
}

/// What may not be read now may not be read when it is tried again.
fn unread(path: &str, source: std::io::Error) -> SaveError {
    match source.kind() {
        ErrorKind::PermissionDenied => SaveError::forbidden(path.to_owned()),
        _ => SaveError::Read { path: path.to_owned(), source },
    }
}

/// Seals one file of the workspace as an object, or finds that it is there already.
pub(super) async fn put(
    objects: Objects,
    key: CheckpointKey,
    keys: ObjectKeys,
    folder: Arc<Folder>,
    path: String,
) -> Result<File, SaveError> {
    let from = path.clone();
    let sealing = tokio::task::spawn_blocking(move || {
        let (mode, content) = read(&folder, &from)?;
        seal(&key, &content).map(|(name, sealed)| (mode, content.len() as u64, name, sealed))
    });
    let (mode, size, name, sealed) = sealing.await.expect("sealing does not panic")?;
    let blob = objects.ensure(&keys.checkpoint_file(&name), sealed.into()).await?;
    let blob_sha256 = hex::encode(blob.sha256);
    Ok(File { path, mode, size, blob_key: blob.key, blob_size: blob.size, blob_sha256 })
}

/// Permission bits, and content. It may have become another file since it was found.
pub(super) fn read(folder: &Folder, path: &str) -> Result<(u32, Vec<u8>), SaveError> {
    let failed = |source| unread(path, source);
    let file = folder.read(path.as_ref()).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & MODE;
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > FILE_BYTES_MAX { Err(SaveError::too_large(path.to_owned())) } else { Ok((mode, content)) }
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
        beneath::remove(&folder).map_err(written(&folder))?;
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

    /// Must come last: from then on a path may lead through one of them.
    pub(super) fn links(&self, links: &[Link]) -> Result<(), OpenError> {
        for link in links {
            let path = self.folder.join(&link.path);
            symlink(&link.target, &path).map_err(written(&path))?;
        }
        Ok(())
    }

    /// Renames the old workspace away and this one in. A crash between the two leaves none, which a worker that
    /// claims the session restores again.
    pub(super) fn put_in_place(self) -> Result<(), OpenError> {
        let old = beside(&self.workspace, "replaced");
        beneath::remove(&old).map_err(written(&old))?;
        match fs::rename(&self.workspace, &old) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(written(&self.workspace)(error)),
            _ => fs::rename(&self.folder, &self.workspace).map_err(written(&self.workspace))?,
        }
        beneath::remove(&old).map_err(written(&old))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `put_in_place` there is nothing here any more.
        let _ = beneath::remove(&self.folder);
    }
}

fn beside(workspace: &Path, what: &str) -> PathBuf {
    let mut name = workspace.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}"));
    workspace.with_file_name(name)
}

fn written(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Write { path, source }
}
