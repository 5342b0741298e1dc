//! A ledger in memory under a clock that is told the time.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use clock::{ManualClock, SeededEntropy, Sources, Timestamp};
use futures::TryStreamExt;
use ids::{DeliveryId, OrgId, SystemId, WriterId};
use objects::Objects;
use testkit::FaultyStore;
use uuid::Uuid;

use crate::{Entry, Finding, Identity, Ledger, Outcome, Reader, Record, Settings, Summary};

/// The beginning of an hour.
pub(super) fn start() -> Timestamp {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

pub(super) struct World {
    pub(super) store: Arc<FaultyStore>,
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
        let store = Arc::new(FaultyStore::new(seed));
        Self { objects: Objects::over(store.clone()), store, clock, sources, system }
    }

    pub(super) fn ledger(&self, generation: i64) -> Ledger {
        self.ledger_of(generation, self.sources.id())
    }

    pub(super) fn ledger_of(&self, generation: i64, writer: WriterId) -> Ledger {
        let identity = Identity { system: self.system, generation, supersedes: None };
        Ledger::open(self.objects.clone(), identity, writer, self.sources.clone(), Settings::default())
    }

    /// As [`Self::ledger`], of a generation that a restore began.
    pub(super) fn ledger_as(&self, generation: i64, supersedes: Option<Timestamp>) -> Ledger {
        let identity = Identity { system: self.system, generation, supersedes };
        Ledger::open(self.objects.clone(), identity, self.sources.id(), self.sources.clone(), Settings::default())
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
