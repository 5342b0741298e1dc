//! How long turns are at work: what the worker's clock says of the attempt that ended.

use std::sync::Arc;

use agents::{Agent, EventSink, Outcome, Turn, TurnResult};
use async_trait::async_trait;
use chrono::TimeDelta;
use clock::ManualClock;
use domain::command::{CommandState, Wish};
use domain::event::Event;
use domain::quota::UsageKind;
use serde_json::Value;
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::Parts;

/// Makes as many milliseconds pass as its prompt says, and 30 once it was approved. Told to `break`, it breaks down the first
/// time; told to `ask`, it waits for an approval then.
#[derive(Debug)]
struct Busy(Arc<ManualClock>);

#[async_trait]
impl Agent for Busy {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn turn(&self, turn: Turn, sink: &mut dyn EventSink, _: &CancellationToken) -> TurnResult {
        let result = |outcome| TurnResult { state: Value::Null, outcome };
        let Wish::Prompt { text } = turn.wish else {
            self.0.advance(TimeDelta::milliseconds(30));
            return result(Outcome::Completed);
        };
        let (what, millis) = text.split_once(' ').unwrap();
        self.0.advance(TimeDelta::milliseconds(millis.parse().unwrap()));
        assert!(what != "break" || turn.attempt > 1, "it breaks down");
        if what == "ask" {
            sink.emit(Event::ApprovalRequested { request_id: "r".into(), title: "go on".into() }).await.unwrap();
            return result(Outcome::AwaitingApproval);
        }
        result(Outcome::Completed)
    }
}

async fn time(world: &World) -> Option<i64> {
    let totals = world.store.usage_totals(world.org, None).await.unwrap();
    totals.iter().find(|total| total.kind == UsageKind::TurnMs.as_str()).map(|total| total.quantity)
}

#[tokio::test]
async fn the_time_of_a_turn_is_what_the_clock_says_of_the_attempt_that_ended() {
    let (clock, sources) = testkit::sources(1);
    let world = World::with(sources).await;
    let session = world.session().await;
    let worker = world.worker_with(Parts { agents: vec![Arc::new(Busy(clock.clone()))], ..world.parts() });
    let plain = world.prompt(session, "work 1500").await;
    assert_eq!(world.finished(session, plain).await.state, CommandState::Done);
    assert_eq!(time(&world).await, Some(1_500));

    let breaking = world.prompt(session, "break 700").await;
    let begun = |event: &Event| matches!(event, Event::TurnStarted { command_id, .. } if *command_id == breaking);
    world.happened(session, begun).await;
    wait_until("the lease is free", || async { world.store.diagnostics_backlog().await.unwrap().leases_held == 0 })
        .await;
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(world.finished(session, breaking).await.attempt, 2);
    assert_eq!(time(&world).await, Some(1_500 + 700), "neither the attempt that was lost nor the wait after it");

    let asking = world.prompt(session, "ask 200").await;
    assert_eq!(world.finished(session, asking).await.state, CommandState::Done);
    clock.advance(TimeDelta::hours(1));
    let approved = world.ask(session, Wish::Approve { request_id: "r".into() }).await;
    assert_eq!(world.finished(session, approved).await.state, CommandState::Done);
    assert_eq!(time(&world).await, Some(2_200 + 200 + 30), "a turn that waits for a person is not at work");
    worker.stop().await;
    world.at_rest(session).await;
}
