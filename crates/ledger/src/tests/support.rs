//! A ledger in memory under a clock that is told the time, and a store that misbehaves on purpose.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use clock::{ManualClock, SeededEntropy, Sources, Timestamp};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use ids::{DeliveryId, OrgId, SystemId, WriterId};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use objects::Objects;
use uuid::Uuid;

use crate::{Entry, Finding, Identity, Ledger, Outcome, Reader, Record, Settings, Summary};

/// The beginning of an hour.
pub(super) fn start() -> Timestamp {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

pub(super) struct World {
    pub(super) store: Arc<Faulty>,
    pub(super) objects: Objects,
    pub(super) clock: Arc<ManualClock>,
    pub(super) sources: Sources,
    pub(super) system: SystemId,
}

impl World {
    pub(super) fn new() -> Self {
        Self::seeded(1)
    }

    pub(super) fn seeded(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::at(start()));
        let sources = Sources::new(clock.clone(), Arc::new(SeededEntropy::new(seed)));
        let system = sources.id();
        let store = Arc::new(Faulty::new(seed));
        Self { objects: Objects::over(store.clone()), store, clock, sources, system }
    }

    pub(super) fn ledger(&self, generation: i64) -> Ledger {
        self.ledger_of(generation, self.sources.id())
    }

    pub(super) fn ledger_of(&self, generation: i64, writer: WriterId) -> Ledger {
        let identity = Identity { system: self.system, generation };
        Ledger::open(self.objects.clone(), identity, writer, self.sources.clone(), Settings::default())
    }

    pub(super) async fn entries(&self, from: Timestamp) -> (Vec<Entry>, Vec<Finding>) {
        let reader = Reader::open(self.objects.clone(), self.system, self.sources.now()).await.unwrap();
        let mut entries = reader.entries(from);
        let mut all = Vec::new();
        while let Some(many) = entries.next_many().await.unwrap() {
            all.extend(many);
        }
        (all, entries.findings().list().to_vec())
    }

    pub(super) async fn read(&self, from: Timestamp) -> (Summary, Vec<Finding>) {
        let (entries, findings) = self.entries(from).await;
        let mut summary = Summary::default();
        for entry in &entries {
            summary.add(entry);
        }
        (summary, findings)
    }

    /// All keys of segments and bundles, sorted by name.
    pub(super) async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.objects.list("segments").map_ok(|found| found.key).try_collect().await.unwrap();
        keys.sort();
        keys
    }

    /// Puts other bytes in the place of an object, or takes it away.
    pub(super) async fn replace(&self, key: &str, bytes: Option<Bytes>) {
        self.objects.delete(key).await.unwrap();
        if let Some(bytes) = bytes {
            self.objects.put(key, bytes).await.unwrap();
        }
    }

    /// `count` segments of one writer, `apart` from each other, each with the intent of a delivery of that number.
    pub(super) async fn chain(&self, count: u128, apart: TimeDelta) -> WriterId {
        let writer = self.sources.id();
        let ledger = self.ledger_of(1, writer);
        for number in 1..=count {
            ledger.record(vec![intent(number)]).await.unwrap();
            self.clock.advance(apart);
        }
        ledger.close().await;
        writer
    }
}

pub(super) fn org() -> OrgId {
    Uuid::from_u128(1).into()
}

pub(super) fn delivery(number: u128) -> DeliveryId {
    Uuid::from_u128(number).into()
}

pub(super) fn intent(number: u128) -> Record {
    Record::DeliveryIntent { org: org(), delivery: delivery(number), attempt: 1, deduplicates: true }
}

pub(super) fn sent(number: u128) -> Record {
    let outcome = Outcome::Sent { message: None };
    Record::DeliveryOutcome { org: org(), delivery: delivery(number), attempt: 1, outcome }
}

/// How a store behaves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mood {
    /// Every request takes this long.
    pub(super) delay: Duration,
    /// Of 100 requests, so many fail without having done anything.
    pub(super) fail: u32,
    /// Of 100 puts, so many are carried out and answered with an error all the same.
    pub(super) lie: u32,
    /// Requests are never answered.
    pub(super) hang: bool,
}

/// A store in memory with a mood.
#[derive(Debug)]
pub(super) struct Faulty {
    inner: InMemory,
    mood: Mutex<Mood>,
    dice: Sources,
    pub(super) puts: AtomicU64,
}

impl Faulty {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::at(start()));
        let dice = Sources::new(clock, Arc::new(SeededEntropy::new(seed ^ 0x5eed)));
        Self { inner: InMemory::new(), mood: Mutex::new(Mood::default()), dice, puts: AtomicU64::new(0) }
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    async fn suffer(&self) -> Result<Mood> {
        let mood = *self.mood.lock().unwrap();
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
    object_store::Error::Generic { store: "Faulty", source: "the store is in a bad mood".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let mood = self.suffer().await?;
        let put = self.inner.put_opts(location, payload, options).await?;
        self.puts.fetch_add(1, Ordering::Relaxed);
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
        let mood = *self.mood.lock().unwrap();
        if self.dice.below(100) < mood.fail {
            return futures::stream::once(async { Err(refused()) }).boxed();
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let mood = *self.mood.lock().unwrap();
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
