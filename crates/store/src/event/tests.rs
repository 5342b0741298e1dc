//! Who asks with others gets their own events, and as many as they asked for.

use domain::event::MessageRole;

use super::*;
use crate::testing::World;

fn sequences(found: Result<Vec<Recorded>, StoreError>) -> Vec<i64> {
    found.unwrap().iter().map(|recorded| recorded.sequence).collect()
}

/// A session's sequences from 1 to `last`.
async fn session(world: &World, last: i64) -> SessionId {
    let (session, _) = world.ready().await;
    let lease = world.claim(1).await.pop().unwrap();
    let said = Event::MessageAppended { message_id: "m".into(), role: MessageRole::Agent, text: session.to_string() };
    let events = vec![said; usize::try_from(last - 1).unwrap()];
    let projection = Projection::rebuild(&events);
    world.store.turn_append(&lease, &Append { after: 1, events: &events, projection: &projection }).await.unwrap();
    session
}

#[tokio::test]
async fn new_events_that_are_asked_for_at_once_are_each_session_s_own() {
    let world = World::new().await;
    let mut sessions = Vec::new();
    for last in [3, 5, 9] {
        sessions.push(session(&world, last).await);
    }
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    let new = |org, place: usize, after, limit| world.store.events_new(org, sessions[place], after, limit);
    let asked = [
        (world.org, 0, 0, 10, vec![1, 2, 3]),
        (world.org, 1, 3, 10, vec![4, 5]),
        (world.org, 1, 5, 10, vec![]),
        (world.org, 2, 1, 3, vec![2, 3, 4]),
        (world.org, 2, 1, 0, vec![2]),
        (other, 2, 0, 10, vec![]),
    ];
    // More than may share a statement.
    let asked: Vec<_> = asked.iter().cycle().take(400).collect();
    let found = asked.iter().map(|(org, place, after, limit, _)| new(*org, *place, *after, *limit));
    let found = futures::future::join_all(found).await;
    for ((.., expected), found) in asked.into_iter().zip(found) {
        assert_eq!(&sequences(found), expected);
    }
    let alone = world.store.events_after(world.org, sessions[2], 0, 10).await.unwrap();
    assert_eq!(new(world.org, 2, 0, 10).await.unwrap(), alone);
}
