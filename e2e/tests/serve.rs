//! The embedded default, as somebody meets it who has just built the program: an empty folder, `cowork serve`, no
//! configuration but free ports.

use client::{Client, Event, Session, Wish};
use e2e::{Folder, Installation, kill, living_below, tell, wait_for_async};
use futures::StreamExt as _;

#[tokio::test]
async fn a_session_is_found_again_after_a_stop_and_after_a_kill() {
    let folder = Folder::new();
    let installation = Installation::new(folder.path(), "");
    let served = installation.serve();
    assert_eq!(served.roles(), ["gateway", "scheduler", "web", "worker"]);
    let token = served.token().to_owned();
    let session = served.operator().session_create("A first one", "scripted").await.unwrap();
    let first = prompt(&served.operator(), &session, "one", "note memory.txt kept\nsay hello").await;
    assert_eq!(first.last().unwrap().kind, "turn_ended");
    assert_eq!(served.stop(), 0, "SIGTERM drains");
    assert_eq!(living_below(folder.path()), [], "the private cluster stops with its owner");

    let mut served = installation.serve();
    assert_eq!(served.token(), token, "a second start makes no second operator");
    let tokens = served.operator().token_list(None, 10).await.unwrap().items;
    assert!(tokens[0].last_used_at.is_some(), "what was noted of its use is written at the stop");
    let found = served.operator().session_get(session.session_id).await.unwrap();
    assert_eq!(found.session.last_sequence, first.last().unwrap().sequence);
    kill(served.running.pid());
    served.running.wait();
    drop(served);

    let served = installation.serve();
    let events = prompt(&served.operator(), &session, "two", "read memory.txt").await;
    assert_eq!(sequences(&events), (1..).take(events.len()).collect::<Vec<i64>>());
    assert_eq!(payloads(&events[..first.len()]), payloads(&first), "what was acknowledged is as it was");
    assert_eq!(served.stop(), 0);
    assert_eq!(living_below(folder.path()), []);
}

#[tokio::test]
async fn the_four_reads_of_an_operator_answer() {
    let folder = Folder::new();
    let served = Installation::new(folder.path(), "").serve();
    let operator = served.operator();
    assert!(operator.healthz().await.unwrap());
    let workspace = operator.workspace().await.unwrap();
    assert_eq!((workspace.generation, workspace.environment.as_str()), (1, "production"));
    let diagnostics = operator.diagnostics().await.unwrap();
    for role in ["web", "worker", "scheduler", "gateway"] {
        assert_eq!(diagnostics.roles.get(role), Some(&1), "{role}");
    }
    assert!(diagnostics.secrets.iter().all(|secret| secret.resolved), "{:?}", diagnostics.secrets);
    let metrics = operator.metrics().await.unwrap();
    for gauge in ["cowork_sessions 0", "cowork_generation 1", "cowork_commands_pending 0"] {
        assert!(metrics.lines().any(|line| line == gauge), "no line {gauge}:\n{metrics}");
    }
    for role in ["web", "worker", "scheduler", "gateway"] {
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = reqwest::get(format!("{}{path}", served.url(role))).await.unwrap();
            assert!(answer.status().is_success(), "{role} {path}: {}", answer.status());
        }
    }
    let stranger = Client::new(served.url("web"), "cow_nobody".to_owned().into());
    assert_eq!(stranger.workspace().await.unwrap_err().status(), Some(401));
    assert_eq!(served.stop(), 0);
}

/// The reader breaks off after every few events, while the agent goes on talking.
#[tokio::test]
async fn a_stream_that_is_resumed_has_no_hole_and_no_repeat() {
    let folder = Folder::new();
    let served = Installation::new(folder.path(), "").serve();
    let operator = served.operator();
    let session = operator.session_create("A long answer", "scripted").await.unwrap();
    submit(&operator, &session, "stream", "stream 30 20\nsleep 300\nstream 30 20\nsay the end").await;
    let mut seen: Vec<Event> = Vec::new();
    while seen.last().is_none_or(|event| event.kind != "turn_ended") {
        let after = seen.last().map_or(0, |event| event.sequence);
        let stream = operator.event_stream(session.session_id, after).await.unwrap();
        let few: Vec<_> = Box::pin(stream).take(3).collect().await;
        seen.extend(few.into_iter().map(Result::unwrap));
    }
    assert_eq!(sequences(&seen), (1..).take(seen.len()).collect::<Vec<i64>>());
    let listed = operator.event_list(session.session_id, 0, 1_000).await.unwrap().items;
    assert_eq!(payloads(&seen), payloads(&listed));
    assert_eq!(served.stop(), 0);
}

#[test]
fn an_unknown_role_is_a_usage_error() {
    let told = tell(&["serve", "--roles", "web,cook"]);
    assert_eq!(told.code, 64);
    assert!(told.stderr.contains("cook") && told.stderr.contains("worker"), "{}", told.stderr);
}

/// Prompts, waits until the command is done, and gives every event so far.
async fn prompt(client: &Client, session: &Session, key: &str, text: &str) -> Vec<Event> {
    let command = submit(client, session, key, text).await;
    wait_for_async("the prompt is carried out", async || {
        let command = client.command_get(session.session_id, command.command_id).await.unwrap();
        (command.state == "done").then_some(())
    })
    .await;
    client.event_list(session.session_id, 0, 1_000).await.unwrap().items
}

async fn submit(client: &Client, session: &Session, key: &str, text: &str) -> client::Acknowledged {
    client.command_submit(session.session_id, key, &Wish::Prompt { text: text.to_owned() }).await.unwrap()
}

fn sequences(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.sequence).collect()
}

fn payloads(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| format!("{} {}", event.kind, event.payload)).collect()
}
