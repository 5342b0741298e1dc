//! Compaction changes what a ledger costs, and nothing that it says.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use testkit::Mood;

use super::support::{World, intent, start};
use crate::{Compaction, Entry, Finding, Reader, compact};

const SECOND: TimeDelta = TimeDelta::seconds(1);
const DAY: TimeDelta = TimeDelta::days(1);

fn told(entries: &[Entry]) -> BTreeSet<String> {
    entries.iter().map(|entry| format!("{entry:?}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_compacted_ledger_says_the_same_in_fewer_objects() {
    let world = World::new();
    world.chain(40, SECOND * 300).await;
    world.chain(3, SECOND).await;
    world.clock.advance(DAY);
    let (before, _) = world.entries(start()).await;
    let done = compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY * 30)).await.unwrap();
    assert_eq!((done.bundles, done.bundled, done.dropped), (4, 43, 0));
    assert_eq!(world.keys().await.len(), 4);
    let (after, findings) = world.entries(start()).await;
    assert_eq!((told(&after), after.len()), (told(&before), before.len()));
    assert_eq!(findings, []);
    let again =
        compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY * 30)).await.unwrap();
    assert_eq!(again, crate::Compacted::default());
    let (later, findings) = world.entries(start() + TimeDelta::hours(2)).await;
    assert_eq!((later.len(), findings), (19, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_still_seen_and_what_can_not_be_read_stays_as_evidence() {
    let world = World::new();
    let writer = world.chain(6, SECOND).await;
    let keys = world.keys().await;
    world.replace(&keys[1], None).await;
    let mut edited = world.objects.get(&keys[3]).await.unwrap().to_vec();
    edited[100] ^= 1;
    world.replace(&keys[3], Some(edited.into())).await;
    world.clock.advance(DAY);
    let before = world.entries(start()).await;
    compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY * 30)).await.unwrap();
    assert!(world.keys().await.contains(&keys[3]));
    let (entries, mut findings) = world.entries(start()).await;
    findings.sort_by_key(Finding::code);
    let holes = [2, 4].map(|missing| Finding::Hole { writer, first: missing, last: missing });
    assert_eq!(told(&entries), told(&before.0));
    assert_eq!(findings[1..], holes);
    assert_eq!(findings[0].code(), "ledger_damaged");
}

#[tokio::test(start_paused = true)]
async fn a_compaction_that_fails_anywhere_loses_nothing_and_can_be_repeated() {
    for seed in 0..40 {
        let world = World::seeded(seed);
        world.chain(20, SECOND).await;
        world.clock.advance(DAY);
        let before = told(&world.entries(start()).await.0);
        world.store.set(Mood { fail: 20, lie: 20, ..Mood::default() });
        for _ in 0..8 {
            let _ = compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY * 30)).await;
        }
        world.store.set(Mood::default());
        let (entries, findings) = world.entries(start()).await;
        assert_eq!((entries.len(), told(&entries), findings), (20, before.clone(), vec![]), "seed {seed}");
        compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY * 30)).await.unwrap();
        let (entries, findings) = world.entries(start()).await;
        assert_eq!((entries.len(), told(&entries), findings), (20, before, vec![]), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_bundle_and_deletion_leaves_both_and_each_segment_is_read_once() {
    let world = World::new();
    world.chain(10, SECOND).await;
    let keys = world.keys().await;
    let mut raw = Vec::new();
    for key in &keys {
        raw.push((key, world.objects.get(key).await.unwrap()));
    }
    world.clock.advance(DAY);
    compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY * 30)).await.unwrap();
    for (key, bytes) in raw {
        world.objects.put(key, bytes).await.unwrap();
    }
    let (entries, findings) = world.entries(start()).await;
    assert_eq!((entries.len(), findings), (10, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_overtaken_by_a_compaction_misses_nothing() {
    let world = World::new();
    world.chain(50, SECOND).await;
    world.clock.advance(DAY);
    let reader = Reader::open(world.objects.clone(), world.system, world.sources.now()).await.unwrap();
    let mut entries = reader.entries(start());
    let mut read = vec![entries.next().await.unwrap().unwrap()];
    compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY * 30)).await.unwrap();
    while let Some(entry) = entries.next().await.unwrap() {
        read.push(entry);
    }
    assert_eq!((read.len(), told(&read).len()), (50, 50));
    assert_eq!(entries.findings().list(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_retention_is_dropped_and_who_asks_for_it_is_told() {
    let world = World::new();
    let ledger = world.ledger(1);
    for day in 0..6 {
        ledger.record(vec![intent(day)]).await.unwrap();
        world.clock.advance(DAY);
    }
    let done = compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY * 3)).await.unwrap();
    assert_eq!(done.dropped, 3);
    let kept_from = start() + DAY * 2 + TimeDelta::hours(1);
    let (entries, findings) = world.entries(start()).await;
    assert_eq!((entries.len(), findings), (3, vec![Finding::Dropped { kept_from }]));
    assert_eq!(world.entries(start() + DAY * 3).await.1, []);
    world.clock.advance(DAY * 2);
    compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(TimeDelta::zero())).await.unwrap();
    let (entries, findings) = world.entries(start()).await;
    assert_eq!(entries.len(), 0, "a day is kept whatever is asked for, and it has nothing");
    assert_eq!(findings, [Finding::Dropped { kept_from: start() + DAY * 5 + TimeDelta::hours(1) }]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_byte_in_a_bundle_costs_at_most_its_segment_and_is_found() {
    let world = World::new();
    world.chain(3, SECOND).await;
    world.clock.advance(DAY);
    compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY * 30)).await.unwrap();
    let key = world.keys().await.remove(0);
    let bundle = world.objects.get(&key).await.unwrap();
    for at in 0..bundle.len() {
        let mut bytes = bundle.to_vec();
        bytes[at] ^= 0x10;
        world.replace(&key, Some(bytes.into())).await;
        let (entries, findings) = world.entries(start()).await;
        assert!(findings.iter().any(|finding| !finding.normal()), "byte {at}");
        assert!(entries.len() <= 3, "byte {at}");
    }
    for length in 0..bundle.len() {
        world.replace(&key, Some(bundle.slice(..length))).await;
        let (_, findings) = world.entries(start()).await;
        assert!(findings.iter().any(|finding| !finding.normal()), "cut at {length}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_ledger_is_compacted_without_a_trace() {
    let world = World::new();
    compact(&world.objects, world.system, world.sources.now(), Compaction::keeping(DAY)).await.unwrap();
    assert_eq!(world.store.puts(), 0);
}
