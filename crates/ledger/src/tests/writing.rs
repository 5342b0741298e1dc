//! Promises to those who write.

use chrono::TimeDelta;
use tokio::time::Instant;
use uuid::Uuid;

use super::support::{World, delivery, intent, org, sent, start};
use crate::{
    DeliveryVerdict, Environment, LedgerError, NewGeneration, Reader, Record, Settings, begin_generation, generations,
    newest_generation,
};

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

/// As a gateway does with a thousand in flight: whoever waits for the few has nothing else to wait for.
#[tokio::test(start_paused = true)]
async fn what_a_full_segment_left_over_waits_less_than_the_first_few_of_a_quiet_time() {
    let (world, settings) = (World::new(), Settings::default());
    let ledger = world.ledger(1);
    let waited = async |records: Vec<Record>| {
        let began = Instant::now();
        ledger.record(records).await.unwrap();
        began.elapsed()
    };
    waited(vec![intent(1)]).await;
    let quiet = waited(vec![intent(2)]).await;
    waited((0..300).map(intent).collect()).await;
    let busy = waited(vec![intent(3)]).await;
    tokio::time::advance(settings.linger).await;
    waited(vec![intent(4)]).await;
    let quiet_again = waited(vec![intent(5)]).await;
    assert!(busy >= settings.spacing_when_busy - settings.quiet && busy < settings.spacing / 2, "{busy:?}");
    assert!(quiet > settings.spacing / 2 && quiet_again > settings.spacing / 2, "{quiet:?}, {quiet_again:?}");
}

#[tokio::test(start_paused = true)]
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
    let other = NewGeneration { restore: Uuid::nil(), ..new.clone() };
    let taken = begin_generation(&world.objects, world.system, &other, start()).await;
    assert!(matches!(taken, Err(LedgerError::GenerationTaken { generation: 2 })));
    let older = NewGeneration { generation: 1, ..other };
    let taken = begin_generation(&world.objects, world.system, &older, start()).await;
    assert!(matches!(taken, Err(LedgerError::GenerationTaken { generation: 2 })));
    assert_eq!(newest_generation(&world.objects).await.unwrap(), Some(2));
    let markers = generations(&world.objects, world.system).await.unwrap();
    assert_eq!(markers.iter().map(|marker| &marker.started).collect::<Vec<_>>(), [&new]);
}

#[tokio::test(start_paused = true)]
async fn a_generation_that_was_begun_beside_another_ledger_fences_the_older_one_when_it_reaches_this_one() {
    for by_a_write in [true, false] {
        let world = World::new();
        let old = world.ledger(1);
        old.record(vec![intent(1)]).await.unwrap();
        // Two processes of the restored system.
        for _ in 0..2 {
            let restored = world.ledger_as(2, Some(start()));
            if by_a_write {
                restored.record(vec![intent(2)]).await.unwrap();
            } else {
                restored.check().await.unwrap();
            }
        }
        assert!(matches!(old.check().await, Err(LedgerError::Fenced { generation: 2 })));
        assert!(matches!(old.record(vec![intent(3)]).await, Err(LedgerError::Fenced { generation: 2 })));
        assert_eq!(generations(&world.objects, world.system).await.unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_generation_never_fences_a_newer_one_and_a_drills_copy_fences_nobody() {
    let world = World::new();
    let living = world.ledger(1);
    world.ledger_as(2, None).record(vec![intent(1)]).await.unwrap();
    living.record(vec![intent(2)]).await.unwrap();
    let newest = world.ledger_as(3, Some(start()));
    newest.check().await.unwrap();
    let between = world.ledger_as(2, Some(start()));
    assert!(matches!(between.record(vec![intent(3)]).await, Err(LedgerError::Fenced { generation: 3 })));
    newest.record(vec![intent(4)]).await.unwrap();
    assert_eq!(newest_generation(&world.objects).await.unwrap(), Some(3));
}

#[tokio::test(start_paused = true)]
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
