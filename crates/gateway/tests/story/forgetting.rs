//! Deliveries that were finished are deleted, and nothing goes out again for it, whichever backup comes back.

use chrono::TimeDelta;
use domain::channel::DeliveryState::Sent;
use ledger::Reader;
use objects::Objects;
use recovery::{Memory, Recovery};
use store::{Environment, Store};
use testkit::TestDatabase;

use crate::sink::Sink;
use crate::world::World;

/// All that is finished goes, as if it were very old.
async fn forget(world: &World) -> i64 {
    let tomorrow = world.store.sources().now() + TimeDelta::days(1);
    let sweep = world.store.delivery_sweep(world.org, None, tomorrow, 100).await.unwrap();
    assert!(world.deliveries(Sent).await.is_empty());
    sweep.deleted
}

/// A backup, and the world as it goes on: copying its database cuts its connections off.
pub(crate) async fn backed_up(world: World) -> (World, TestDatabase) {
    let backup = world.database.copy().await;
    let database = backup.copy().await;
    let store = Store::from_pool(database.pool(), world.store.sources().clone());
    let generation = world.generation.clone();
    (world.living_on(database, store, generation), backup)
}

/// What `cowork restore` makes of the backup, with the ledger that the lost system and its later lives have written.
pub(crate) async fn restored(world: &World, backup: &TestDatabase) -> World {
    let database = backup.copy().await;
    let store = Store::from_pool(database.pool(), world.store.sources().clone());
    let current = store.generation_current().await.unwrap().unwrap();
    let own = Objects::over(world.ledger.calm());
    let reader = Reader::open(own.clone(), current.system_id, store.sources().now()).await.unwrap();
    let recovery = Recovery {
        store: &store,
        current: &current,
        own: &own,
        environment: Environment::Production,
        backup: store.sources().id(),
        memory: Memory::Ledger(&reader),
    };
    let generation = recovery.begin(&mut |_| {}).await.unwrap().generation;
    world.living_on(database, store, generation)
}

#[tokio::test]
async fn deliveries_that_were_deleted_do_not_go_out_again_whichever_backup_comes_back() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    // A far side that would see a repeat.
    let channel = world.channel_that(&url, false).await;
    let session = world.thread(channel, "general").await;
    world.turn(session, "one").await;
    let (mut world, nothing_sent) = backed_up(world).await;

    world.send(1).await;
    world.turn(session, "two").await;
    world.send(2).await;
    assert_eq!(forget(&world).await, 2);
    let (mut world, forgotten) = backed_up(world).await;
    world.turn(session, "three").await;
    world.send(1).await;
    assert_eq!(forget(&world).await, 1);
    assert_eq!(sink.accepted("general"), ["one", "two", "three"]);

    for (backup, next) in [(&nothing_sent, "four"), (&forgotten, "five"), (&nothing_sent, "six")] {
        let mut world = restored(&world, backup).await;
        world.render().await;
        forget(&world).await;
        // Only what is new goes out, and that it does says that the gateway was at work.
        world.turn(session, next).await;
        world.send(1).await;
        assert_eq!(sink.accepted("general").last().unwrap(), next);
        assert_eq!(forget(&world).await, 1);
    }
    assert_eq!(sink.accepted("general"), ["one", "two", "three", "four", "five", "six"]);
    assert_eq!(sink.seen().len(), 6);
}
