//! Old events are compacted while a scheduler runs, by however many of them.

use chrono::TimeDelta;
use domain::command::{CommandState, Wish};
use domain::event::{Event, TurnOutcome};
use domain::projection::Projection;
use ids::{OrgId, SessionId};
use scheduler::run_retention;
use store::{Append, Environment, Finish, NewCommand, NewSession, Store};
use testkit::{TestDatabase, wait_until};
use tokio_util::sync::CancellationToken;

async fn talked(store: &Store, org: OrgId) -> SessionId {
    let new = NewSession { org, created_by: None, title: "Plan".into(), agent: "scripted".into() };
    let session = store.session_create(1, &new).await.unwrap();
    let wish = Wish::Prompt { text: "say hi".into() };
    let new = NewCommand { org, session, wish, idempotency_key: "k".into(), created_by: None };
    let command = store.command_enqueue(&new).await.unwrap().command;
    let until = store.sources().now() + TimeDelta::minutes(1);
    let lease = store.lease_claim(1, store.sources().id(), until, 1).await.unwrap().remove(0);
    let mut projection: Projection = store.lease_load(&lease).await.unwrap().projection;
    let outcome = TurnOutcome::Completed;
    let started = Event::TurnStarted { command_id: command, attempt: 1 };
    let events = [started, Event::TurnEnded { command_id: command, outcome, error: None }];
    events.iter().for_each(|event| projection.apply(event));
    let finish = Finish {
        append: Append { after: 1, events: &events, projection: &projection },
        command,
        state: CommandState::Done,
        sentence: "the turn is complete".into(),
        turn: Some(outcome),
        checkpoint: None,
        turn_ms: 0,
        input_tokens: 0,
        output_tokens: 0,
        models: Vec::new(),
        heard: Vec::new(),
    };
    store.turn_finish(&lease, &finish, &[]).await.unwrap();
    session
}

#[tokio::test]
async fn schedulers_at_once_compact_every_old_session_and_leave_a_damaged_one() {
    let database = TestDatabase::create().await;
    let (clock, sources) = testkit::sources(1);
    let store = Store::from_pool(database.pool(), sources);
    store.migrate().await.unwrap();
    store.generation_initialise(Environment::Production).await.unwrap();
    let org = store.org_create("A", "role:test").await.unwrap().org_id;
    let damaged = talked(&store, org).await;
    let sessions = [talked(&store, org).await, talked(&store, org).await];
    let hole = "DELETE FROM events WHERE session_id = $1 AND sequence = 2";
    sqlx::query(hole).bind(uuid::Uuid::from(damaged)).execute(&database.pool()).await.unwrap();
    clock.advance(TimeDelta::days(40));

    let (kept, shutdown) = (TimeDelta::days(30), CancellationToken::new());
    let run = || tokio::spawn(run_retention(store.clone(), kept, shutdown.clone()));
    let running = [run(), run()];
    let sequences = async |session| {
        let events = store.events_after(org, session, 0, 10).await.unwrap();
        events.iter().map(|event| event.sequence).collect::<Vec<_>>()
    };
    for session in sessions {
        wait_until("the session is compacted", async || sequences(session).await == [3]).await;
    }
    shutdown.cancel();
    for scheduler in running {
        scheduler.await.unwrap();
    }
    assert_eq!(sequences(damaged).await, [1, 3]);
}
