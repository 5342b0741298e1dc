//! A store that is slow, fails, lies or is gone: nothing is called recorded that is not, nothing is lost, and it comes
//! back by itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ids::DeliveryId;
use tokio::time::Instant;

use testkit::Mood;

use super::support::{World, delivery, intent, org, start};
use crate::{Environment, Ledger, LedgerError, NewGeneration, begin_generation};

/// Records the intents `numbers`, each by a call of its own, all at once. Those that were called recorded.
async fn all_at_once(ledger: &Ledger, numbers: std::ops::Range<u128>) -> BTreeSet<DeliveryId> {
    let calls = numbers.map(|number| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.record(vec![intent(number)]).await.map(|()| delivery(number)) })
    });
    let recorded = futures::future::join_all(calls).await;
    recorded.into_iter().filter_map(|call| call.unwrap().ok()).collect()
}

async fn in_the_ledger(world: &World) -> BTreeSet<DeliveryId> {
    let (summary, findings) = world.read(start()).await;
    assert_eq!(findings, []);
    summary.deliveries.keys().map(|(of, delivery)| (*of == org()).then_some(*delivery).unwrap()).collect()
}

/// How long one call takes.
async fn latency(ledger: &Ledger, number: u128) -> Duration {
    let began = Instant::now();
    ledger.record(vec![intent(number)]).await.unwrap();
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_delays_calls_and_loses_none() {
    let world = World::new();
    let ledger = world.ledger(1);
    world.store.set(Mood { delay: Duration::from_millis(500), ..Mood::default() });
    let began = Instant::now();
    let mut recorded = BTreeSet::new();
    for round in 0..10 {
        recorded.extend(all_at_once(&ledger, round * 1_000..(round + 1) * 1_000).await);
    }
    assert_eq!(recorded.len(), 10_000);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    world.store.set(Mood::default());
    assert_eq!(in_the_ledger(&world).await, recorded);
    assert!(latency(&ledger, 10_001).await < Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn what_a_failing_store_is_said_to_have_taken_is_there() {
    for seed in 0..20 {
        let world = World::seeded(seed);
        let ledger = world.ledger(1);
        world.store.set(Mood { fail: 30, lie: 10, ..Mood::default() });
        let mut recorded = BTreeSet::new();
        for round in 0..20 {
            recorded.extend(all_at_once(&ledger, round * 50..(round + 1) * 50).await);
        }
        assert_eq!(recorded.len(), 1_000, "patience outlasts a store that answers most of the time");
        world.store.set(Mood::default());
        assert_eq!(in_the_ledger(&world).await, recorded);
        assert!(latency(&ledger, 5_000).await < Duration::from_millis(50));
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_gone_nothing_is_recorded_and_afterwards_everything_goes_on() {
    for mood in [Mood { hang: true, ..Mood::default() }, Mood { fail: 100, ..Mood::default() }] {
        let world = World::new();
        let ledger = world.ledger(1);
        let mut recorded = all_at_once(&ledger, 0..10).await;
        assert!(ledger.available());
        world.store.set(mood);
        let gone = Instant::now();
        let mut number = 100;
        while gone.elapsed() < Duration::from_secs(60) {
            let began = Instant::now();
            assert!(all_at_once(&ledger, number..number + 100).await.is_empty());
            assert!(began.elapsed() <= Duration::from_secs(11), "a call ends when its patience does");
            number += 100;
        }
        assert!(!ledger.available());
        assert!(matches!(ledger.record(vec![intent(1)]).await, Err(LedgerError::Unavailable { .. })));
        assert!(matches!(ledger.check().await, Err(LedgerError::Unavailable { .. })));
        world.store.set(Mood::default());
        recorded.extend(all_at_once(&ledger, 10_000..10_100).await);
        assert_eq!(recorded.len(), 110);
        assert!(ledger.available());
        assert!(latency(&ledger, 20_000).await < Duration::from_millis(50));
        let there = in_the_ledger(&world).await;
        assert!(there.is_superset(&recorded));
        assert!(there.len() < 110 + 300, "what callers gave up is not written later: {}", there.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_can_not_be_read_holds_the_answer_back() {
    let world = World::new();
    let ledger = world.ledger(1);
    ledger.record(vec![intent(1)]).await.unwrap();
    let new =
        NewGeneration { generation: 2, environment: Environment::Drill, backup: None, restore: uuid::Uuid::max() };
    begin_generation(&world.objects, world.system, &new, start()).await.unwrap();
    world.store.set(Mood { fail: 60, lie: 30, ..Mood::default() });
    let refused = ledger.record(vec![intent(2)]).await;
    assert!(
        matches!(refused, Err(LedgerError::Fenced { generation: 2 } | LedgerError::Unavailable { .. })),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_are_bounded_and_all_of_them_are_served() {
    let world = World::new();
    let ledger = world.ledger(1);
    world.store.set(Mood { delay: Duration::from_millis(200), ..Mood::default() });
    let many = (0..100_000).map(intent).collect();
    ledger.record(many).await.unwrap();
    world.store.set(Mood::default());
    assert_eq!(in_the_ledger(&world).await.len(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn closing_writes_what_waits() {
    let world = World::new();
    let ledger = world.ledger(1);
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.record(vec![intent(number)]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    ledger.close().await;
    for call in calls {
        assert!(matches!(call.await.unwrap(), Ok(()) | Err(LedgerError::Closed)));
    }
    let there = in_the_ledger(&world).await.len();
    assert_eq!(there, 100, "they had been handed over before");
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written_and_a_steady_trickle_costs_an_object_each() {
    let world = World::new();
    let ledger = world.ledger(1);
    for number in 0..6 {
        ledger.record(vec![intent(number)]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(world.keys().await.len(), 6);
    let puts = world.store.puts();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    ledger.check().await.unwrap();
    assert_eq!(world.store.puts(), puts);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_harmless() {
    let world = World::new();
    let ledger = Arc::new(world.ledger(1));
    world.store.set(Mood { delay: Duration::from_millis(500), ..Mood::default() });
    for number in 0..20 {
        let call = ledger.record(vec![intent(number)]);
        assert!(tokio::time::timeout(Duration::from_millis(7 * u64::try_from(number).unwrap()), call).await.is_err());
    }
    ledger.record(vec![intent(99)]).await.unwrap();
    world.store.set(Mood::default());
    assert!(in_the_ledger(&world).await.contains(&delivery(99)));
}
