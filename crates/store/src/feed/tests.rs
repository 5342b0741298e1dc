use domain::event::{Event, MessageRole};
use domain::projection::Projection;

use testkit::wait_until;

use super::*;
use crate::testing::World;
use crate::{Append, Lease, NewSession, event};

/// Places of a feed as (session, sequence).
fn seen(page: &FeedPage) -> Vec<(SessionId, i64)> {
    page.events.iter().map(|event| (event.place.session, event.recorded.sequence)).collect()
}

async fn said(world: &World, lease: &Lease, after: i64) {
    let (events, projection) = (message(after), Projection::default());
    let append = Append { after, events: &events, projection: &projection };
    world.store.turn_append(lease, &append).await.unwrap();
}

fn message(after: i64) -> [Event; 1] {
    [Event::MessageAppended { message_id: format!("m{after}"), role: MessageRole::Agent, text: "hi".into() }]
}

async fn read(world: &World, after: FeedPlace) -> FeedPage {
    world.store.feed_after(1, world.org, after, 100).await.unwrap()
}

/// When nothing is held back: the tests beside this one have transactions on the same server.
async fn settled(world: &World, generation: i64, after: FeedPlace) -> FeedPage {
    let page = async || world.store.feed_after(generation, world.org, after, 100).await.unwrap();
    wait_until("nothing is held back", async || !page().await.held_back).await;
    page().await
}

/// The newest place.
async fn caught_up(world: &World) -> FeedPlace {
    settled(world, 1, FeedPlace::beginning()).await.events.last().unwrap().place
}

/// Two sessions with a lease each.
async fn two(world: &World) -> [Lease; 2] {
    world.ready().await;
    world.ready().await;
    world.claim(2).await.try_into().unwrap()
}

#[tokio::test]
async fn a_reader_misses_nothing_of_transactions_that_commit_in_the_other_order() {
    let world = World::new().await;
    let [slow, fast] = two(&world).await;
    let start = caught_up(&world).await;

    // The first begins earlier, and becomes visible later.
    let mut late = world.store.begin_of(world.org).await.unwrap();
    let (events, projection) = (message(1), Projection::default());
    let append = Append { after: 1, events: &events, projection: &projection };
    event::append(&mut *late, &slow, &append, world.store.sources().now()).await.unwrap();
    said(&world, &fast, 1).await;

    let between = read(&world, start).await;
    assert_eq!((seen(&between), between.held_back), (Vec::new(), true), "the one that is visible waits for the other");
    late.commit().await.unwrap();
    let after = settled(&world, 1, start).await;
    assert_eq!((seen(&after), after.held_back), (vec![(slow.session, 2), (fast.session, 2)], false));
    let resumed = settled(&world, 1, after.events[0].place).await;
    assert_eq!(seen(&resumed), [(fast.session, 2)], "who saw the one goes on with the other");
}

#[tokio::test]
async fn a_transaction_that_only_reads_holds_nothing_back() {
    let world = World::new().await;
    let [one, _] = two(&world).await;
    let start = caught_up(&world).await;
    let mut backup = world.store.begin_of(world.org).await.unwrap();
    sqlx::query("SELECT count(*) FROM events").fetch_one(&mut *backup).await.unwrap();
    said(&world, &one, 1).await;
    assert_eq!(seen(&settled(&world, 1, start).await), [(one.session, 2)]);
}

#[tokio::test]
async fn events_of_one_session_stay_in_its_order_whatever_the_numbers_of_their_transactions() {
    let world = World::new().await;
    let [one, _] = two(&world).await;
    let start = caught_up(&world).await;
    // It has its number before the session's row is written by a later one.
    let mut early = world.store.begin_of(world.org).await.unwrap();
    sqlx::query("SELECT pg_current_xact_id()").fetch_one(&mut *early).await.unwrap();
    said(&world, &one, 1).await;
    let (events, projection) = (message(2), Projection::default());
    let append = Append { after: 2, events: &events, projection: &projection };
    event::append(&mut *early, &one, &append, world.store.sources().now()).await.unwrap();
    early.commit().await.unwrap();
    assert_eq!(seen(&settled(&world, 1, start).await), [(one.session, 2), (one.session, 3)]);
}

#[tokio::test]
async fn what_is_written_after_a_restore_comes_after_what_the_lost_system_wrote() {
    let world = World::new().await;
    let [one, _] = two(&world).await;
    said(&world, &one, 1).await;
    // As in a server whose transactions are numbered from the beginning.
    let ahead = "UPDATE events SET feed_position = feed_position + 1000000000";
    sqlx::query(ahead).execute(&world.store.pool).await.unwrap();
    let before = world.store.feed_after(2, world.org, FeedPlace::beginning(), 100).await.unwrap();
    assert!(before.events.len() == 3 && !before.held_back, "what is restored is settled: {before:?}");
    let last = before.events.last().unwrap().place;
    let new = NewSession { org: world.org, created_by: None, title: "New".into(), agent: "scripted".into() };
    let session = world.store.session_create(2, &new).await.unwrap();
    let after = settled(&world, 2, last).await;
    assert_eq!(seen(&after), [(session, 1)]);
}

#[tokio::test]
async fn a_feed_has_nothing_of_another_org() {
    let world = World::new().await;
    world.session().await;
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    let page = world.store.feed_after(1, other, FeedPlace::beginning(), 100).await.unwrap();
    assert!(page.events.is_empty() && !page.held_back);
}

#[tokio::test]
async fn a_feed_that_begins_with_the_present_has_what_comes_after_it() {
    let world = World::new().await;
    let present = world.store.feed_present(1).await.unwrap();
    let session = world.session().await;
    assert_eq!(seen(&settled(&world, 1, present).await), [(session, 1)]);
}
