//! The ledger of a system whose schedulers keep it small, as objects in a folder.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use clock::{ManualClock, Sources, Timestamp};
use effects::Effects;
use futures::TryStreamExt;
use ids::{DeliveryId, OrgId};
use ledger::{Compaction, DigestKey, Identity, Ledger, Outcome, Reader, Record, Settings};
use objects::Objects;
use scheduler::run_compactions;
use store::{Environment, Generation, Store};
use tempfile::TempDir;
use testkit::{TestDatabase, wait_until};
use tokio_util::sync::CancellationToken;

const KEPT: TimeDelta = TimeDelta::days(30);

struct World {
    folder: TempDir,
    store: Store,
    generation: Generation,
    clock: Arc<ManualClock>,
    sources: Sources,
    org: OrgId,
    start: Timestamp,
    _database: TestDatabase,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let (clock, sources) = testkit::sources(1);
        let store = Store::from_pool(database.pool(), sources.clone());
        store.migrate().await.unwrap();
        let generation = store.generation_initialise(Environment::Production).await.unwrap();
        let (org, start) = (sources.id(), sources.now());
        let folder = tempfile::tempdir().unwrap();
        Self { folder, store, generation, clock, sources, org, start, _database: database }
    }

    fn objects(&self) -> Objects {
        Objects::open_folder(self.folder.path()).unwrap()
    }

    /// A process of its own, with its own writer.
    fn process(&self) -> (Ledger, Effects) {
        let identity =
            Identity { system: self.generation.system_id, generation: self.generation.generation, supersedes: None };
        let millis = Duration::from_millis;
        let settings = Settings { quiet: millis(1), spacing: millis(1), ..Settings::default() };
        let writer = self.sources.id();
        let ledger = Ledger::open(self.objects(), identity, writer, self.sources.clone(), settings);
        (ledger.clone(), Effects::new(self.store.clone(), ledger, DigestKey::derive(b"a test")))
    }

    /// Deliveries of three processes over some hours: each intent a segment, each outcome a segment.
    async fn deliveries(&self, hours: i64, each: usize) {
        let writers = [self.process().0, self.process().0, self.process().0];
        for _ in 0..hours {
            for number in 0..each {
                let writer = &writers[number % writers.len()];
                let (org, delivery): (_, DeliveryId) = (self.org, self.sources.id());
                let intent = Record::DeliveryIntent { org, delivery, attempt: 1, deduplicates: false };
                writer.record(vec![intent]).await.unwrap();
                let outcome = Outcome::Sent { message: None };
                writer.record(vec![Record::DeliveryOutcome { org, delivery, attempt: 1, outcome }]).await.unwrap();
            }
            self.clock.advance(TimeDelta::hours(1));
        }
    }

    /// What a reader is told from `from` on, and that nothing is wrong with it.
    async fn told(&self, from: Timestamp) -> BTreeSet<String> {
        let reader = Reader::open(self.objects(), self.generation.system_id, self.sources.now()).await.unwrap();
        let mut entries = reader.entries(from);
        let (mut told, mut count) = (BTreeSet::new(), 0);
        while let Some(many) = entries.next_many().await.unwrap() {
            count += many.len();
            told.extend(many.iter().map(|entry| format!("{entry:?}")));
        }
        assert_eq!(entries.findings().faults().collect::<Vec<_>>(), Vec::<&ledger::Finding>::new());
        assert_eq!(count, told.len(), "each once");
        told
    }

    /// Segments that lie by themselves, and bundles.
    async fn counted(&self) -> (usize, usize) {
        let keys: Vec<String> = self.objects().list("segments").map_ok(|found| found.key).try_collect().await.unwrap();
        let bundles = keys.iter().filter(|key| key.contains("/bundle-")).count();
        (keys.len() - bundles, bundles)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn schedulers_at_once_make_a_ledger_smaller_and_a_reader_is_told_the_same() {
    let world = World::new().await;
    world.deliveries(4, 12).await;
    let before = world.told(world.start).await;
    assert_eq!((before.len(), world.counted().await), (96, (96, 0)));

    let shutdown = CancellationToken::new();
    let schedulers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(run_compactions(world.process().1, Compaction::keeping(KEPT), shutdown.clone())))
        .collect();
    wait_until("hours that are long over are bundled", async || {
        assert_eq!(world.told(world.start).await, before, "also while it is compacted");
        world.counted().await.0 == 48
    })
    .await;
    shutdown.cancel();
    for scheduler in schedulers {
        scheduler.await.unwrap();
    }
    assert_eq!(world.told(world.start).await, before);
    let second = world.start + TimeDelta::hours(1);
    assert_eq!(world.told(second).await.len(), 72, "a range is still a range");
    assert!(world.counted().await.1 >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_scheduler_that_ends_anywhere_leaves_a_ledger_that_the_next_one_finishes() {
    let world = World::new().await;
    world.deliveries(3, 9).await;
    world.clock.advance(TimeDelta::hours(2));
    let before = world.told(world.start).await;
    // As if killed at an await: what was begun is dropped.
    for steps in 0..60 {
        let (_, effects) = world.process();
        let mut passing = Box::pin(effects.compact(Compaction::keeping(KEPT)));
        for _ in 0..=steps {
            if futures::poll!(&mut passing).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(passing);
        assert_eq!(world.told(world.start).await, before, "after {steps} steps");
    }
    world.process().1.compact(Compaction::keeping(KEPT)).await.unwrap();
    assert_eq!(world.counted().await.0, 0);
    assert_eq!(world.told(world.start).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_older_than_the_retention_goes_and_what_is_younger_stays() {
    let world = World::new().await;
    world.deliveries(1, 2).await;
    world.clock.advance(KEPT);
    let young = world.sources.now();
    world.deliveries(1, 3).await;
    let kept = world.told(young).await;
    assert_eq!(kept.len(), 6);

    let shutdown = CancellationToken::new();
    let scheduler = tokio::spawn(run_compactions(world.process().1, Compaction::keeping(KEPT), shutdown.clone()));
    wait_until("the old hour is gone", async || world.counted().await == (6, 0)).await;
    shutdown.cancel();
    scheduler.await.unwrap();
    assert_eq!(world.told(young).await, kept);
    assert!(has_folder(world.folder.path(), "dropped"), "readers are told from when on it is kept");
}

fn has_folder(root: &Path, name: &str) -> bool {
    std::fs::read_dir(root.join(name)).is_ok_and(|mut files| files.next().is_some())
}
