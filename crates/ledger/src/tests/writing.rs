use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use clock::{ManualClock, SeededEntropy, Sources, Timestamp};
use ids::{DeliveryId, OrgId, SystemId};
use object_store::memory::InMemory;
use objects::Objects;
use uuid::Uuid;

use crate::{
    DeliveryVerdict, Environment, Finding, Identity, Ledger, LedgerError, NewGeneration, Outcome, Reader, Record,
    Settings, Summary, begin_generation,
};

fn start() -> Timestamp {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

struct World {
    objects: Objects,
    clock: Arc<ManualClock>,
    sources: Sources,
    system: SystemId,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(start()));
        let sources = Sources::new(clock.clone(), Arc::new(SeededEntropy::new(1)));
        let system = sources.id();
        Self { objects: Objects::over(Arc::new(InMemory::new())), clock, sources, system }
    }

    fn ledger(&self, generation: i64) -> Ledger {
        let identity = Identity { system: self.system, generation };
        Ledger::open(self.objects.clone(), identity, self.sources.id(), self.sources.clone(), Settings::default())
    }

    async fn read(&self, from: Timestamp) -> (Summary, Vec<Finding>) {
        let reader = Reader::open(self.objects.clone(), self.system, self.sources.now()).await.unwrap();
        let mut entries = reader.entries(from);
        let mut summary = Summary::default();
        while let Some(entry) = entries.next().await.unwrap() {
            summary.add(&entry);
        }
        (summary, entries.findings().list().to_vec())
    }
}

fn org() -> OrgId {
    Uuid::from_u128(1).into()
}

fn delivery(number: u128) -> DeliveryId {
    Uuid::from_u128(number).into()
}

fn intent(number: u128) -> Record {
    Record::DeliveryIntent { org: org(), delivery: delivery(number), attempt: 1, deduplicates: true }
}

fn sent(number: u128) -> Record {
    let outcome = Outcome::Sent { message: None };
    Record::DeliveryOutcome { org: org(), delivery: delivery(number), attempt: 1, outcome }
}

#[tokio::test]
async fn what_was_recorded_is_read_back() {
    let world = World::new();
    let ledger = world.ledger(1);
    ledger.record(vec![intent(1), intent(2)]).await.unwrap();
    world.clock.advance(TimeDelta::hours(3));
    ledger.record(vec![sent(1)]).await.unwrap();
    ledger.close().await;
    assert!(matches!(ledger.record(vec![sent(2)]).await, Err(LedgerError::Closed)));
    let (summary, findings) = world.read(start()).await;
    assert_eq!(summary.deliveries[&(org(), delivery(1))].verdict(), DeliveryVerdict::Sent);
    assert_eq!(summary.deliveries[&(org(), delivery(2))].verdict(), DeliveryVerdict::Unknown { deduplicates: true });
    assert_eq!(findings, []);
    let (later, findings) = world.read(start() + TimeDelta::hours(1)).await;
    assert_eq!(later.deliveries.len(), 1);
    assert_eq!(findings, []);
}

#[tokio::test]
async fn calls_at_once_share_a_segment_and_rest_costs_nothing() {
    let world = World::new();
    let ledger = world.ledger(1);
    assert!(world.objects.is_empty().await.unwrap());
    let calls = (0..1_000).map(|number| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.record(vec![intent(number)]).await })
    });
    for call in futures::future::join_all(calls).await {
        call.unwrap().unwrap();
    }
    let reader = Reader::open(world.objects.clone(), world.system, start()).await.unwrap();
    let mut entries = reader.entries(start());
    while entries.next_many().await.unwrap().is_some() {}
    assert_eq!(entries.tally().records, 1_000);
    assert!(entries.tally().segments <= 10, "{:?}", entries.tally());
}

#[tokio::test]
async fn a_writer_of_an_older_generation_is_refused_although_its_records_are_there() {
    let world = World::new();
    let old = world.ledger(1);
    old.record(vec![intent(1)]).await.unwrap();
    let new = NewGeneration { generation: 2, environment: Environment::Production, backup: None, restore: Uuid::max() };
    begin_generation(&world.objects, world.system, &new, start()).await.unwrap();
    begin_generation(&world.objects, world.system, &new, start() + TimeDelta::hours(1)).await.unwrap();
    assert!(matches!(old.check().await, Err(LedgerError::Fenced { generation: 2 })));
    assert!(matches!(old.record(vec![intent(2)]).await, Err(LedgerError::Fenced { generation: 2 })));
    assert!(matches!(old.record(vec![intent(3)]).await, Err(LedgerError::Fenced { generation: 2 })));
    assert_eq!(world.read(start()).await.0.deliveries.len(), 2);
    world.ledger(2).record(vec![sent(1)]).await.unwrap();
    let other = NewGeneration { restore: Uuid::nil(), ..new };
    let taken = begin_generation(&world.objects, world.system, &other, start()).await;
    assert!(matches!(taken, Err(LedgerError::GenerationTaken { generation: 2 })));
}

#[tokio::test]
async fn another_systems_ledger_is_refused() {
    let world = World::new();
    world.ledger(1).record(vec![intent(1)]).await.unwrap();
    let other = World { system: Uuid::from_u128(9).into(), objects: world.objects.clone(), ..World::new() };
    assert!(matches!(other.ledger(1).record(vec![intent(1)]).await, Err(LedgerError::AnotherSystem { .. })));
    assert!(matches!(other.ledger(1).check().await, Err(LedgerError::AnotherSystem { .. })));
    let reader = Reader::open(world.objects.clone(), other.system, start()).await;
    assert!(matches!(reader, Err(LedgerError::AnotherSystem { .. })));
    let empty = Reader::open(World::new().objects, world.system, start()).await;
    assert!(matches!(empty, Err(LedgerError::Empty)));
}
