//! What a reader says of a ledger that somebody, or something, has laid hands on.

use std::sync::Arc;

use chrono::TimeDelta;
use object_store::memory::InMemory;
use objects::Objects;
use uuid::Uuid;

use super::support::{World, intent, start};
use crate::segment::{self, FrameKind, Link, MAX_OBJECT, Segment};
use crate::{Finding, LedgerError, Reader, Record};

const HOUR: TimeDelta = TimeDelta::hours(1);
const SECOND: TimeDelta = TimeDelta::seconds(1);

#[tokio::test(start_paused = true)]
async fn a_missing_segment_is_a_hole_and_the_rest_is_read() {
    let world = World::new();
    let writer = world.chain(5, SECOND).await;
    let keys = world.keys().await;
    world.replace(&keys[1], None).await;
    world.replace(&keys[2], None).await;
    let (entries, findings) = world.entries(start()).await;
    assert_eq!(entries.len(), 3);
    assert_eq!(findings, [Finding::Hole { writer, first: 2, last: 3 }]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_first_segment_of_the_range_is_a_hole_and_one_before_the_range_is_none() {
    let world = World::new();
    let writer = world.chain(3, HOUR * 30).await;
    let keys = world.keys().await;
    assert_eq!(world.entries(start() + HOUR * 30).await.1, []);
    world.replace(&keys[1], None).await;
    assert_eq!(world.entries(start() + HOUR * 31).await.1, []);
    assert_eq!(world.entries(start() + HOUR * 30).await.1, [Finding::Hole { writer, first: 2, last: 2 }]);
}

#[tokio::test(start_paused = true)]
async fn a_segment_cut_off_at_any_byte_is_torn_at_the_end_of_a_chain_and_damage_within_it() {
    let world = World::new();
    let writer = world.chain(3, SECOND).await;
    let keys = world.keys().await;
    let last = world.objects.get(&keys[2]).await.unwrap();
    for length in 0..last.len() {
        world.replace(&keys[2], Some(last.slice(..length))).await;
        let (entries, findings) = world.entries(start()).await;
        assert_eq!((entries.len(), findings), (2, vec![Finding::Torn { writer, sequence: 3 }]), "{length}");
    }
    world.replace(&keys[2], Some(last)).await;
    let middle = world.objects.get(&keys[1]).await.unwrap();
    world.replace(&keys[1], Some(middle.slice(..middle.len() - 1))).await;
    let (entries, findings) = world.entries(start()).await;
    assert_eq!(entries.len(), 2);
    assert_eq!(findings.iter().map(Finding::code).collect::<Vec<_>>(), ["ledger_damaged", "ledger_hole"]);
    assert!(findings.iter().all(|finding| !finding.normal()));
}

#[tokio::test(start_paused = true)]
async fn every_changed_byte_of_a_segment_is_found_and_nothing_of_it_is_used() {
    let world = World::new();
    world.chain(2, SECOND).await;
    let keys = world.keys().await;
    let first = world.objects.get(&keys[0]).await.unwrap();
    for at in 0..first.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = first.to_vec();
            bytes[at] ^= flip;
            world.replace(&keys[0], Some(bytes.into())).await;
            let (entries, findings) = world.entries(start()).await;
            assert_eq!(entries.len(), 1, "byte {at}");
            assert!(findings.iter().any(|finding| !finding.normal()), "byte {at}: {findings:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replaced_segment_breaks_the_chain_although_its_checksum_is_right() {
    let world = World::new();
    let writer = world.chain(3, SECOND).await;
    let keys = world.keys().await;
    let bytes = world.objects.get(&keys[1]).await.unwrap();
    let link = Segment::open(world.system, &bytes).unwrap().link;
    let mut body = Vec::new();
    intent(77).encode(&mut body);
    world.replace(&keys[1], Some(Segment::seal(world.system, &link, 1, &body).0.into())).await;
    let findings = world.entries(start()).await.1;
    assert_eq!(findings, [Finding::TwoWriters { writer, sequence: 3 }]);
}

#[tokio::test(start_paused = true)]
async fn two_writers_with_one_name_are_found() {
    let world = World::new();
    let name = world.sources.id();
    let (one, other) = (world.ledger_of(1, name), world.ledger_of(1, name));
    one.record(vec![intent(1)]).await.unwrap();
    world.clock.advance(SECOND);
    other.record(vec![intent(2)]).await.unwrap();
    let (entries, findings) = world.entries(start()).await;
    assert_eq!(entries.len(), 2, "nothing that was recorded is left out");
    assert_eq!(findings, [Finding::TwoWriters { writer: name, sequence: 1 }]);
    let twin = world.ledger_of(1, name);
    let refused = twin.record(vec![intent(3)]).await;
    assert!(matches!(refused, Err(LedgerError::TwoWriters { writer }) if writer == name), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn clocks_that_are_far_apart_are_found() {
    let world = World::new();
    let writer = world.sources.id();
    let ledger = world.ledger_of(1, writer);
    world.clock.advance(HOUR);
    ledger.record(vec![intent(1)]).await.unwrap();
    world.clock.advance(-HOUR);
    ledger.record(vec![intent(2)]).await.unwrap();
    let (entries, findings) = world.entries(start() - HOUR).await;
    assert_eq!(entries.len(), 2);
    let back = Finding::ClockBack { writer, sequence: 2, by: HOUR };
    assert_eq!(findings, [back, Finding::ClockAhead { writer, sequence: 1, by: HOUR }]);
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_clock_dated_before_the_range_is_read_all_the_same() {
    let world = World::new();
    // The store in memory tells the machine's time; this writer's clock is two hours behind it.
    let now = clock::Sources::system().now();
    world.clock.advance(now - start() - HOUR * 2);
    let writer = world.sources.id();
    world.ledger_of(1, writer).record(vec![intent(1)]).await.unwrap();
    world.clock.advance(HOUR * 2);
    let (entries, findings) = world.entries(now - HOUR).await;
    assert_eq!(entries.len(), 1);
    assert!(matches!(&findings[..], [Finding::PutLate { writer: found, .. }] if *found == writer), "{findings:?}");
}

#[tokio::test(start_paused = true)]
async fn strangers_objects_are_findings() {
    let world = World::new();
    world.chain(1, SECOND).await;
    let keys = world.keys().await;
    let folder = keys[0].rsplit_once('/').unwrap().0;
    let put = async |key: String, bytes: Vec<u8>| world.objects.put(&key, bytes.into()).await.unwrap().key;
    let stray = put(format!("{folder}/notes.txt"), vec![1]).await;
    let bytes = world.objects.get(&keys[0]).await.unwrap();
    let link = Segment::open(world.system, &bytes).unwrap().link;
    let other = Link { writer: world.sources.id(), ..link };
    let system = Uuid::from_u128(4).into();
    let another = put(other.key().to_string(), Segment::seal(system, &other, 0, &[]).0).await;
    let newer = Link { writer: world.sources.id(), ..other.clone() };
    let mut sealed = Segment::seal(world.system, &newer, 0, &[]).0;
    sealed[9] = 2;
    let newer = put(newer.key().to_string(), sealed).await;
    let large = Link { writer: world.sources.id(), ..other };
    let large = put(large.key().to_string(), vec![0; usize::try_from(MAX_OBJECT).unwrap() + 1]).await;
    let (entries, findings) = world.entries(start()).await;
    assert_eq!(entries.len(), 1);
    assert!(findings.contains(&Finding::Stray { key: stray }), "{findings:?}");
    assert!(findings.contains(&Finding::AnotherSystem { key: another, system }), "{findings:?}");
    assert!(findings.contains(&Finding::NewerFormat { key: newer, format: 2 }), "{findings:?}");
    assert!(findings.iter().any(|finding| matches!(finding, Finding::Damaged { key, .. } if *key == large)));
    assert_eq!(findings.len(), 4, "{findings:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_of_a_newer_format_or_with_a_changed_head_is_refused() {
    let world = World::new();
    world.chain(1, SECOND).await;
    let system = world.objects.get("system").await.unwrap();
    for at in 0..system.len() {
        let mut bytes = system.to_vec();
        bytes[at] ^= 0x40;
        world.replace("system", Some(bytes.into())).await;
        let refused = Reader::open(world.objects.clone(), world.system, start()).await.map(|_| ());
        match (at, &refused) {
            (8 | 9, Err(LedgerError::NewerFormat { .. })) | (_, Err(LedgerError::Damaged { .. })) => {}
            _ => panic!("byte {at}: {refused:?}"),
        }
        assert!(world.ledger(1).check().await.is_err(), "byte {at}");
        assert!(world.ledger(1).record(vec![intent(1)]).await.is_err(), "byte {at}");
    }
}

#[test]
fn promised_counts_and_wrong_kinds_allocate_nothing() {
    let (world, writer) = (Uuid::from_u128(1).into(), Uuid::from_u128(2).into());
    let link = Link {
        generation: 1,
        writer,
        sequence: 1,
        at: start(),
        previous: [0; 32],
        previous_at: chrono::DateTime::UNIX_EPOCH,
    };
    for count in [1, 1 << 16, u32::MAX] {
        assert!(Segment::open(world, &Segment::seal(world, &link, count, &[]).0).is_err());
    }
    assert!(Segment::open(world, &Segment::seal(world, &link, 1, &[200, 0]).0).is_err(), "an unknown kind");
    assert!(Segment::open(world, &Segment::seal(world, &link, 1, &[1, 255, 0]).0).is_err(), "a length beyond the end");
    assert!(Segment::open(world, &Segment::seal(world, &link, 0, &[0]).0).is_err(), "something left over");
    assert!(Segment::open(world, &segment::seal(FrameKind::System, world, &[]).0).is_err(), "another kind of object");
    let mut head = segment::header(FrameKind::Segment, world, 0);
    let length = head.len();
    head[length - 4..].fill(0xff);
    assert!(Segment::open(world, &head).is_err(), "a payload of 4 GiB");
}

#[tokio::test(start_paused = true)]
async fn a_folder_of_something_else_is_no_ledger() {
    let objects = Objects::over(Arc::new(InMemory::new()));
    objects.put("system", "hello, world".into()).await.unwrap();
    let refused = Reader::open(objects, Uuid::from_u128(1).into(), start()).await;
    assert!(matches!(refused, Err(LedgerError::Damaged { .. })));
}

#[test]
fn records_of_hostile_bytes_are_refused_and_never_panic() {
    for kind in 0..=u8::MAX {
        for length in [0_u8, 1, 15, 16, 31, 32, 33, 64, 255] {
            for fill in [0_u8, 1, 2, 0x7f, 0xff] {
                let mut bytes = vec![kind, length];
                bytes.extend(std::iter::repeat_n(fill, usize::from(length)));
                let _ = Record::decode(&mut crate::codec::Cursor(&bytes));
            }
        }
    }
}
