//! What becomes of sessions whose worker is gone.

use std::time::Duration;

use chrono::TimeDelta;
use domain::command::CommandState;
use domain::event::Event;
use ids::BackupId;
use store::{Append, Environment};
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::run;

/// Long enough for a heartbeat to come in time on a slow machine, short enough to be waited for.
const SHORT: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_killed_workers_session_goes_on_elsewhere_from_the_last_checkpoint() {
    let world = World::new().await;
    let session = world.session().await;
    let first = world.prompt(session, "note kept.txt kept").await;
    let doomed = tokio::spawn(run(world.parts(), world.config(SHORT), CancellationToken::new()));
    world.finished(session, first).await;
    let second =
        world.prompt(session, "note half.txt half\nnote kept.txt spoilt\nsay on\nsleep 300\nread kept.txt").await;
    world.happened(session, |event| matches!(event, Event::MessageAppended { text, .. } if text == "on")).await;
    doomed.abort();
    let _ = doomed.await;
    let half = world.workspace_root().join(world.org.to_string()).join(session.to_string()).join("half.txt");
    assert!(half.exists(), "the killed worker left half of a turn behind");

    let heir = world.worker();
    let done = world.finished(session, second).await;
    heir.stop().await;
    assert_eq!((done.state, done.attempt), (CommandState::Done, 2));
    world.at_rest(session).await;
    let attempts = world.events(session).await.into_iter().filter_map(|recorded| match recorded.event {
        Event::TurnStarted { command_id, attempt } if command_id == second => Some(attempt),
        _ => None,
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_worker_that_overslept_writes_nothing_more() {
    let world = World::new().await;
    let session = world.session().await;
    world.prompt(session, "say hi").await;
    let now = world.store.sources().now();
    let claim = async |until| {
        let holder = world.store.sources().id();
        world.store.lease_claim(world.generation, holder, until, 5).await.unwrap()
    };
    let late = claim(now - TimeDelta::seconds(1)).await.remove(0);
    let current = claim(now + TimeDelta::hours(1)).await.remove(0);
    let held = world.store.lease_load(&current).await.unwrap();
    let append = Append { after: held.last_sequence, events: &[], projection: &held.projection };
    assert!(world.store.turn_append(&late, &append).await.is_err());
    assert!(world.store.turn_append(&current, &append).await.is_ok());
}

#[tokio::test]
async fn a_stopped_workers_sessions_go_on_at_once() {
    let world = World::new().await;
    let session = world.session().await;
    let command = world.prompt(session, "say on\nsleep 2000\nsay done").await;
    let stopped = world.worker();
    world.happened(session, |event| matches!(event, Event::MessageAppended { text, .. } if text == "on")).await;
    stopped.stop().await;
    assert_eq!(world.store.diagnostics_backlog().await.unwrap().leases_held, 0);
    assert_eq!(world.command(session, command).await.state, CommandState::Pending);
    let heir = world.worker();
    assert_eq!(world.finished(session, command).await.attempt, 2);
    heir.stop().await;
    world.at_rest(session).await;
}

#[tokio::test]
async fn a_new_generation_voids_the_leases_and_workers_of_the_old_one() {
    let world = World::new().await;
    let session = world.session().await;
    let command = world.prompt(session, "say hi").await;
    let until = world.store.sources().now() + TimeDelta::hours(1);
    let old = world.store.lease_claim(world.generation, world.store.sources().id(), until, 1).await.unwrap().remove(0);
    let backup: BackupId = world.store.sources().id();
    let restored = world.store.generation_start(backup, Environment::Production).await.unwrap();

    let other = world.session().await;
    world.prompt(other, "say hi").await;
    let claimed = world.store.lease_claim(world.generation, world.store.sources().id(), until, 9).await.unwrap();
    assert!(claimed.is_empty(), "a worker of the old generation claims nothing");
    let mut parts = world.parts();
    parts.generation = restored.generation;
    let worker = world.worker_with(parts);
    assert_eq!(world.finished(session, command).await.state, CommandState::Done);
    worker.stop().await;
    assert!(world.store.lease_load(&old).await.is_err());
}

#[tokio::test]
async fn a_session_whose_checkpoint_is_damaged_fails_with_a_sentence_and_is_kept() {
    let world = World::new().await;
    let session = world.session().await;
    let first = world.prompt(session, "note kept.txt kept").await;
    let worker = world.worker();
    world.finished(session, first).await;
    worker.stop().await;
    let checkpoint = world.checkpoint(session).await;
    let object = world.objects.folder().join(&checkpoint.manifest.key);
    let aside = object.with_extension("aside");
    std::fs::rename(&object, &aside).unwrap();

    let worker = world.worker();
    let second = world.prompt(session, "read kept.txt").await;
    let failed = world.finished(session, second).await;
    assert_eq!(failed.state, CommandState::Failed);
    let sentence = failed.outcome.unwrap();
    assert!(sentence.starts_with("the session's saved workspace can't be opened"), "{sentence}");
    assert!(sentence.contains("there is no object"), "{sentence}");
    assert_eq!(world.checkpoint(session).await, checkpoint);

    std::fs::rename(&aside, &object).unwrap();
    let third = world.prompt(session, "read kept.txt").await;
    assert_eq!(world.finished(session, third).await.state, CommandState::Done);
    worker.stop().await;
    world.at_rest(session).await;
}

#[tokio::test]
async fn a_workspace_that_this_process_did_not_leave_is_restored() {
    let world = World::new().await;
    let session = world.session().await;
    let first = world.prompt(session, "note kept.txt kept").await;
    let worker = world.worker();
    world.finished(session, first).await;
    worker.stop().await;
    let workspace = world.workspace_root().join(world.org.to_string()).join(session.to_string());
    std::fs::write(workspace.join("kept.txt"), "spoilt").unwrap();
    let second = world.prompt(session, "read kept.txt").await;
    let worker = world.worker();
    world.finished(session, second).await;
    worker.stop().await;
    assert_eq!(std::fs::read_to_string(workspace.join("kept.txt")).unwrap(), "kept");
}
