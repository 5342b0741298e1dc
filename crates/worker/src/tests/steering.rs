//! What is said to an agent while it works.

use std::sync::Arc;
use std::time::Duration;

use agents::{Agent, EventSink, Inbox, Scripted, Turn, TurnResult};
use async_trait::async_trait;
use domain::command::{CommandState, WhileRunning, Wish};
use domain::event::Event;
use ids::{CommandId, SessionId};
use store::Command;
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

use super::world::{Running, World};
use crate::{Parts, run};

const HEARD: &str = "the turn that ran heard it";

/// The scripted agent, if it did not look into its inbox.
#[derive(Debug)]
struct Deaf;

#[async_trait]
impl Agent for Deaf {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn turn(&self, turn: Turn, sink: &mut dyn EventSink, cancel: &CancellationToken) -> TurnResult {
        Scripted.turn(Turn { inbox: Inbox::default(), ..turn }, sink, cancel).await
    }
}

impl World {
    async fn steer(&self, session: SessionId, text: &str) -> CommandId {
        self.prompt_while(session, text, WhileRunning::Steer).await
    }

    fn worker_that_is_deaf(&self) -> Running {
        self.worker_with(Parts { agents: vec![Arc::new(Deaf)], ..self.parts() })
    }

    /// Waits until it was said so often.
    async fn was_said(&self, session: SessionId, text: &str, times: usize) {
        let count = async || self.said(session).await.iter().filter(|said| *said == text).count();
        wait_until("it is said", || async { count().await >= times }).await;
    }

    async fn finished_as(&self, session: SessionId, command: CommandId) -> (CommandState, i32, String) {
        let Command { state, attempt, outcome, .. } = self.finished(session, command).await;
        (state, attempt, outcome.unwrap())
    }

    /// The commands whose turns began, in that order.
    async fn begun(&self, session: SessionId) -> Vec<CommandId> {
        let begun = |event| if let Event::TurnStarted { command_id, .. } = event { Some(command_id) } else { None };
        self.events(session).await.into_iter().filter_map(|recorded| begun(recorded.event)).collect()
    }
}

fn heard() -> (CommandState, i32, String) {
    (CommandState::Done, 0, HEARD.into())
}

fn by_itself() -> (CommandState, i32, String) {
    (CommandState::Done, 1, "the turn is complete".into())
}

#[tokio::test]
async fn a_turn_that_runs_hears_at_once_and_goes_on() {
    let world = World::new().await;
    let session = world.session().await;
    let running = world.prompt(session, "say on\nsleep 600000\nsay rest").await;
    let waiting = world.prompt(session, "say waited").await;
    let worker = world.worker_that_waits_to_be_told();
    world.was_said(session, "on", 1).await;
    let first = world.steer(session, "say one\nsleep 600000\nsay still one").await;
    world.was_said(session, "one", 1).await;
    let second = world.steer(session, "say two").await;
    assert_eq!(world.finished_as(session, running).await, by_itself());
    assert_eq!(world.finished_as(session, first).await, heard());
    assert_eq!(world.finished_as(session, second).await, heard());
    world.finished(session, waiting).await;
    worker.stop().await;
    world.at_rest(session).await;
    let said = world.said(session).await;
    let told = ["on", "say one\nsleep 600000\nsay still one", "one", "say two", "still one", "two", "rest"];
    assert_eq!(said[1..8], told);
    assert_eq!(world.begun(session).await, [running, waiting]);
}

#[tokio::test]
async fn without_a_turn_that_runs_it_is_a_prompt_as_any_other() {
    let world = World::new().await;
    let session = world.session().await;
    let worker = world.worker();
    for text in ["say one", "say two"] {
        let command = world.steer(session, text).await;
        assert_eq!(world.finished_as(session, command).await, by_itself());
    }
    worker.stop().await;
    world.at_rest(session).await;
}

#[tokio::test]
async fn an_attempt_that_follows_a_lost_one_hears_it_again() {
    let world = World::new().await;
    let session = world.session().await;
    let running = world.prompt(session, "say on\nsleep 600000\nsay rest").await;
    let doomed = tokio::spawn(run(world.parts(), world.config(Duration::from_millis(1_500)), CancellationToken::new()));
    world.was_said(session, "on", 1).await;
    let first = world.steer(session, "say one\nsleep 600000").await;
    world.was_said(session, "one", 1).await;
    doomed.abort();
    let _ = doomed.await;
    assert_eq!(world.command(session, first).await.state, CommandState::Pending);

    let heir = world.worker();
    world.was_said(session, "one", 2).await;
    let second = world.steer(session, "say two").await;
    world.was_said(session, "on", 2).await;
    let third = world.steer(session, "say three").await;
    let done = world.finished(session, running).await;
    assert_eq!((done.state, done.attempt), (CommandState::Done, 2));
    for command in [first, second, third] {
        assert_eq!(world.finished_as(session, command).await, heard());
    }
    heir.stop().await;
    world.at_rest(session).await;
    let name = |event| match event {
        Event::MessageAppended { message_id, .. } if message_id.starts_with("prompt-") => Some(message_id),
        _ => None,
    };
    let names: Vec<String> = world.events(session).await.into_iter().filter_map(|it| name(it.event)).collect();
    assert_eq!(names, ["prompt-1", "prompt-2.1.1", "prompt-2.1.2", "prompt-3.1.2", "prompt-4.1.2"]);
}

#[tokio::test]
async fn what_is_said_while_a_turn_ends_is_carried_out_once() {
    let world = World::new().await;
    let session = world.session().await;
    let worker = world.worker();
    let mut steered = Vec::new();
    for n in 0..30 {
        let running = world.prompt(session, &format!("say on {n}")).await;
        if n % 2 == 0 {
            world.was_said(session, &format!("on {n}"), 1).await;
        }
        steered.push(world.steer(session, &format!("say steered {n}")).await);
        world.finished(session, running).await;
    }
    for command in steered {
        assert_eq!(world.finished(session, command).await.state, CommandState::Done);
    }
    worker.stop().await;
    world.at_rest(session).await;
    let said = world.said(session).await;
    for n in 0..30 {
        let count = said.iter().filter(|said| **said == format!("steered {n}")).count();
        assert_eq!(count, 1, "{n}: {said:?}");
    }
}

#[tokio::test]
async fn what_an_aborted_turn_has_heard_is_not_carried_out_again() {
    let world = World::new().await;
    let session = world.session().await;
    let running = world.prompt(session, "say on\nsleep 600000\nsay never").await;
    let worker = world.worker();
    world.was_said(session, "on", 1).await;
    let steering = world.steer(session, "say one\nsleep 600000\nsay never").await;
    world.was_said(session, "one", 1).await;
    let abort = world.ask(session, Wish::Abort {}).await;
    assert_eq!(world.finished(session, running).await.outcome.unwrap(), "the turn was aborted");
    assert_eq!(world.finished_as(session, steering).await, heard());
    world.finished(session, abort).await;
    worker.stop().await;
    world.at_rest(session).await;
    assert_eq!(world.begun(session).await, [running]);
    assert!(!world.said(session).await.contains(&"never".to_owned()));
}

#[tokio::test]
async fn what_a_failed_turn_has_heard_fails_with_it() {
    let world = World::new().await;
    let session = world.session().await;
    let running = world.prompt(session, "say on\nsleep 600000").await;
    let worker = world.worker();
    world.was_said(session, "on", 1).await;
    let steering = world.steer(session, "fail no luck").await;
    assert_eq!(world.finished(session, running).await.outcome.unwrap(), "no luck");
    let failed = (CommandState::Failed, 0, format!("{HEARD}, and failed"));
    assert_eq!(world.finished_as(session, steering).await, failed);
    worker.stop().await;
    world.at_rest(session).await;
}

#[tokio::test]
async fn for_an_agent_that_can_not_be_steered_it_goes_before_what_waits() {
    let world = World::new().await;
    let session = world.session().await;
    let running = world.prompt(session, "say on\nsleep 600000").await;
    let waiting = world.prompt(session, "say waited").await;
    let worker = world.worker_that_is_deaf();
    world.was_said(session, "on", 1).await;
    let steering = world.steer(session, "say steered").await;
    world.ask(session, Wish::Abort {}).await;
    assert_eq!(world.finished_as(session, steering).await, by_itself());
    world.finished(session, waiting).await;
    worker.stop().await;
    world.at_rest(session).await;
    assert_eq!(world.begun(session).await, [running, steering, waiting]);
}

#[tokio::test]
async fn a_prompt_that_interrupts_goes_before_one_that_steered_and_was_not_heard() {
    let world = World::new().await;
    let session = world.session().await;
    let running = world.prompt(session, "say on\nsleep 600000").await;
    let worker = world.worker_that_is_deaf();
    world.was_said(session, "on", 1).await;
    let steering = world.steer(session, "sleep 600000").await;
    let now = world.prompt_while(session, "say now", WhileRunning::Interrupt).await;
    assert_eq!(world.finished_as(session, now).await, by_itself());
    let aborted = (CommandState::Done, 1, "the turn was aborted".into());
    assert_eq!(world.finished_as(session, steering).await, aborted);
    worker.stop().await;
    world.at_rest(session).await;
    assert_eq!(world.begun(session).await, [running, steering, now]);
}

#[tokio::test]
async fn a_turn_that_waits_for_a_person_hears_when_it_goes_on() {
    let world = World::new().await;
    let session = world.session().await;
    let asking = world.prompt(session, "approve delete it\nsay rest").await;
    let worker = world.worker_that_waits_to_be_told();
    assert_eq!(world.finished(session, asking).await.outcome.unwrap(), "the turn waits for an approval");
    let steering = world.steer(session, "say steered").await;
    let wrong = world.ask(session, Wish::Approve { request_id: "other".into() }).await;
    assert_eq!(world.finished(session, wrong).await.state, CommandState::Refused);
    assert_eq!(world.command(session, steering).await.state, CommandState::Pending);
    let approved = world.ask(session, Wish::Approve { request_id: world.request_id(session).await }).await;
    assert_eq!(world.finished(session, approved).await.state, CommandState::Done);
    assert_eq!(world.finished_as(session, steering).await, heard());
    worker.stop().await;
    world.at_rest(session).await;
    assert_eq!(world.said(session).await[1..], ["say steered", "steered", "rest"]);
}
