//! Rounds that overlap: while some deliveries wait for their intents, others are at the far side, or wait for their outcomes or
//! for their rows. The recovery ledger is slow, and gateways are ended in the middle of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::channel::DeliveryState::{Pending, Sent, Unknown};
use gateway::GatewayConfig;
use ledger::DeliveryVerdict;
use store::Environment;
use testkit::{Mood, wait_until};

use crate::sink::Sink;
use crate::traced::{LEASE, begin, end};
use crate::world::{World, config};

const THREADS: usize = 8;
const EACH: usize = 3;
const IN_FLIGHT: usize = 6;
/// Gateways that are ended before one may finish.
const LIVES: usize = 4;

fn in_flight(concurrency: usize) -> GatewayConfig {
    GatewayConfig { concurrency, ..config() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_does_not_wait_for_the_intents_of_the_one_before() {
    let world = Arc::new(World::new().await);
    let (sink, url) = Sink::start().await;
    let channel = world.channel(&url).await;
    world.ledger.set(Mood { hang: true, ..Mood::default() });
    for thread in 0..4 {
        let session = world.thread(channel, &format!("thread {thread}")).await;
        world.turn(session, "hello").await;
    }
    let life = begin(&world, in_flight(4)).await;
    let claimed = || async {
        let pending = world.deliveries(Pending).await;
        pending.len() == 4 && pending.iter().all(|one| one.attempt == 1)
    };
    wait_until("both halves are claimed", claimed).await;
    end(life).await;
    assert!(sink.seen().is_empty(), "nothing leaves that the ledger does not know");
}

/// What left is known to the ledger, and what a row says of it, too.
async fn everything_is_told(world: &World, sink: &Sink) {
    let sent = world.deliveries(Sent).await;
    let known = world.remembered().await.deliveries;
    let fact = |id: &str| known.iter().find(|((_, delivery), _)| delivery.to_string() == id).map(|(_, fact)| fact);
    for seen in sink.seen() {
        let fact = fact(seen.header("webhook-id"));
        assert!(fact.is_some_and(|fact| fact.intents != 0), "a message left before its intent");
    }
    for row in sent {
        let verdict = fact(&row.delivery_id.to_string()).map(ledger::DeliveryFact::verdict);
        assert_eq!(verdict, Some(DeliveryVerdict::Sent), "a row is ahead of the ledger");
    }
}

async fn end_in_the_middle(deduplicates: bool) {
    let (clock, sources) = testkit::sources(7);
    let world = Arc::new(World::of(Environment::Production, sources).await);
    let (sink, url) = Sink::start().await;
    let channel = world.channel_that(&url, deduplicates).await;
    let texts: Vec<String> = (0..EACH).map(|turn| format!("turn {turn}")).collect();
    for thread in 0..THREADS {
        let session = world.thread(channel, &format!("thread {thread}")).await;
        for text in &texts {
            world.turn(session, text).await;
        }
    }
    world.ledger.set(Mood { delay: Duration::from_millis(10), ..Mood::default() });
    for life in 0..=LIVES {
        let gateway = begin(&world, in_flight(IN_FLIGHT)).await;
        let until = if life < LIVES { sink.seen().len() + life + 1 } else { usize::MAX };
        let enough = || async {
            clock.advance(TimeDelta::milliseconds(20));
            let over = world.deliveries(Sent).await.len() + world.deliveries(Unknown).await.len();
            sink.seen().len() >= until || over == THREADS * EACH
        };
        wait_until("enough has left", enough).await;
        end(gateway).await;
        everything_is_told(&world, &sink).await;
        clock.advance(LEASE);
    }
    let unknown = world.deliveries(Unknown).await.len();
    assert!(unknown <= if deduplicates { 0 } else { LIVES * IN_FLIGHT }, "{unknown} are unknown");
    for thread in 0..THREADS {
        let mut accepted = sink.accepted(&format!("thread {thread}"));
        if deduplicates {
            accepted.dedup();
            assert_eq!(accepted, texts);
        }
        assert!(accepted.is_sorted(), "out of order: {accepted:?}");
        assert_eq!(accepted.iter().collect::<HashSet<_>>().len(), accepted.len(), "twice: {accepted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_rounds_that_are_ended_in_the_middle_send_nothing_twice_where_that_would_be_seen() {
    end_in_the_middle(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_rounds_that_are_ended_in_the_middle_lose_nothing_where_repeats_are_taken_once() {
    end_in_the_middle(true).await;
}
