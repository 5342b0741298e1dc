//! Checkpoints: an agent's workspace and state, saved so that any other worker can go on.
//!
//! A checkpoint is a manifest and the files that it names. Each file is compressed, then sealed under the org's data
//! key, as an object of its own that checkpoints share. The manifest is sealed with the ids of org, session and
//! checkpoint, so one can't be passed for another. Opening checks everything before the workspace is touched.
//!
//! Kept: regular files with their permission bits, folders, and links as they say, wherever they lead: nothing here follows one. A file
//! with several names comes back as several files. Not kept: times, owners, rights of folders. Sockets, pipes and devices are left
//! out, and whoever saves learns which: they are nothing without the process that made them. A workspace with something else that can't
//! be kept can't be saved, rather than silently lose it (decision 0099).
//!
//! Not here: the rows of checkpoints (`store::checkpoint`), when one is saved (`worker`).

mod files;
mod left_out;
mod manifest;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use beneath::Folder;
use futures::{StreamExt, TryStreamExt};
use ids::{CheckpointId, OrgId, SessionId};
use serde_json::Value;

pub use self::left_out::{Kind, LeftOut, Omission};
use self::manifest::{File, Manifest};
use crate::key::{CheckpointKey, ObjectKeys};
use crate::objects::{Blob, Objects, ObjectsError};

/// Files of one checkpoint that are read or written at the same time.
const AT_ONCE: usize = 8;

/// Which checkpoint, of what. Part of what its manifest is sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointName {
    pub org: OrgId,
    pub session: SessionId,
    pub checkpoint: CheckpointId,
}

/// What an agent goes on from, besides its workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// The newest event that it covers.
    pub sequence: i64,
    pub state: Value,
    /// Of the workspace.
    pub left_out: LeftOut,
}

/// What a workspace holds, as it was looked at.
#[derive(Debug)]
pub struct Contents {
    folder: Arc<Folder>,
    found: files::Found,
}

impl Contents {
    /// What a checkpoint of it won't have.
    #[must_use]
    pub fn left_out(&self) -> &LeftOut {
        &self.found.left_out
    }
}

/// The objects of a checkpoint that was just saved, all durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCheckpoint {
    pub manifest: Blob,
    /// Each once, sorted by key.
    pub files: Vec<Blob>,
}

#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The workspace holds something that a checkpoint can't keep. Saving again won't help.
    #[error("the workspace can't be saved: {path} {what}")]
    Unsupported {
        path: String,
        what: &'static str,
        /// What somebody can do about it.
        advice: &'static str,
    },
    #[error("the workspace can't be read at {path}")]
    Read { path: String, source: std::io::Error },
    #[error("a file could not be compressed")]
    Compress(#[source] std::io::Error),
    #[error("the object store did not take it")]
    Objects(#[from] ObjectsError),
}

impl SaveError {
    fn no_utf8(path: &Path, what: &'static str) -> Self {
        let advice = "give it a name in UTF-8, or take it away at the end";
        Self::Unsupported { path: path.display().to_string(), what, advice }
    }

    fn too_large(path: String) -> Self {
        let advice = "make it smaller or take it away at the end; what is needed for a while only belongs into the folder for \
                      temporary files, which is not saved";
        Self::Unsupported { path, what: "is larger than 256 MiB", advice }
    }

    fn forbidden(path: String) -> Self {
        let advice = "give its owner the right to read it, and to enter it if it is a folder";
        Self::Unsupported { path, what: "can't be read: permission denied", advice }
    }

    fn too_many() -> Self {
        let advice = "take away at the end what can be made again";
        let what = "holds more files than a checkpoint can name, which is about 200,000";
        Self::Unsupported { path: "it".to_owned(), what, advice }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An object that it needs is missing, changed or can't be read.
    #[error("an object of the checkpoint can't be used")]
    Objects(#[from] ObjectsError),
    #[error("{0} does not open under the org's data key")]
    Sealed(String),
    #[error("the manifest can't be used: {0}")]
    Manifest(String),
    #[error("the workspace can't be written at {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

/// Looks at what the folder `workspace` holds, for [`save`].
///
/// # Errors
/// As there.
pub async fn look(workspace: &Path) -> Result<Contents, SaveError> {
    let workspace = workspace.to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        let read = |source| SaveError::Read { path: workspace.display().to_string(), source };
        let folder = Folder::open(&workspace).map_err(read)?;
        let found = files::find(&workspace, &folder)?;
        Ok(Contents { folder: Arc::new(folder), found })
    });
    looking.await.expect("looking does not panic")
}

/// Saves what a workspace holds, and the agent's state. All objects are durable when this returns.
///
/// # Errors
/// `Unsupported` will come again; the others may not.
pub async fn save(
    objects: &Objects,
    key: &CheckpointKey,
    generation: i64,
    name: CheckpointName,
    contents: Contents,
    saved: &Saved,
) -> Result<SavedCheckpoint, SaveError> {
    let keys = ObjectKeys { org: name.org, generation };
    let Contents { folder, found } = contents;
    let files: Vec<File> = futures::stream::iter(found.files)
        .map(|path| files::put(objects.clone(), key.clone(), keys, folder.clone(), path))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let Saved { sequence, state, left_out } = saved.clone();
    let manifest = Manifest { sequence, state, folders: found.folders, files, links: found.links, left_out };
    let blob = objects.put(&keys.manifest(name.session, name.checkpoint), manifest.seal(key, name)?.into()).await?;
    Ok(SavedCheckpoint { manifest: blob, files: manifest.blobs() })
}

/// Restores a checkpoint: the folder `workspace` is replaced by the saved one. If anything is missing or wrong, the
/// folder stays as it was.
///
/// # Errors
/// See [`OpenError`].
pub async fn open(
    objects: &Objects,
    key: &CheckpointKey,
    name: CheckpointName,
    manifest: &Blob,
    workspace: &Path,
) -> Result<Saved, OpenError> {
    let manifest = read_manifest(objects, key, name, manifest).await?;
    let staged = files::Staged::new(workspace)?;
    staged.folders(&manifest.folders)?;
    let mut contents = futures::stream::iter(manifest.files)
        .map(|file| files::get(objects.clone(), key.clone(), file))
        .buffered(AT_ONCE);
    while let Some((file, content)) = contents.try_next().await? {
        staged.file(&file, &content)?;
    }
    staged.links(&manifest.links)?;
    staged.put_in_place()?;
    Ok(Saved { sequence: manifest.sequence, state: manifest.state, left_out: manifest.left_out })
}

/// Reads a checkpoint's manifest, and no file: for a workspace that is known to be exactly at it.
///
/// # Errors
/// See [`OpenError`].
pub async fn read(
    objects: &Objects,
    key: &CheckpointKey,
    name: CheckpointName,
    manifest: &Blob,
) -> Result<Saved, OpenError> {
    let manifest = read_manifest(objects, key, name, manifest).await?;
    Ok(Saved { sequence: manifest.sequence, state: manifest.state, left_out: manifest.left_out })
}

/// Files that one run of [`verify`] has seen to be whole: checkpoints share most of them.
#[derive(Debug, Default)]
pub struct Verified(Mutex<HashSet<[u8; 32]>>);

/// Does what [`open`] does, writing nothing: reads every object, compares, opens and decompresses it.
///
/// # Errors
/// See [`OpenError`].
pub async fn verify(
    objects: &Objects,
    key: &CheckpointKey,
    name: CheckpointName,
    manifest: &Blob,
    verified: &Verified,
) -> Result<Saved, OpenError> {
    let manifest = read_manifest(objects, key, name, manifest).await?;
    for file in manifest.files {
        let mark = file.mark(name.org);
        if verified.0.lock().expect("no holder of this lock can panic").contains(&mark) {
            continue;
        }
        files::get(objects.clone(), key.clone(), file).await?;
        verified.0.lock().expect("no holder of this lock can panic").insert(mark);
    }
    Ok(Saved { sequence: manifest.sequence, state: manifest.state, left_out: manifest.left_out })
}

async fn read_manifest(
    objects: &Objects,
    key: &CheckpointKey,
    name: CheckpointName,
    blob: &Blob,
) -> Result<Manifest, OpenError> {
    Manifest::open(key, name, blob, &objects.get_blob(blob).await?)
}

#[cfg(test)]
mod tests;
