//! A lease is one holder's, and a late holder writes nothing.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::channel::ChannelKind;
use domain::command::{CommandState, WhileRunning, Wish};
use domain::event::{Event, MessageRole, TurnOutcome};
use sqlx::AssertSqlSafe;

use super::*;
use crate::testing::{World, waits};
use crate::{Append, BlobRow, Finish, NewArtifact, NewBinding, NewChannel, NewCheckpoint, NewCommand, Spoken};

fn said(text: &str) -> Event {
    Event::MessageAppended { message_id: "m".into(), role: MessageRole::Agent, text: text.into() }
}

fn blob(key: &str) -> BlobRow {
    BlobRow { key: key.into(), size: 1, sha256: vec![0; 32] }
}

fn finish<'a>(append: Append<'a>, command: CommandId) -> Finish<'a> {
    Finish {
        append,
        command,
        state: CommandState::Done,
        sentence: "the turn is complete".into(),
        turn: Some(TurnOutcome::Completed),
        checkpoint: None,
        turn_ms: 0,
        input_tokens: 2,
        output_tokens: 0,
        models: Vec::new(),
        heard: Vec::new(),
    }
}

#[tokio::test]
async fn two_at_once_never_claim_the_same_session() {
    let world = World::new().await;
    for _ in 0..20 {
        world.ready().await;
    }
    let claim_all = async || {
        let mut claimed = Vec::new();
        loop {
            let some = world.claim(3).await;
            if some.is_empty() {
                return claimed;
            }
            claimed.extend(some.into_iter().map(|lease| lease.session));
        }
    };
    let (one, two) = tokio::join!(claim_all(), claim_all());
    let all: BTreeSet<SessionId> = one.iter().chain(&two).copied().collect();
    assert_eq!((one.len() + two.len(), all.len()), (20, 20));
}

#[tokio::test]
async fn a_lease_that_is_renewed_is_kept_and_one_that_is_not_runs_out() {
    let world = World::new().await;
    world.ready().await;
    let lease = world.claim(1).await.remove(0);
    world.clock.advance(TimeDelta::seconds(59));
    assert!(world.claim(1).await.is_empty());
    let until = world.store.sources().now() + TimeDelta::minutes(1);
    assert_eq!(world.store.lease_renew(std::slice::from_ref(&lease), until).await.unwrap(), [lease.session]);
    world.clock.advance(TimeDelta::seconds(59));
    assert!(world.claim(1).await.is_empty());
    world.clock.advance(TimeDelta::seconds(1));
    let heir = world.claim(1).await.remove(0);
    assert!(heir.token > lease.token);
    assert!(world.store.lease_renew(&[lease], until).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stale_token_is_refused_by_every_write() {
    let world = World::new().await;
    let (session, command) = world.ready().await;
    let late = world.claim(1).await.remove(0);
    let held = world.store.lease_load(&late).await.unwrap();
    world.clock.advance(TimeDelta::minutes(2));
    let current = world.claim(1).await.remove(0);

    let events = [said("late")];
    let append = Append { after: held.last_sequence, events: &events, projection: &held.projection };
    let artifact = NewArtifact {
        artifact: world.store.sources().id(),
        name: "a".into(),
        media_type: "a/b".into(),
        blob: blob("a"),
    };
    let mut ending = finish(append, command);
    let checkpoint = world.store.sources().id();
    ending.checkpoint = Some(NewCheckpoint {
        checkpoint,
        manifest: blob("m"),
        files: vec![blob("f")],
        since: world.store.sources().now(),
    });
    let next = held.next.unwrap();
    let store = &world.store;
    let refused = [
        store.turn_start(&late, &append, &next).await.err(),
        store.turn_append(&late, &append).await.err(),
        store.turn_publish(&late, &append, std::slice::from_ref(&artifact)).await.err(),
        store.turn_finish(&late, &ending, &[artifact]).await.err(),
        store.lease_load(&late).await.err(),
        store.lease_release(&late, store.sources().now()).await.err(),
        store.lease_end_idle(&late).await.err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, Some(StoreError::LeaseLost))), "{refused:?}");

    assert_eq!(store.events_after(world.org, session, 0, 10).await.unwrap().len(), 1);
    assert_eq!(store.command_by_id(world.org, session, command).await.unwrap().unwrap().attempt, 0);
    assert!(store.artifacts_list(world.org, None, None, 10).await.unwrap().is_empty());
    assert!(store.checkpoints_all(None, 10).await.unwrap().is_empty());
    store.turn_append(&current, &append).await.unwrap();
}

#[tokio::test]
async fn an_append_that_follows_another_event_than_the_newest_is_refused() {
    let world = World::new().await;
    world.ready().await;
    let lease = world.claim(1).await.remove(0);
    let projection = Projection::default();
    let events = [said("a"), said("b")];
    let append = Append { after: 1, events: &events, projection: &projection };
    world.store.turn_append(&lease, &append).await.unwrap();
    assert!(matches!(world.store.turn_append(&lease, &append).await, Err(StoreError::LeaseLost)));
    let follows = Append { after: 3, ..append };
    world.store.turn_append(&lease, &follows).await.unwrap();
    assert_eq!(world.store.session_last_sequence(world.org, lease.session).await.unwrap(), Some(5));
}

#[tokio::test]
async fn the_end_of_a_turn_is_one_transaction_with_all_that_hangs_from_it() {
    let world = World::new().await;
    let (session, command) = world.ready().await;
    let lease = world.claim(1).await.remove(0);
    let held = world.store.lease_load(&lease).await.unwrap();
    assert_eq!(held.next.as_ref().map(|next| next.command), Some(command));
    let events = [said("done")];
    let append = Append { after: 1, events: &events, projection: &held.projection };
    let checkpoint: CheckpointId = world.store.sources().id();
    let files = vec![blob("f2"), blob("f1")];
    let mut ending = finish(append, command);
    ending.checkpoint =
        Some(NewCheckpoint { checkpoint, manifest: blob("m"), files, since: world.store.sources().now() });
    assert_eq!(world.store.turn_finish(&lease, &ending, &[]).await.unwrap(), None);

    let seen = world.store.session_by_id(world.org, session).await.unwrap().unwrap();
    assert_eq!((seen.checkpoint_id, seen.last_sequence), (Some(checkpoint), 2));
    let row = world.store.checkpoint_by_id(world.org, checkpoint).await.unwrap().unwrap();
    assert_eq!((row.sequence, row.manifest), (2, blob("m")));
    let done = world.store.command_by_id(world.org, session, command).await.unwrap().unwrap();
    assert_eq!((done.state, done.finished_at.is_some()), (CommandState::Done, true));
    world.clock.advance(TimeDelta::hours(1));
    assert!(world.claim(1).await.is_empty(), "nothing is left to do");
}

#[tokio::test]
async fn a_command_that_arrives_while_a_turn_ends_is_not_missed() {
    let world = World::new().await;
    for while_running in [WhileRunning::Queue, WhileRunning::Steer].repeat(20) {
        let (session, command) = world.ready().await;
        let lease = world.claim(1).await.remove(0);
        let held = world.store.lease_load(&lease).await.unwrap();
        let ending = finish(Append { after: 1, events: &[], projection: &held.projection }, command);
        let second = world.prompt(session, "second");
        let (next, enqueued) = tokio::join!(
            world.store.turn_finish(&lease, &ending, &[]),
            world.store.command_speak(&second, while_running, None)
        );
        let second = enqueued.unwrap().command;
        match next.unwrap() {
            Some(next) => assert_eq!(next.command, second),
            None => assert_eq!(world.claim(1).await[0].session, session),
        }
        world.clock.advance(TimeDelta::microseconds(1));
    }
}

#[tokio::test]
async fn a_prompt_that_a_turn_heard_ends_with_it_and_not_for_a_late_holder() {
    let world = World::new().await;
    let (session, command) = world.ready().await;
    let lease = world.claim(1).await.remove(0);
    let late = Lease { token: FencingToken { counter: lease.token.counter - 1, ..lease.token }, ..lease.clone() };
    let held = world.store.lease_load(&lease).await.unwrap();
    let steer = world.store.command_speak(&world.prompt(session, "steer"), WhileRunning::Steer, None).await.unwrap();
    let mut ending = finish(Append { after: 1, events: &[], projection: &held.projection }, command);
    ending.heard = vec![steer.command];
    assert!(matches!(world.store.turn_finish(&late, &ending, &[]).await, Err(StoreError::LeaseLost)));
    let seen = async || world.store.command_by_id(world.org, session, steer.command).await.unwrap().unwrap();
    assert_eq!(seen().await.state, CommandState::Pending);
    assert_eq!(world.store.turn_finish(&lease, &ending, &[]).await.unwrap(), None);
    assert_eq!((seen().await.state, seen().await.attempt), (CommandState::Done, 0));
    assert!(world.claim(1).await.is_empty());
}

#[tokio::test]
async fn a_turn_learns_when_it_begins_that_it_is_steered() {
    let world = World::new().await;
    let (session, _) = world.ready().await;
    let lease = world.claim(1).await.remove(0);
    let held = world.store.lease_load(&lease).await.unwrap();
    let next = held.next.unwrap();
    world.store.command_speak(&world.prompt(session, "steer"), WhileRunning::Steer, None).await.unwrap();
    let append = Append { after: held.last_sequence, events: &[], projection: &held.projection };
    let spoken = world.store.turn_start(&lease, &append, &next).await.unwrap();
    assert_eq!(spoken, Spoken { aborting: false, steering: true });
    let itself = NextCommand { ordinal: 2, ..next };
    assert_eq!(world.store.turn_start(&lease, &append, &itself).await.unwrap(), Spoken::default());
}

#[tokio::test]
async fn a_turn_learns_when_it_begins_that_it_is_to_end() {
    let world = World::new().await;
    let (session, _) = world.ready().await;
    let lease = world.claim(1).await.remove(0);
    let held = world.store.lease_load(&lease).await.unwrap();
    let next = held.next.unwrap();
    let append = |after| Append { after, events: &[], projection: &held.projection };
    assert_eq!(world.store.turn_start(&lease, &append(held.last_sequence), &next).await.unwrap(), Spoken::default());

    let abort = NewCommand { wish: Wish::Abort {}, ..world.prompt(session, "abort") };
    world.store.command_enqueue(&abort).await.unwrap();
    assert!(world.store.turn_start(&lease, &append(held.last_sequence), &next).await.unwrap().aborting);
    let later = NextCommand { ordinal: next.ordinal + 2, ..next };
    assert!(
        !world.store.turn_start(&lease, &append(held.last_sequence), &later).await.unwrap().aborting,
        "it was meant for another"
    );
}

/// The gateway has looked at the events, and the turn's statement, which waits for it, began before the cursor was moved.
#[tokio::test]
async fn a_turn_that_ends_while_an_earlier_one_is_rendered_leaves_its_thread_behind() {
    let world = World::new().await;
    let (session, command) = world.ready().await;
    let lease = world.claim(1).await.remove(0);
    let held = world.store.lease_load(&lease).await.unwrap();
    bind(&world, session).await;
    let pool = &world.store.pool;
    sqlx::query("UPDATE delivery_cursors SET behind = true").execute(pool).await.unwrap();

    let mut rendering = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM sessions FOR SHARE").execute(&mut *rendering).await.unwrap();
    sqlx::query("UPDATE delivery_cursors SET behind = false").execute(&mut *rendering).await.unwrap();
    let ending = finish(Append { after: 1, events: &[], projection: &held.projection }, command);
    let rendered = async {
        waits(&world.store, "-- turn_finish%").await;
        rendering.commit().await.unwrap();
    };
    let (finished, ()) = tokio::join!(world.store.turn_finish(&lease, &ending, &[]), rendered);
    finished.unwrap();
    assert_eq!(world.store.cursor_behind(1).await.unwrap().len(), 1);
}

/// Ties the session to a thread of a new channel.
async fn bind(world: &World, session: SessionId) {
    let channel = NewChannel {
        org: world.org,
        kind: ChannelKind::Webhook,
        name: "ops".into(),
        destination: "http://127.0.0.1:9/".parse().unwrap(),
        secret_version: "1".into(),
        deduplicates: true,
    };
    let channel = world.store.channel_create(&channel, "role:test").await.unwrap().channel_id;
    let binding = NewBinding { org: world.org, channel, thread: "general".into(), session };
    world.store.binding_create(&binding, "role:test").await.unwrap();
}

#[tokio::test]
async fn a_claim_reads_only_the_leases_that_it_takes() {
    let world = World::new().await;
    sqlx::query(
        "INSERT INTO sessions (org_id, session_id, title, agent, last_sequence, last_ordinal, generation,
            fencing_counter, created_at, updated_at)
         SELECT org_id, gen_random_uuid(), '', '', 1, 0, 1, 0, now(), now() FROM orgs, generate_series(1, 20000)",
    )
    .execute(&world.store.pool)
    .await
    .unwrap();
    // A backlog: all due. The first few must be found without looking at the rest.
    sqlx::query(
        "INSERT INTO session_leases
         SELECT org_id, session_id, now() - random() * interval '1 hour' FROM sessions LIMIT 2000",
    )
    .execute(&world.store.pool)
    .await
    .unwrap();
    sqlx::query("ANALYZE sessions, session_leases, generations").execute(&world.store.pool).await.unwrap();
    let claim = include_str!("lease_claim.sql")
        .replace("$1", "1")
        .replace("$2", "gen_random_uuid()")
        .replace("$3", "now()")
        .replace("$4", "now()")
        .replace("$5", "8")
        .replace("$6", "current_date");
    let explain = format!("EXPLAIN (COSTS OFF) {claim}");
    let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&world.store.pool).await.unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains("Index Scan using session_leases_wake on session_leases leases"), "{plan}");
    assert!(!plan.contains("Seq Scan on sessions"), "{plan}");
}
