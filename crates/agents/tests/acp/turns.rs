//! What turns with an agent that speaks ACP come to, however it behaves.

use std::time::Duration;

use agents::{AcpLimits, AcpSettings, Outcome};
use domain::event::{Event, ToolCallStatus};

use crate::world::{World, gone, settings};

fn limited(limits: AcpLimits) -> AcpSettings {
    AcpSettings { limits, ..settings() }
}

fn error_of(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { error } => error,
        other => panic!("it did not fail: {other:?}"),
    }
}

#[tokio::test]
async fn what_an_agent_says_and_does_becomes_events() {
    let mut world = World::new(settings());
    let (outcome, seen) = world.prompt("echo one two three\nwrite a.txt hello\nplan\necho done").await;
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!(seen.said(), "one two threedone");
    let calls = [
        (Some("Write a.txt"), ToolCallStatus::Pending),
        (None, ToolCallStatus::Completed),
        (Some("Plan"), ToolCallStatus::InProgress),
    ];
    assert_eq!(seen.calls(), calls);
    assert!(seen.events.contains(&Event::UsageRecorded { input_tokens: 3, output_tokens: 2, model: None }));
    let messages: Vec<&String> = seen.events.iter().filter_map(message).collect();
    assert_eq!(messages.len(), 2, "pieces are put together, and what comes after a tool call is another message");
    assert_ne!(messages[0], messages[1]);
    assert_eq!(std::fs::read_to_string(world.session().join("work/a.txt")).unwrap(), "hello");
}

fn message(event: &Event) -> Option<&String> {
    match event {
        Event::MessageAppended { message_id, .. } => Some(message_id),
        _ => None,
    }
}

#[tokio::test]
async fn a_tool_call_of_the_next_turn_is_another_one_though_the_agent_calls_it_the_same() {
    let mut world = World::new(settings());
    let (_, first) = world.prompt("write a.txt one").await;
    let (_, second) = world.prompt("write a.txt two").await;
    let ids = |seen: &crate::world::Recorder| -> Vec<String> { seen.events.iter().filter_map(call).cloned().collect() };
    let (first, second) = (ids(&first), ids(&second));
    assert_eq!((first.len(), second.len()), (2, 2));
    assert!(first.iter().all(|id| *id == first[0]) && second.iter().all(|id| *id == second[0]));
    assert_ne!(first[0], second[0]);
}

fn call(event: &Event) -> Option<&String> {
    match event {
        Event::ToolCallUpserted { tool_call_id, .. } => Some(tool_call_id),
        _ => None,
    }
}

#[tokio::test]
async fn a_process_is_kept_for_the_next_turn_and_does_nothing_meanwhile() {
    let mut world = World::new(settings());
    let (_, first) = world.prompt("pid").await;
    let pid = first.said().strip_prefix("pid ").unwrap().to_owned();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") T "), "it is stopped: {stat}");
    let (_, second) = world.prompt("pid").await;
    assert_eq!(first.said(), second.said());
    drop(world);
    gone(&pid).await;
}

#[tokio::test]
async fn an_agent_that_was_kept_too_long_is_ended_and_loads_its_session() {
    let limits = AcpLimits { idle: Duration::from_millis(1), ..AcpLimits::default() };
    let mut world = World::new(limited(limits));
    let (_, first) = world.prompt("pid\npast").await;
    gone(first.said().strip_prefix("pid ").unwrap().split_once("1 prompts").unwrap().0).await;
    let (outcome, second) = world.prompt("past").await;
    assert_eq!((outcome, second.said()), (Outcome::Completed, "2 prompts".to_owned()), "what it replays is not told");
}

#[tokio::test]
async fn an_agent_that_does_not_find_its_session_begins_another_and_says_so() {
    let mut world = World::new(settings());
    world.prompt("past").await;
    world.elsewhere(settings());
    std::fs::remove_dir_all(world.session().join("home")).unwrap();
    let (outcome, seen) = world.prompt("past").await;
    assert_eq!(outcome, Outcome::Completed);
    assert!(seen.said().starts_with("(The agent could not load its earlier conversation"), "{}", seen.said());
    assert!(seen.said().ends_with("1 prompts"));
}

#[tokio::test]
async fn what_a_person_decides_by_shows_all_that_it_has() {
    for (title, shown) in
        [("Delete \u{202e}txt.a\u{202c}\u{200b}", "Delete txt.a"), ("\u{200b}", "something that it does not name")]
    {
        let mut world = World::new(settings());
        let (outcome, seen) = world.prompt(&format!("permission {title}")).await;
        assert_eq!((outcome, seen.approvals()), (Outcome::AwaitingApproval, vec![shown]));
    }
}

#[tokio::test]
async fn a_permission_waits_for_a_person_and_the_same_process_goes_on() {
    let mut world = World::new(settings());
    let (outcome, seen) = world.prompt("permission Delete it\npid").await;
    assert_eq!((outcome, seen.approvals()), (Outcome::AwaitingApproval, vec!["Delete it"]));
    let (outcome, seen) = world.approve().await;
    assert_eq!(outcome, Outcome::Completed);
    assert!(seen.said().starts_with("Delete it: oncepid "), "{}", seen.said());
    let (outcome, _) = world.prompt("permission Delete it").await;
    assert_eq!(outcome, Outcome::AwaitingApproval, "what was permitted once is asked for again");
    let (outcome, seen) = world.reject().await;
    assert_eq!((outcome, seen.said()), (Outcome::Completed, "Delete it: no".to_owned()));
}

#[tokio::test]
async fn an_approval_that_outlives_its_process_counts_for_the_same_question_only() {
    let mut world = World::new(settings());
    world.prompt("permission Delete it").await;
    world.elsewhere(settings());
    let (outcome, seen) = world.approve().await;
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!(seen.said(), "What you asked to be permitted (Delete it) is permitted. Go on.");
}

#[tokio::test]
async fn a_prompt_after_an_aborted_question_calls_the_question_off() {
    let mut world = World::new(settings());
    world.prompt("permission Delete it\necho never").await;
    let (outcome, seen) = world.prompt("echo next").await;
    assert_eq!((outcome, seen.said()), (Outcome::Completed, "next".to_owned()));
}

#[tokio::test]
async fn an_abort_is_heard_by_the_agent_which_goes_on_with_the_next_prompt() {
    let mut world = World::new(settings());
    let (outcome, first) = world.prompt_and_cancel("pid\nwait_for_cancel\necho never").await;
    assert_eq!(outcome, Outcome::Aborted);
    let (_, second) = world.prompt("pid").await;
    assert_eq!(first.said(), second.said());
}

#[tokio::test]
async fn an_agent_that_ignores_an_abort_is_ended() {
    let limits = AcpLimits { cancel: Duration::from_millis(50), ..AcpLimits::default() };
    let mut world = World::new(limited(limits));
    let (outcome, seen) = world.prompt_and_cancel("pid\nignore_cancel").await;
    assert_eq!(outcome, Outcome::Aborted);
    gone(seen.said().strip_prefix("pid ").unwrap()).await;
}

#[tokio::test]
async fn whoever_drops_a_turn_ends_the_agent_and_all_that_it_left() {
    let mut world = World::new(settings());
    let (_, seen) = world.prompt("leave").await;
    let left = seen.said().strip_prefix("left ").unwrap().to_owned();
    let stat = std::fs::read_to_string(format!("/proc/{left}/stat")).unwrap();
    assert!(stat.contains(") T "), "it is stopped although it left the agent's group: {stat}");
    drop(world);
    gone(&left).await;
}

#[tokio::test]
async fn an_agent_that_dies_fails_its_turn_with_what_it_said_last() {
    let mut world = World::new(settings());
    let (outcome, seen) = world.prompt("echo so far\ndie").await;
    let error = error_of(outcome);
    assert_eq!(error, "fake: it ended in the middle of the turn; it said: it hurts");
    assert_eq!(seen.said(), "so far");
    let (outcome, seen) = world.prompt("past").await;
    assert_eq!((outcome, seen.said()), (Outcome::Completed, "1 prompts".to_owned()));
}

#[tokio::test]
async fn an_agent_that_says_nothing_too_much_or_nonsense_fails_its_turn() {
    let short = Duration::from_millis(50);
    let limits = AcpLimits { turn_bytes: 3 << 20, line_bytes: 2 << 20, nonsense: 3, ..AcpLimits::default() };
    let check = async |prompt: &str, limits: AcpLimits, expect: &str| {
        let mut world = World::new(limited(limits));
        let error = error_of(world.prompt(prompt).await.0);
        assert!(error.contains(expect), "{prompt}: {error}");
    };
    check("flood 4", limits.clone(), "it said more than 3072 KiB in one turn").await;
    check("long_line 3000000", limits.clone(), "it said a line of more than 2048 KiB").await;
    check("nonsense 4", limits.clone(), "it does not speak the protocol").await;
    check("silence", AcpLimits { silence: short, ..limits.clone() }, "it said nothing for").await;
    check("silence", AcpLimits { turn: short, ..limits.clone() }, "the turn took longer than").await;
    let mut world = World::new(limited(limits));
    let (outcome, seen) = world.prompt("nonsense 3\nask fs/read_text_file\necho fine").await;
    assert_eq!((outcome, seen.said()), (Outcome::Completed, "fine".to_owned()));
}

#[tokio::test]
async fn a_command_that_is_not_there_or_is_no_agent_fails_with_a_sentence() {
    let mut world = World::new(AcpSettings { command: "/nowhere/agent".into(), ..settings() });
    let error = error_of(world.prompt("echo hi").await.0);
    assert!(error.contains("its program can't be started"), "{error}");
    let limits = AcpLimits { start: Duration::from_millis(200), ..AcpLimits::default() };
    let sleep = AcpSettings { command: "/bin/sleep".into(), args: vec!["100".into()], ..limited(limits) };
    let error = error_of(World::new(sleep).prompt("echo hi").await.0);
    assert!(error.contains("it was not ready within"), "{error}");
}
