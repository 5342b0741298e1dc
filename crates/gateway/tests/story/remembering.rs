//! What the recovery ledger knows while a gateway sends, and what a gateway does without one.

use std::time::Duration;

use domain::channel::DeliveryState::{Dead, Pending, Sent, Unknown};
use ids::{DeliveryId, SessionId};
use ledger::{DeliveryFact, DeliveryVerdict};
use store::Intervention;
use testkit::{Mood, wait_until};

use crate::sink::Sink;
use crate::world::World;

/// The one delivery that the ledger knows.
async fn known(world: &World) -> (DeliveryId, DeliveryFact) {
    let mut known: Vec<_> = world.remembered().await.deliveries.into_iter().collect();
    assert_eq!(known.len(), 1);
    let ((org, delivery), fact) = known.remove(0);
    assert_eq!(org, world.org);
    (delivery, fact)
}

async fn thread(world: &World, url: &str, deduplicates: bool) -> SessionId {
    world.thread(world.channel_that(url, deduplicates).await, "general").await
}

#[tokio::test]
async fn a_message_leaves_after_its_intent_and_is_told_when_it_has_arrived() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = thread(&world, &url, false).await;
    sink.close_gate();
    world.gateway();
    world.turn(session, "hello").await;
    wait_until("the message is at the far side", || async { sink.seen().len() == 1 }).await;
    let (delivery, fact) = known(&world).await;
    assert_eq!(sink.seen()[0].header("webhook-id"), delivery.to_string());
    assert_eq!(fact.verdict(), DeliveryVerdict::Unknown { deduplicates: false });
    sink.open_gate();
    world.until(Sent, 1).await;
    assert_eq!(known(&world).await.1.verdict(), DeliveryVerdict::Sent);
}

#[tokio::test]
async fn without_a_ledger_nothing_leaves_and_afterwards_everything_does_once() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = thread(&world, &url, false).await;
    world.ledger.set(Mood { fail: 100, ..Mood::default() });
    world.gateway();
    for text in ["one", "two", "three"] {
        world.turn(session, text).await;
    }
    let tried = || async { world.deliveries(Pending).await.iter().any(|one| one.attempt > 0) };
    wait_until("the gateway wanted to send", tried).await;
    let given_back = || async { world.deliveries(Pending).await.iter().all(|one| one.attempt == 0) };
    wait_until("it gave its claims back", given_back).await;
    assert!(sink.seen().is_empty(), "nothing leaves that the ledger does not know");
    world.ledger.set(Mood::default());
    world.until(Sent, 3).await;
    assert_eq!(sink.accepted("general"), ["one", "two", "three"]);
    assert_eq!(sink.seen().len(), 3);
}

#[tokio::test]
async fn an_outcome_that_the_ledger_did_not_take_waits_in_the_outbox() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = thread(&world, &url, false).await;
    sink.close_gate();
    world.gateway();
    world.turn(session, "hello").await;
    wait_until("the message is at the far side", || async { sink.seen().len() == 1 }).await;
    world.ledger.set(Mood { fail: 100, ..Mood::default() });
    sink.open_gate();
    world.until(Sent, 1).await;
    assert_eq!(world.store.outbox_backlog().await.unwrap().rows, 1);
    assert_eq!(known(&world).await.1.verdict(), DeliveryVerdict::Unknown { deduplicates: false });
    world.ledger.set(Mood::default());
    world.parts().effects.flush().await;
    assert_eq!(known(&world).await.1.verdict(), DeliveryVerdict::Sent);
    assert_eq!(world.store.outbox_backlog().await.unwrap().rows, 0);
}

#[tokio::test]
async fn a_slow_ledger_delays_messages_and_loses_none() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = thread(&world, &url, true).await;
    world.ledger.set(Mood { delay: Duration::from_millis(100), fail: 10, lie: 10, ..Mood::default() });
    world.gateway();
    let texts: Vec<String> = (0..8).map(|turn| format!("turn {turn}")).collect();
    for text in &texts {
        world.turn(session, text).await;
    }
    world.until(Sent, texts.len()).await;
    assert_eq!(sink.accepted("general"), texts);
    world.ledger.set(Mood::default());
    world.parts().effects.flush().await;
    let known = world.remembered().await.deliveries;
    assert!(known.values().all(|fact| fact.verdict() == DeliveryVerdict::Sent), "{known:?}");
}

/// A gateway that is lost while the far side has the message: its task is dropped at the await it stands at.
async fn lost_in_flight(deduplicates: bool) -> (World, Sink, DeliveryId) {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = thread(&world, &url, deduplicates).await;
    sink.answer("general", &[(504, None)]);
    world.gateway();
    world.turn(session, "hello").await;
    let state = if deduplicates { Sent } else { Unknown };
    let delivery = world.until(state, 1).await.remove(0).delivery_id;
    (world, sink, delivery)
}

#[tokio::test]
async fn an_ambiguous_answer_is_never_told_as_not_sent() {
    let (world, sink, _) = lost_in_flight(true).await;
    let (_, fact) = known(&world).await;
    assert_eq!((fact.intents, fact.not_sent, fact.sent), (0b11, 0, true));
    assert_eq!(sink.seen().len(), 2);
}

#[tokio::test]
async fn a_person_sends_an_unknown_delivery_again_and_the_ledger_follows() {
    let (world, sink, delivery) = lost_in_flight(false).await;
    let (store, org) = (&world.store, world.org);
    assert_eq!(known(&world).await.1.verdict(), DeliveryVerdict::Unknown { deduplicates: false });
    let unknown = store.delivery_list_unknown(None, None, 10).await.unwrap();
    assert_eq!(
        unknown.iter().map(|one| (one.delivery_id, one.thread.as_str())).collect::<Vec<_>>(),
        [(delivery, "general")]
    );
    sink.answer("general", &[(504, None)]);
    assert_eq!(store.delivery_resend(org, delivery, "role:test").await.unwrap(), Intervention::Done);
    world.parts().effects.flush().await;
    world.until(Unknown, 1).await;
    let again = || async { sink.seen().len() == 2 };
    wait_until("it went out again", again).await;
    world.until(Unknown, 1).await;
    assert_eq!(known(&world).await.1.verdict(), DeliveryVerdict::Unknown { deduplicates: false });
    assert_eq!(store.delivery_settle_unknown(org, delivery, true, "role:test").await.unwrap(), Intervention::Done);
    world.parts().effects.flush().await;
    assert_eq!(known(&world).await.1.verdict(), DeliveryVerdict::Sent);
    assert_eq!(store.delivery_resend(org, delivery, "role:test").await.unwrap(), Intervention::NotNow);
}

#[tokio::test]
async fn a_dead_letter_that_is_revived_may_be_sent_by_a_restored_system() {
    let (world, _, delivery) = lost_in_flight(false).await;
    let (store, org) = (&world.store, world.org);
    assert_eq!(store.delivery_settle_unknown(org, delivery, false, "role:test").await.unwrap(), Intervention::Done);
    world.until(Dead, 1).await;
    world.parts().effects.flush().await;
    assert_eq!(known(&world).await.1.verdict(), DeliveryVerdict::Dead);
    world.shutdown.cancel();
    assert_eq!(store.delivery_retry(org, delivery, "role:test").await.unwrap(), Intervention::Done);
    assert_eq!(store.delivery_dead_letter(org, delivery, "role:test").await.unwrap(), Intervention::Done);
    world.parts().effects.flush().await;
    assert_eq!(known(&world).await.1.verdict(), DeliveryVerdict::Dead, "set aside again, after the retry");
    assert_eq!(store.delivery_retry(org, delivery, "role:test").await.unwrap(), Intervention::Done);
    world.parts().effects.flush().await;
    assert_eq!(known(&world).await.1.verdict(), DeliveryVerdict::NotSent);
}
