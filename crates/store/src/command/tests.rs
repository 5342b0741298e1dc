//! A wish is written down once, and in order.

use domain::tenancy::Role;

use super::*;
use crate::AuditFilter;
use crate::channel_identity::tests::member;
use crate::testing::World;

/// What the audit trail has of a session: who did what, and what else is told of it.
async fn told(world: &World, session: SessionId) -> Vec<(String, String, Value)> {
    let filter = AuditFilter { target: Some(format!("session:{session}")), ..AuditFilter::default() };
    let (records, _) = world.store.audit_list(world.org, &filter, 0, 100).await.unwrap();
    records.into_iter().map(|record| (record.actor, record.action, record.detail)).collect()
}

#[tokio::test]
async fn a_key_stands_for_one_command_however_many_ask_at_once() {
    let world = World::new().await;
    let session = world.session().await;
    let new = world.prompt(session, "same");
    let asked = futures::future::join_all((0..10).map(|_| world.store.command_enqueue(&new))).await;
    let asked: Vec<Enqueued> = asked.into_iter().map(Result::unwrap).collect();
    assert_eq!(asked.iter().filter(|enqueued| enqueued.created).count(), 1);
    assert!(asked.iter().all(|enqueued| (enqueued.command, enqueued.ordinal) == (asked[0].command, 1)));
    let expected = ("role:gateway".to_owned(), "session.prompt".to_owned(), json!({"command_id": asked[0].command}));
    assert_eq!(told(&world, session).await, [expected]);
}

#[tokio::test]
async fn every_command_is_in_the_audit_trail_once_and_what_was_said_is_not() {
    let world = World::new().await;
    let (session, account) = (world.session().await, member(&world, Role::Member).await);
    let (text, request_id) = (|| "quince".to_owned(), || "r1".to_owned());
    let mut expected = Vec::new();
    for (wish, while_running, also) in [
        (Wish::Prompt { text: text() }, WhileRunning::Queue, json!({})),
        (Wish::Prompt { text: text() }, WhileRunning::Steer, json!({"while_running": "steer"})),
        (Wish::Abort {}, WhileRunning::Queue, json!({})),
        (Wish::Answer { request_id: request_id(), answer: text() }, WhileRunning::Queue, json!({"request_id": "r1"})),
        (Wish::Approve { request_id: request_id() }, WhileRunning::Queue, json!({"request_id": "r1"})),
        (Wish::Reject { request_id: request_id() }, WhileRunning::Queue, json!({"request_id": "r1"})),
    ] {
        let key = format!("k{}", expected.len());
        let new = NewCommand { wish, created_by: Some(account), ..world.prompt(session, &key) };
        let first = world.store.command_speak(&new, while_running, None).await.unwrap();
        let again = world.store.command_speak(&new, while_running, None).await.unwrap();
        assert_eq!(again, Enqueued { created: false, ..first });
        let mut detail = also;
        detail["command_id"] = json!(first.command);
        expected.push((format!("account:{account}"), format!("session.{}", new.wish.kind()), detail));
    }
    assert_eq!(told(&world, session).await, expected);
}

#[tokio::test]
async fn the_audit_trail_has_the_abort_that_makes_way_for_a_prompt_and_nothing_of_what_was_refused() {
    let world = World::new().await;
    let session = world.session().await;
    let first = prompt(&world, session, "first", WhileRunning::Queue).await;
    for _ in 0..2 {
        prompt(&world, session, "now", WhileRunning::Interrupt).await;
    }
    let busy = world.store.command_speak(&world.prompt(session, "busy"), WhileRunning::Reject, None).await;
    assert!(matches!(busy, Err(EnqueueError::Busy)));
    let listed = world.store.commands_list(world.org, session, 0, 10).await.unwrap();
    let expected = listed.iter().map(|one| {
        let mut detail = json!({"command_id": one.command_id});
        if one.command_id != first.command {
            detail["while_running"] = json!("interrupt");
        }
        ("role:gateway".to_owned(), format!("session.{}", one.kind), detail)
    });
    let mut expected: Vec<_> = expected.collect();
    let mut told = told(&world, session).await;
    // Those of one statement are in no order.
    let by_command = |told: &(String, String, Value)| told.2["command_id"].to_string();
    told.sort_by_key(by_command);
    expected.sort_by_key(by_command);
    assert_eq!((told.len(), told), (3, expected));
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

#[tokio::test]
async fn prompts_that_come_at_once_are_each_judged_by_themselves() {
    let world = World::new().await;
    let mut sessions = Vec::new();
    for _ in 0..70 {
        sessions.push(world.session().await);
    }
    let archived = sessions[1];
    sqlx::query("UPDATE sessions SET archived_at = now() WHERE session_id = $1")
        .bind(archived.as_uuid())
        .execute(&world.store.pool)
        .await
        .unwrap();
    let first = world.store.command_enqueue(&world.prompt(sessions[2], "k")).await.unwrap();
    world.store.command_enqueue(&NewCommand { wish: Wish::Abort {}, ..world.prompt(sessions[3], "k") }).await.unwrap();
    let unknown: SessionId = world.store.sources().id();
    sessions.push(unknown);
    // Nobody waits for another's session.
    let mut locking = world.store.pool.begin().await.unwrap();
    let lock = "SELECT FROM sessions WHERE session_id = $1 FOR UPDATE";
    sqlx::query(lock).bind(sessions[0].as_uuid()).execute(&mut *locking).await.unwrap();
    let (store, prompt) = (world.store.clone(), world.prompt(sessions[0], "k"));
    let waiting = tokio::spawn(async move { store.command_enqueue(&prompt).await });
    let new: Vec<NewCommand> = sessions[1..].iter().map(|session| world.prompt(*session, "k")).collect();
    let taken = futures::future::join_all(new.iter().map(|new| world.store.command_enqueue(new))).await;
    for (session, taken) in sessions[1..].iter().zip(taken) {
        match taken {
            Err(EnqueueError::Archived) => assert_eq!(*session, archived),
            Err(EnqueueError::OtherWish) => assert_eq!(*session, sessions[3]),
            Err(EnqueueError::NoSuchSession) => assert_eq!(*session, unknown),
            Ok(taken) if *session == sessions[2] => assert_eq!(taken, Enqueued { created: false, ..first }),
            Ok(taken) => {
                let listed = world.store.commands_list(world.org, *session, 0, 10).await.unwrap();
                assert_eq!(listed.iter().map(|command| command.command_id).collect::<Vec<_>>(), [taken.command]);
                assert_eq!((taken.ordinal, taken.state, taken.created), (1, CommandState::Pending, true));
            }
            Err(error) => panic!("{session}: {error}"),
        }
    }
    assert!(!waiting.is_finished());
    locking.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().ordinal, 1);
}

/// What would be carried out next, in order, if each turn ended as it should.
async fn order(world: &World, session: SessionId) -> Vec<(i64, String)> {
    let mut order = Vec::new();
    loop {
        let mut tx = world.store.begin_of(world.org).await.unwrap();
        let Some(found) = next(&mut tx, world.org, session).await.unwrap() else { return order };
        tx.commit().await.unwrap();
        let done = "UPDATE commands SET state = 'done' WHERE command_id = $1";
        sqlx::query(done).bind(found.command.as_uuid()).execute(&world.store.pool).await.unwrap();
        order.push((found.ordinal, found.wish.kind().to_owned()));
    }
}

async fn prompt(world: &World, session: SessionId, key: &str, while_running: WhileRunning) -> Enqueued {
    world.store.command_speak(&world.prompt(session, key), while_running, None).await.unwrap()
}

fn kinds(order: &[(i64, String)]) -> Vec<(i64, &str)> {
    order.iter().map(|(ordinal, kind)| (*ordinal, kind.as_str())).collect()
}

#[tokio::test]
async fn a_prompt_that_interrupts_goes_before_those_that_wait_and_after_the_first() {
    let world = World::new().await;
    let session = world.session().await;
    for key in ["first", "second"] {
        prompt(&world, session, key, WhileRunning::Queue).await;
    }
    prompt(&world, session, "now", WhileRunning::Interrupt).await;
    prompt(&world, session, "later", WhileRunning::Queue).await;
    let order = order(&world, session).await;
    assert_eq!(kinds(&order), [(1, "prompt"), (3, "abort"), (4, "prompt"), (2, "prompt"), (5, "prompt")]);
}

#[tokio::test]
async fn a_prompt_that_steers_and_was_not_heard_goes_before_those_that_wait() {
    let world = World::new().await;
    let session = world.session().await;
    for key in ["first", "second"] {
        prompt(&world, session, key, WhileRunning::Queue).await;
    }
    prompt(&world, session, "steering", WhileRunning::Steer).await;
    prompt(&world, session, "more", WhileRunning::Steer).await;
    let order = order(&world, session).await;
    assert_eq!(kinds(&order), [(1, "prompt"), (3, "prompt"), (4, "prompt"), (2, "prompt")]);
}

#[tokio::test]
async fn a_prompt_that_steers_is_told_once_in_its_order_and_not_behind_an_abort() {
    let world = World::new().await;
    let session = world.session().await;
    prompt(&world, session, "running", WhileRunning::Queue).await;
    for key in ["one", "two"] {
        prompt(&world, session, key, WhileRunning::Steer).await;
    }
    prompt(&world, session, "now", WhileRunning::Interrupt).await;
    prompt(&world, session, "three", WhileRunning::Steer).await;
    let told = async |after| {
        let steering = world.store.commands_steering(&[(world.org, session, after)]).await.unwrap();
        steering.into_iter().map(|steer| steer.ordinal).collect::<Vec<_>>()
    };
    assert_eq!((told(0).await, told(2).await, told(3).await), (vec![2, 3], vec![3], vec![]));
}

#[tokio::test]
async fn what_was_begun_goes_before_a_prompt_that_interrupts() {
    let world = World::new().await;
    let session = world.session().await;
    for key in ["first", "second"] {
        prompt(&world, session, key, WhileRunning::Queue).await;
    }
    sqlx::query("UPDATE commands SET state = 'done' WHERE ordinal = 1").execute(&world.store.pool).await.unwrap();
    sqlx::query("UPDATE commands SET attempt = 1 WHERE ordinal = 2").execute(&world.store.pool).await.unwrap();
    prompt(&world, session, "now", WhileRunning::Interrupt).await;
    let order = order(&world, session).await;
    assert_eq!(kinds(&order), [(2, "prompt"), (3, "abort"), (4, "prompt")]);
}

#[tokio::test]
async fn a_prompt_that_interrupts_a_turn_which_waits_for_a_person_wakes_its_session() {
    let world = World::new().await;
    let session = world.session().await;
    sqlx::query("UPDATE sessions SET blocked_on = 'answer'").execute(&world.store.pool).await.unwrap();
    let busy = world.store.command_speak(&world.prompt(session, "k"), WhileRunning::Reject, None).await;
    assert!(matches!(busy, Err(EnqueueError::Busy)));
    prompt(&world, session, "waits", WhileRunning::Queue).await;
    assert!(world.claim(1).await.is_empty());
    prompt(&world, session, "now", WhileRunning::Interrupt).await;
    let lease = world.claim(1).await.remove(0);
    let held = world.store.lease_load(&lease).await.unwrap();
    assert_eq!(held.next.unwrap().wish, Wish::Abort {});
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_that_interrupt_at_once_leave_no_hole_and_each_but_the_first_aborts() {
    let world = World::new().await;
    for _ in 0..5 {
        let session = world.session().await;
        let new: Vec<NewCommand> = (0..8).map(|n| world.prompt(session, &format!("k{n}"))).collect();
        let asked = new.iter().map(|new| world.store.command_speak(new, WhileRunning::Interrupt, None));
        assert!(futures::future::join_all(asked).await.iter().all(Result::is_ok));
        let listed = world.store.commands_list(world.org, session, 0, 100).await.unwrap();
        let ordinals: Vec<i64> = listed.iter().map(|command| command.ordinal).collect();
        assert_eq!(ordinals, (1..=15).collect::<Vec<_>>());
        let kinds: Vec<&str> = listed.iter().map(|command| command.kind.as_str()).collect();
        assert!(kinds.iter().skip(1).step_by(2).all(|kind| *kind == "abort"), "{kinds:?}");
        assert!(kinds.iter().step_by(2).all(|kind| *kind == "prompt"), "{kinds:?}");
    }
}
