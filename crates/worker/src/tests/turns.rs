//! What a worker does with commands.

use domain::command::{CommandState, MAX_ATTEMPTS, WhileRunning, Wish};
use domain::details::Tags;
use domain::event::{Event, MessageRole, TurnOutcome};
use domain::import::{History, Said};
use domain::quota::{QuotaPeriod, UsageKind};
use domain::version::Expected;
use store::{NewImport, NewSession};

use super::world::World;

#[tokio::test]
async fn a_prompt_becomes_events_a_projection_an_artifact_and_a_checkpoint() {
    let world = World::new().await;
    let session = world.session().await;
    let command = world.prompt(session, "say hi\nstream 100 8\nwrite out/a.txt 500\nnote n.txt x").await;
    let worker = world.worker();
    assert_eq!(world.finished(session, command).await.state, CommandState::Done);
    worker.stop().await;

    world.at_rest(session).await;
    assert_eq!(world.said(session).await[1], "hi");
    let artifacts = world.store.artifacts_list(world.org, Some(session), None, 10).await.unwrap();
    assert_eq!((artifacts.len(), artifacts[0].size), (1, 500));
    let checkpoint = world.checkpoint(session).await;
    let events = world.events(session).await;
    assert_eq!(checkpoint.sequence, events.last().unwrap().sequence);
    let saved = world.verify(&checkpoint).await;
    assert_eq!((saved.sequence, &saved.state["turns"]), (checkpoint.sequence, &serde_json::json!(1)));
    assert_eq!(world.store.checkpoints_all(None, 10).await.unwrap(), [checkpoint]);
}

#[tokio::test]
async fn commands_of_a_session_are_carried_out_in_order() {
    let world = World::new().await;
    let session = world.session().await;
    for n in 0..10 {
        world.prompt(session, &format!("say {n}")).await;
    }
    let last = world.prompt(session, "say last").await;
    let workers = [world.worker(), world.worker()];
    world.finished(session, last).await;
    for worker in workers {
        worker.stop().await;
    }
    world.at_rest(session).await;
    let said = world.said(session).await;
    let answers: Vec<&str> = said.iter().filter(|text| !text.starts_with("say")).map(String::as_str).collect();
    assert_eq!(answers, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "last"]);
}

#[tokio::test]
async fn prompts_and_aborts_are_heard_by_a_worker_that_does_not_look() {
    let world = World::new().await;
    let session = world.session().await;
    let worker = world.worker_that_waits_to_be_told();
    for n in 0..5 {
        let command = world.prompt(session, &format!("say {n}")).await;
        world.finished(session, command).await;
    }
    let long = world.prompt(session, "sleep 600000").await;
    world
        .happened(session, |event| matches!(event, Event::TurnStarted { command_id, .. } if *command_id == long))
        .await;
    world.ask(session, Wish::Abort {}).await;
    assert_eq!(world.finished(session, long).await.outcome.unwrap(), "the turn was aborted");
    worker.stop().await;
    world.at_rest(session).await;
}

#[tokio::test]
async fn prompts_wait_while_a_turn_waits_for_a_person() {
    let world = World::new().await;
    let session = world.session().await;
    let asking = world.prompt(session, "note a.txt before\napprove delete it\nread a.txt").await;
    let worker = world.worker();
    assert_eq!(world.finished(session, asking).await.outcome.unwrap(), "the turn waits for an approval");
    let later = world.prompt(session, "say later").await;
    let wrong = world.ask(session, Wish::Approve { request_id: "other".into() }).await;
    assert_eq!(world.finished(session, wrong).await.state, CommandState::Refused);
    assert_eq!(world.command(session, later).await.state, CommandState::Pending);

    let request_id = world.request_id(session).await;
    let approved = world.ask(session, Wish::Approve { request_id: request_id.clone() }).await;
    assert_eq!(world.finished(session, approved).await.state, CommandState::Done);
    world.finished(session, later).await;
    let again = world.ask(session, Wish::Approve { request_id }).await;
    assert_eq!(world.finished(session, again).await.state, CommandState::Refused);
    worker.stop().await;
    world.at_rest(session).await;
    let said = world.said(session).await;
    assert!(said[said.len() - 3].starts_with("a.txt: 6 bytes"), "{said:?}");
    assert_eq!(said.last().unwrap(), "later");
}

#[tokio::test]
async fn a_waiting_turn_can_be_aborted() {
    let world = World::new().await;
    let session = world.session().await;
    let asking = world.prompt(session, "ask which?\nsay never").await;
    let worker = world.worker();
    world.finished(session, asking).await;
    let abort = world.ask(session, Wish::Abort {}).await;
    assert_eq!(world.finished(session, abort).await.state, CommandState::Done);
    let idle = world.ask(session, Wish::Abort {}).await;
    assert_eq!(world.finished(session, idle).await.state, CommandState::Refused);
    worker.stop().await;
    world.at_rest(session).await;
    assert_eq!(world.events(session).await.last().map(|event| outcome(&event.event)), Some(Some(TurnOutcome::Aborted)));
}

#[tokio::test]
async fn a_running_turn_hears_an_abort_and_the_next_prompt_does_not() {
    let world = World::new().await;
    let session = world.session().await;
    let running = world.prompt(session, "say on\nsleep 600000\nsay never").await;
    let next = world.prompt(session, "say next").await;
    let worker = world.worker();
    world.happened(session, |event| matches!(event, Event::MessageAppended { text, .. } if text == "on")).await;
    let abort = world.ask(session, Wish::Abort {}).await;
    assert_eq!(world.finished(session, running).await.outcome.unwrap(), "the turn was aborted");
    assert_eq!(world.finished(session, abort).await.state, CommandState::Done);
    assert_eq!(world.finished(session, next).await.outcome.unwrap(), "the turn is complete");
    worker.stop().await;
    world.at_rest(session).await;
}

#[tokio::test]
async fn a_prompt_that_interrupts_ends_the_turn_and_runs_before_those_that_wait() {
    let world = World::new().await;
    let session = world.session().await;
    let running = world.prompt(session, "say on\nsleep 600000\nsay never").await;
    let waiting = world.prompt(session, "say waited").await;
    let worker = world.worker_that_waits_to_be_told();
    world.happened(session, |event| matches!(event, Event::MessageAppended { text, .. } if text == "on")).await;
    let now = world.prompt_while(session, "say now", WhileRunning::Interrupt).await;
    assert_eq!(world.finished(session, running).await.outcome.unwrap(), "the turn was aborted");
    assert_eq!(world.finished(session, now).await.outcome.unwrap(), "the turn is complete");
    assert_eq!(world.finished(session, waiting).await.outcome.unwrap(), "the turn is complete");
    worker.stop().await;
    world.at_rest(session).await;
    let said = world.said(session).await;
    assert_eq!(said[1..], ["on", "say now", "now", "say waited", "waited"]);
}

#[tokio::test]
async fn of_prompts_that_interrupt_the_last_is_carried_out() {
    let world = World::new().await;
    let session = world.session().await;
    let running = world.prompt(session, "sleep 600000").await;
    let first = world.prompt_while(session, "sleep 600000", WhileRunning::Interrupt).await;
    let last = world.prompt_while(session, "say last", WhileRunning::Interrupt).await;
    let worker = world.worker();
    for aborted in [running, first] {
        assert_eq!(world.finished(session, aborted).await.outcome.unwrap(), "the turn was aborted");
    }
    assert_eq!(world.finished(session, last).await.outcome.unwrap(), "the turn is complete");
    worker.stop().await;
    world.at_rest(session).await;
    let commands = world.store.commands_list(world.org, session, 0, 10).await.unwrap();
    assert!(commands.iter().all(|command| command.state == CommandState::Done), "{commands:?}");
}

#[tokio::test]
async fn a_prompt_that_interrupts_ends_a_turn_that_waits_for_a_person() {
    let world = World::new().await;
    let session = world.session().await;
    let asking = world.prompt(session, "ask which?\nsay never").await;
    let worker = world.worker();
    world.finished(session, asking).await;
    let waiting = world.prompt(session, "say waited").await;
    let now = world.prompt_while(session, "say now", WhileRunning::Interrupt).await;
    for command in [now, waiting] {
        assert_eq!(world.finished(session, command).await.outcome.unwrap(), "the turn is complete");
    }
    worker.stop().await;
    world.at_rest(session).await;
    let said = world.said(session).await;
    assert_eq!(said[1..], ["say now", "now", "say waited", "waited"]);
}

#[tokio::test]
async fn an_imported_session_goes_on_like_any_other() {
    let world = World::new().await;
    let said = |role, text: &str| Said { role, text: text.into(), at: None };
    let messages = vec![said(MessageRole::User, "hi"), said(MessageRole::Agent, "hello")];
    let history = History::new("elsewhere".into(), messages, world.store.sources().now()).unwrap();
    let session = NewSession { org: world.org, created_by: None, title: "Plan".into(), agent: "scripted".into() };
    let new = NewImport { session, tags: Tags::default(), history };
    let session = world.store.session_import(world.generation, &new, "role:test").await.unwrap();
    let prompt = world.prompt(session, "note a.txt kept\nread a.txt").await;
    let worker = world.worker();
    assert_eq!(world.finished(session, prompt).await.state, CommandState::Done);
    worker.stop().await;
    world.at_rest(session).await;
    assert_eq!(world.said(session).await[..3], ["hi", "hello", "note a.txt kept\nread a.txt"]);
    let usage = world.store.usage_totals(world.org, None).await.unwrap();
    let turns = usage.iter().find(|total| total.kind == UsageKind::Turns.as_str()).unwrap();
    assert_eq!(turns.quantity, 1);
}

#[tokio::test]
async fn a_failed_turn_says_why_and_the_next_goes_on() {
    let world = World::new().await;
    let session = world.session().await;
    let failing = world.prompt(session, "fail no luck").await;
    let next = world.prompt(session, "say next").await;
    let worker = world.worker();
    let failed = world.finished(session, failing).await;
    assert_eq!((failed.state, failed.outcome.as_deref()), (CommandState::Failed, Some("no luck")));
    assert_eq!(world.finished(session, next).await.state, CommandState::Done);
    worker.stop().await;
    world.at_rest(session).await;
}

#[tokio::test]
async fn a_command_that_kills_every_attempt_becomes_a_dead_letter() {
    let world = World::new().await;
    let session = world.session().await;
    let deadly = world.prompt(session, "crash").await;
    let next = world.prompt(session, "say next").await;
    let worker = world.worker();
    let dead = world.finished(session, deadly).await;
    assert_eq!((dead.state, dead.attempt), (CommandState::Dead, MAX_ATTEMPTS));
    assert_eq!(world.finished(session, next).await.state, CommandState::Done);
    worker.stop().await;
    world.at_rest(session).await;
    let events = world.events(session).await;
    let attempts = events
        .iter()
        .filter(|event| matches!(event.event, Event::TurnStarted { command_id, .. } if command_id == deadly));
    assert_eq!(attempts.count(), usize::try_from(MAX_ATTEMPTS).unwrap());
    assert!(events.iter().any(|event| outcome(&event.event) == Some(TurnOutcome::Dead)));
}

#[tokio::test]
async fn a_session_with_an_unknown_agent_fails_with_a_sentence() {
    let world = World::new().await;
    let mut parts = world.parts();
    parts.agents.clear();
    let session = world.session().await;
    let command = world.prompt(session, "say hi").await;
    let worker = world.worker_with(parts);
    let failed = world.finished(session, command).await;
    assert_eq!(failed.state, CommandState::Failed);
    assert!(failed.outcome.unwrap().starts_with("this worker has no agent \"scripted\""));
    worker.stop().await;
    world.at_rest(session).await;
}

fn outcome(event: &Event) -> Option<TurnOutcome> {
    match event {
        Event::TurnEnded { outcome, .. } => Some(*outcome),
        _ => None,
    }
}

#[tokio::test]
async fn a_prompt_that_waits_behind_the_last_one_within_quota_goes_on_when_the_quota_is_gone() {
    let world = World::new().await;
    let session = world.session().await;
    let (first, second) = (world.prompt(session, "say one").await, world.prompt(session, "say two").await);
    let (store, anything) = (&world.store, Expected::Anything);
    let put = store.quota_put(world.org, UsageKind::Turns, QuotaPeriod::Month, 1, &anything, "role:test").await;
    put.unwrap().unwrap();
    let worker = world.worker();
    assert_eq!(world.finished(session, first).await.state, CommandState::Done);
    worker.stop().await;
    assert_eq!(world.command(session, second).await.state, CommandState::Pending);

    store.quota_remove(world.org, UsageKind::Turns, &anything, "role:test").await.unwrap();
    let worker = world.worker();
    assert_eq!(world.finished(session, second).await.state, CommandState::Done);
    worker.stop().await;
    world.at_rest(session).await;
}
