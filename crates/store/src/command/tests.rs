//! A wish is written down once, and in order.

use super::*;
use crate::testing::World;

#[tokio::test]
async fn a_key_stands_for_one_command_however_many_ask_at_once() {
    let world = World::new().await;
    let session = world.session().await;
    let new = world.prompt(session, "same");
    let asked = futures::future::join_all((0..10).map(|_| world.store.command_enqueue(&new))).await;
    let asked: Vec<Enqueued> = asked.into_iter().map(Result::unwrap).collect();
    assert_eq!(asked.iter().filter(|enqueued| enqueued.created).count(), 1);
    assert!(asked.iter().all(|enqueued| (enqueued.command, enqueued.ordinal) == (asked[0].command, 1)));
}

#[tokio::test]
async fn ordinals_have_no_holes_when_many_ask_at_once() {
    let world = World::new().await;
    let session = world.session().await;
    let new: Vec<NewCommand> = (0..20).map(|n| world.prompt(session, &format!("k{}", n % 15))).collect();
    futures::future::join_all(new.iter().map(|new| world.store.command_enqueue(new))).await;
    let listed = world.store.commands_list(world.org, session, 0, 100).await.unwrap();
    let ordinals: Vec<i64> = listed.iter().map(|command| command.ordinal).collect();
    assert_eq!(ordinals, (1..=15).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_session_of_another_org_can_not_be_asked() {
    let world = World::new().await;
    let session = world.session().await;
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    let new = NewCommand { org: other, ..world.prompt(session, "k") };
    assert!(matches!(world.store.command_enqueue(&new).await, Err(EnqueueError::NoSuchSession)));
}
