//! An object store that misbehaves on purpose.
//!
//! Not here: what is put into it.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::Sources;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use crate::sources::sources;

/// How a store behaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mood {
    /// Every request takes this long.
    pub delay: Duration,
    /// Of 100 requests, so many fail without having done anything.
    pub fail: u32,
    /// Of 100 puts, so many are carried out and answered with an error all the same.
    pub lie: u32,
    /// Requests are never answered, and nothing is done.
    pub hang: bool,
    /// Puts are carried out, and never answered.
    pub mute: bool,
}

/// A store in memory with a mood.
#[derive(Debug)]
pub struct FaultyStore {
    inner: InMemory,
    mood: Mutex<Mood>,
    dice: Sources,
    puts: AtomicU64,
    asked: AtomicU64,
}

impl FaultyStore {
    /// In the best of moods.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (_, dice) = sources(seed ^ 0x5eed);
        let (inner, mood) = (InMemory::new(), Mutex::new(Mood::default()));
        Self { inner, mood, dice, puts: AtomicU64::new(0), asked: AtomicU64::new(0) }
    }

    pub fn set(&self, mood: Mood) {
        *self.mood() = mood;
    }

    /// Objects that were put.
    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    /// Requests that were made, but for deletions and lists, whatever came of them.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The same objects without the mood, for somebody who watches.
    #[must_use]
    pub fn calm(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.inner.clone())
    }

    fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn suffer(&self) -> Result<Mood> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood();
        if mood.hang {
            std::future::pending::<()>().await;
        }
        if !mood.delay.is_zero() {
            tokio::time::sleep(mood.delay).await;
        }
        if self.dice.below(100) < mood.fail { Err(refused()) } else { Ok(mood) }
    }
}

fn refused() -> object_store::Error {
    object_store::Error::Generic { store: "FaultyStore", source: "the store is in a bad mood".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let mood = self.suffer().await?;
        let put = self.inner.put_opts(location, payload, options).await?;
        self.puts.fetch_add(1, Ordering::Relaxed);
        if mood.mute {
            std::future::pending::<()>().await;
        }
        if self.dice.below(100) < mood.lie { Err(refused()) } else { Ok(put) }
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.suffer().await?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let mood = *self.mood();
        if self.dice.below(100) < mood.fail {
            return futures::stream::once(async { Err(refused()) }).boxed();
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let mood = *self.mood();
        if mood.hang {
            return futures::stream::pending().boxed();
        }
        if self.dice.below(100) < mood.fail {
            return futures::stream::once(async { Err(refused()) }).boxed();
        }
        let listed = self.inner.list(prefix);
        futures::stream::once(tokio::time::sleep(mood.delay))
            .flat_map(move |()| futures::stream::empty())
            .chain(listed)
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.suffer().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
