//! Objects by key. An object that exists never changes, so whoever names it by size and SHA-256 can check it for ever.
//!
//! Promised: when `put` has returned, the object survives a power cut. Not promised: that an object is named by a row;
//! a worker that dies between the two leaves an orphan behind.
//!
//! Not here: who may delete: the recovery ledger, of its own objects; and of those that rows named, whoever
//! `store::blob_deletion` says it to.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::{GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode};
use sha2::{Digest, Sha256};

/// Bytes that are sent to a store at once: no store takes parts of fewer, but for the last.
const PIECE: usize = 8 * 1024 * 1024;

/// An object as rows name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub key: String,
    /// Bytes as stored.
    pub size: u64,
    pub sha256: [u8; 32],
}

impl Blob {
    /// What `bytes` are called under `key`.
    #[must_use]
    pub fn of(key: impl Into<String>, bytes: &[u8]) -> Self {
        Self { key: key.into(), size: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
    }
}

/// An object that a listing found. Nothing is known about its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub size: u64,
    /// By the clock of the store, in microseconds since the epoch. A copy of a folder has other times.
    pub modified_micros: i64,
}

impl Listed {
    fn of(meta: &object_store::ObjectMeta) -> Self {
        let (key, modified_micros) = (meta.location.to_string(), meta.last_modified.timestamp_micros());
        Self { key, size: meta.size, modified_micros }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    #[error("there is no object {0}")]
    NotFound(String),
    /// Objects never change; the one that is there was left alone.
    #[error("the object {0} exists with other bytes")]
    Conflict(String),
    #[error("the object {0} does not have the size and SHA-256 that its row names")]
    Mismatch(String),
    #[error("{0} can't be the key of an object")]
    Key(String),
    #[error("the object folder {} can't be used", folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("the object store failed at {key}")]
    Store { key: String, source: object_store::Error },
}

/// A folder of objects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// `None`: another provider's, which has nothing to sync.
    folder: Option<PathBuf>,
    /// The same store, if it is a folder.
    local: Option<Arc<LocalFileSystem>>,
}

impl Objects {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    /// If it can't be made or looked into.
    pub fn open_folder(folder: &Path) -> Result<Self, ObjectsError> {
        let failed = |source| ObjectsError::Folder { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|source| ObjectsError::Store { key: String::new(), source })?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        let store = Arc::new(store);
        Ok(Self { store: store.clone(), folder: Some(folder), local: Some(store) })
    }

    /// Over another provider, or one that misbehaves on purpose. What it says it has stored must be durable, and what
    /// was stored must be found by every listing that begins later.
    #[must_use]
    pub fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, folder: None, local: None }
    }

    /// # Panics
    /// If this was not opened as a folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_deref().expect("these objects lie in a folder")
    }

    /// Writes an object for good.
    ///
    /// # Errors
    /// `Conflict` if there is one with other bytes; it stays as it is.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<Blob, ObjectsError> {
        let blob = Blob::of(key, &bytes);
        let put = self.store.put_opts(&path(key)?, bytes.into(), PutMode::Create.into()).await;
        match put {
            Ok(_) => Ok(blob),
            Err(object_store::Error::AlreadyExists { .. }) => self.settled(blob).await,
            Err(source) => Err(failed(key, source)),
        }
    }

    /// Writes an object that comes in pieces and of which the caller knows the size and SHA-256. The key must be one that nobody
    /// else writes: unlike [`Objects::put`], this does not look whether it is taken.
    ///
    /// # Errors
    /// `Mismatch` if the pieces are something else; then there is no object. Whatever the pieces fail with.
    pub async fn put_pieces<E: From<ObjectsError>>(
        &self,
        blob: &Blob,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<(), E> {
        let failed = |source| E::from(failed(&blob.key, source));
        let mut upload = self.store.put_multipart(&path(&blob.key)?).await.map_err(failed)?;
        match write_pieces(&mut *upload, blob, pieces).await {
            Ok(()) => upload.complete().await.map(drop).map_err(failed),
            Err(error) => {
                // What is half written has no name yet; the store's own clean-up finds it if this does not.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Like [`Objects::put`], but looks first: for content that is probably there already.
    ///
    /// # Errors
    /// As `put`.
    pub async fn ensure(&self, key: &str, bytes: Bytes) -> Result<Blob, ObjectsError> {
        match self.store.head(&path(key)?).await {
            Ok(_) => self.settled(Blob::of(key, &bytes)).await,
            Err(object_store::Error::NotFound { .. }) => self.put(key, bytes).await,
            Err(source) => Err(failed(key, source)),
        }
    }

    /// The blob, if what is stored under its key is it. Its writer may still be about to make the folder entry
    /// durable, so this does it, too.
    async fn settled(&self, blob: Blob) -> Result<Blob, ObjectsError> {
        if Blob::of(&blob.key, &self.get(&blob.key).await?) != blob {
            return Err(ObjectsError::Conflict(blob.key));
        }
        let Some(folder) = &self.folder else {
            return Ok(blob);
        };
        let parent = folder.join(&blob.key).parent().unwrap_or(folder).to_owned();
        let synced = tokio::task::spawn_blocking(move || {
            std::fs::File::open(&parent).and_then(|folder| folder.sync_all()).map_err(|source| (parent, source))
        });
        match synced.await.expect("syncing a folder does not panic") {
            Ok(()) => Ok(blob),
            Err((folder, source)) => Err(ObjectsError::Folder { folder, source }),
        }
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn get(&self, key: &str) -> Result<Bytes, ObjectsError> {
        let found = self.store.get(&path(key)?).await.map_err(|source| failed(key, source))?;
        found.bytes().await.map_err(|source| failed(key, source))
    }

    /// Reads whole objects, in this order; all of them are in memory at once. Many small ones of a folder are read in one
    /// go: handing each to another thread costs more than reading it.
    pub async fn get_many(&self, keys: Vec<String>) -> Vec<Result<Bytes, ObjectsError>> {
        let Some(folder) = self.local.clone() else {
            return futures::future::join_all(keys.iter().map(|key| self.get(key))).await;
        };
        let read = move || keys.iter().map(|key| read_file(&folder, key)).collect();
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Reads a whole object and compares it with what a row says of it.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Mismatch` if it is not the one that was meant.
    pub async fn get_blob(&self, blob: &Blob) -> Result<Bytes, ObjectsError> {
        let bytes = self.get(&blob.key).await?;
        if bytes.len() as u64 == blob.size && Sha256::digest(&bytes)[..] == blob.sha256 {
            return Ok(bytes);
        }
        Err(ObjectsError::Mismatch(blob.key.clone()))
    }

    /// An object's size and its bytes, piece by piece.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn stream(
        &self,
        key: &str,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, ObjectsError>>), ObjectsError> {
        let found = self.store.get(&path(key)?).await.map_err(|source| failed(key, source))?;
        let key = key.to_owned();
        Ok((found.meta.size, found.into_stream().map_err(move |source| failed(&key, source)).boxed()))
    }

    /// A part of an object, piece by piece, with the size of the whole. The range must lie within it.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn stream_range(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, ObjectsError>>), ObjectsError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let found = self.store.get_opts(&path(key)?, options).await.map_err(|source| failed(key, source))?;
        let key = key.to_owned();
        Ok((found.meta.size, found.into_stream().map_err(move |source| failed(&key, source)).boxed()))
    }

    /// The objects whose keys begin with the folder `prefix`, all of them if it is empty, in no order.
    #[must_use]
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Listed, ObjectsError>> {
        let prefix = prefix.to_owned();
        let within = (!prefix.is_empty()).then(|| object_store::path::Path::from(prefix.as_str()));
        self.store
            .list(within.as_ref())
            .map_ok(|meta| Listed::of(&meta))
            .map_err(move |source| failed(&prefix, source))
            .boxed()
    }

    /// Like [`Objects::list`], but only the keys that sort after `after`, which is a whole key.
    #[must_use]
    pub fn list_after(&self, prefix: &str, after: &str) -> BoxStream<'static, Result<Listed, ObjectsError>> {
        let prefix = prefix.to_owned();
        let within = object_store::path::Path::from(prefix.as_str());
        self.store
            .list_with_offset(Some(&within), &object_store::path::Path::from(after))
            .map_ok(|meta| Listed::of(&meta))
            .map_err(move |source| failed(&prefix, source))
            .boxed()
    }

    /// The names of the folders right below the folder `prefix`, sorted.
    ///
    /// # Errors
    /// If it can't be looked into. A folder that is not there has none below it.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, ObjectsError> {
        let within = object_store::path::Path::from(prefix);
        let found = self.store.list_with_delimiter(Some(&within)).await.map_err(|source| failed(prefix, source))?;
        let mut names: Vec<String> =
            found.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// Takes an object away. One that is not there is no error. Not promised: that it stays away after a power cut.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delete(&self, key: &str) -> Result<(), ObjectsError> {
        match self.store.delete(&path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed(key, source)),
        }
    }

    /// # Errors
    /// If the folder can't be looked into.
    pub async fn is_empty(&self) -> Result<bool, ObjectsError> {
        Ok(self.list("").try_next().await?.is_none())
    }
}

/// Nothing is completed here.
async fn write_pieces<E: From<ObjectsError>>(
    upload: &mut dyn MultipartUpload,
    blob: &Blob,
    pieces: impl Stream<Item = Result<Bytes, E>>,
) -> Result<(), E> {
    let failed = |source| E::from(failed(&blob.key, source));
    let (mut pieces, mut hash, mut size, mut held) = (pin!(pieces), Sha256::new(), 0, Vec::new());
    while let Some(piece) = pieces.try_next().await? {
        hash.update(&piece);
        size += piece.len() as u64;
        held.extend_from_slice(&piece);
        if held.len() >= PIECE {
            upload.put_part(std::mem::take(&mut held).into()).await.map_err(failed)?;
        }
    }
    if size != blob.size || hash.finalize()[..] != blob.sha256 {
        return Err(ObjectsError::Mismatch(blob.key.clone()).into());
    }
    if size == 0 || !held.is_empty() {
        upload.put_part(held.into()).await.map_err(failed)?;
    }
    Ok(())
}

fn read_file(folder: &LocalFileSystem, key: &str) -> Result<Bytes, ObjectsError> {
    let file = folder.path_to_filesystem(&path(key)?).map_err(|source| failed(key, source))?;
    std::fs::read(file).map(Bytes::from).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ObjectsError::NotFound(key.to_owned()),
        _ => failed(key, object_store::Error::Generic { store: "LocalFileSystem", source: error.into() }),
    })
}

fn path(key: &str) -> Result<object_store::path::Path, ObjectsError> {
    object_store::path::Path::parse(key).map_err(|_| ObjectsError::Key(key.to_owned()))
}

fn failed(key: &str, source: object_store::Error) -> ObjectsError {
    match source {
        object_store::Error::NotFound { .. } => ObjectsError::NotFound(key.to_owned()),
        source => ObjectsError::Store { key: key.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_never_changes() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open_folder(folder.path()).unwrap();
        assert!(objects.is_empty().await.unwrap());
        let first = objects.put("orgs/a/x", "one".into()).await.unwrap();
        assert_eq!(objects.put("orgs/a/x", "one".into()).await.unwrap(), first);
        assert_eq!(objects.ensure("orgs/a/x", "one".into()).await.unwrap(), first);
        assert!(matches!(objects.put("orgs/a/x", "two".into()).await, Err(ObjectsError::Conflict(_))));
        assert!(matches!(objects.ensure("orgs/a/x", "two".into()).await, Err(ObjectsError::Conflict(_))));
        assert_eq!(objects.get_blob(&first).await.unwrap(), "one");
        let listed: Vec<_> = objects.list("orgs/a").try_collect().await.unwrap();
        assert_eq!(listed.iter().map(|found| (found.key.as_str(), found.size)).collect::<Vec<_>>(), [("orgs/a/x", 3)]);
    }

    #[tokio::test]
    async fn many_are_read_in_their_order_and_one_that_is_not_there_takes_no_other_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let local = Objects::open_folder(folder.path()).unwrap();
        for (key, text) in [("a/1", "one"), ("a/2", "two")] {
            local.put(key, text.into()).await.unwrap();
        }
        let other = Objects::over(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()));
        for objects in [local, other] {
            let read = objects.get_many(["a/2", "a/3", "a/1", "//"].map(str::to_owned).to_vec()).await;
            let [Ok(two), Err(ObjectsError::NotFound(_)), Ok(one), Err(ObjectsError::Key(_))] = &read[..] else {
                panic!("{read:?}");
            };
            assert_eq!((&one[..], &two[..]), (&b"one"[..], &b"two"[..]));
        }
    }

    #[tokio::test]
    async fn absence_and_a_changed_byte_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open_folder(folder.path()).unwrap();
        let blob = objects.put("k", "one".into()).await.unwrap();
        std::fs::write(folder.path().join("k"), "onE").unwrap();
        assert!(matches!(objects.get_blob(&blob).await, Err(ObjectsError::Mismatch(_))));
        std::fs::remove_file(folder.path().join("k")).unwrap();
        assert!(matches!(objects.get_blob(&blob).await, Err(ObjectsError::NotFound(_))));
        assert!(matches!(objects.stream("k").await.map(|_| ()), Err(ObjectsError::NotFound(_))));
    }

    #[tokio::test]
    async fn folders_and_later_keys_are_found_and_what_is_deleted_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open_folder(folder.path()).unwrap();
        assert!(objects.folders("hours").await.unwrap().is_empty());
        for key in ["hours/2/a", "hours/1/a", "hours/1/b"] {
            objects.put(key, "x".into()).await.unwrap();
        }
        assert_eq!(objects.folders("hours").await.unwrap(), ["1", "2"]);
        let later: Vec<_> = objects.list_after("hours/1", "hours/1/a").try_collect().await.unwrap();
        assert_eq!(later.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["hours/1/b"]);
        assert!(objects.list_after("none", "none/a").next().await.is_none());
        objects.delete("hours/1/b").await.unwrap();
        objects.delete("hours/1/b").await.unwrap();
        assert!(matches!(objects.get("hours/1/b").await, Err(ObjectsError::NotFound(_))));
    }

    #[tokio::test]
    async fn pieces_become_an_object_if_they_are_what_was_meant_and_nothing_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open_folder(folder.path()).unwrap();
        let whole: Bytes = vec![7; PIECE + 3].into();
        let blob = Blob::of("orgs/a/x", &whole);
        let put = async |pieces: &[Bytes]| {
            let pieces: Vec<Result<Bytes, ObjectsError>> = pieces.iter().cloned().map(Ok).collect();
            objects.put_pieces(&blob, futures::stream::iter(pieces)).await
        };
        for wrong in [vec![whole.slice(1..)], vec![whole.clone(), "x".into()], vec![vec![8; PIECE + 3].into()], vec![]]
        {
            assert!(matches!(put(&wrong).await, Err(ObjectsError::Mismatch(_))));
            assert!(objects.is_empty().await.unwrap());
        }
        put(&[whole.slice(..5), whole.slice(5..)]).await.unwrap();
        assert_eq!(objects.get_blob(&blob).await.unwrap(), whole);
        let empty = Blob::of("orgs/a/empty", b"");
        objects.put_pieces::<ObjectsError>(&empty, futures::stream::empty()).await.unwrap();
        assert_eq!(objects.get_blob(&empty).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_key_can_not_climb_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open_folder(&folder.path().join("objects")).unwrap();
        assert!(matches!(objects.put("../x", "one".into()).await, Err(ObjectsError::Key(_))));
    }
}
