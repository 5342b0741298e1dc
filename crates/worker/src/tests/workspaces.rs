//! What agents leave in their workspaces besides files and folders.

use std::path::PathBuf;
use std::sync::Arc;

use agents::{Agent, EventSink, Outcome, Publication, Turn, TurnResult};
use async_trait::async_trait;
use domain::command::{CommandState, Wish};
use domain::event::Event;
use ids::SessionId;
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::Parts;

/// Makes what a prompt says in its workspace: `pipe NAME`, `publish NAME`.
#[derive(Debug)]
struct Plumber;

#[async_trait]
impl Agent for Plumber {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn turn(&self, turn: Turn, sink: &mut dyn EventSink, _: &CancellationToken) -> TurnResult {
        let Wish::Prompt { text } = turn.wish else { panic!("it is only prompted") };
        let mut outcome = Outcome::Completed;
        match text.split_once(' ') {
            Some(("pipe", name)) => {
                nix::unistd::mkfifo(&turn.workspace.join(name), nix::sys::stat::Mode::S_IRUSR).unwrap();
            }
            Some(("publish", name)) => {
                let publication = Publication { name: name.into(), media_type: "text/plain".into(), path: name.into() };
                if let Err(error) = sink.publish(publication).await {
                    outcome = Outcome::Failed { error: error.to_string() };
                }
            }
            _ => {}
        }
        TurnResult { state: turn.state, outcome }
    }
}

impl World {
    fn plumbing(&self) -> Parts {
        Parts { agents: vec![Arc::new(Plumber)], ..self.parts() }
    }

    fn folder(&self, session: SessionId) -> PathBuf {
        self.workspace_root().join(self.org.to_string()).join(session.to_string())
    }

    /// Carries out a prompt with a worker of its own.
    async fn carried_out(&self, parts: Parts, session: SessionId, text: &str) -> (CommandState, String) {
        let (command, worker) = (self.prompt(session, text).await, self.worker_with(parts));
        let ended = self.finished(session, command).await;
        worker.stop().await;
        (ended.state, ended.outcome.unwrap_or_default())
    }

    /// The messages that say what was not saved.
    async fn told(&self, session: SessionId) -> Vec<String> {
        self.said(session).await.into_iter().filter(|text| text.starts_with("(Not saved")).collect()
    }
}

#[tokio::test]
async fn a_link_goes_on_on_another_worker() {
    let world = World::new().await;
    let session = world.session().await;
    let made = "note a.txt x\nlink bin/l ../a.txt\nlink out /etc/hostname\nread bin/l\nread out";
    assert_eq!(world.carried_out(world.parts(), session, made).await.0, CommandState::Done);
    let saw = world.said(session).await;
    std::fs::remove_dir_all(world.workspace_root()).unwrap();
    assert_eq!(world.carried_out(world.parts(), session, "read bin/l\nread out").await.0, CommandState::Done);
    let seen = world.said(session).await;
    assert_eq!(seen[seen.len() - 2..], saw[saw.len() - 2..]);
    assert_eq!(std::fs::read_to_string(world.folder(session).join("bin/l")).unwrap(), "x");
    assert!(world.told(session).await.is_empty());
    world.at_rest(session).await;
}

#[tokio::test]
async fn what_can_not_be_saved_is_told_once_and_fails_no_turn() {
    let world = World::new().await;
    let session = world.session().await;
    assert_eq!(world.carried_out(world.plumbing(), session, "pipe one").await.0, CommandState::Done);
    assert_eq!(world.told(session).await.len(), 1);
    assert!(world.told(session).await[0].contains(": one (a pipe). "));
    // Also where the worker is another, and has the folder made anew.
    assert_eq!(world.carried_out(world.plumbing(), session, "hi").await.0, CommandState::Done);
    assert!(!world.folder(session).join("one").exists());
    assert_eq!(world.told(session).await.len(), 1);
    assert_eq!(world.carried_out(world.plumbing(), session, "pipe two").await.0, CommandState::Done);
    assert_eq!(world.told(session).await.len(), 2);
    world.at_rest(session).await;
    let checkpoint = world.checkpoint(session).await;
    assert_eq!(world.verify(&checkpoint).await.sequence, checkpoint.sequence, "the message is covered");
    assert_eq!(checkpoint.sequence, world.events(session).await.last().unwrap().sequence);
}

#[tokio::test]
async fn a_worker_that_finds_its_folder_again_does_not_tell_again() {
    let world = World::new().await;
    let session = world.session().await;
    let worker = world.worker_with(world.plumbing());
    for text in ["pipe one", "hi", "hi"] {
        let command = world.prompt(session, text).await;
        assert_eq!(world.finished(session, command).await.state, CommandState::Done);
    }
    worker.stop().await;
    assert!(world.folder(session).join("one").exists());
    assert_eq!(world.told(session).await.len(), 1);
    world.at_rest(session).await;
}

#[tokio::test]
async fn no_artifact_is_made_of_what_a_link_leads_to() {
    let world = World::new().await;
    let session = world.session().await;
    let secret = world.workspace_root().parent().unwrap().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let link = format!("note own.txt mine\nlink out {}", secret.display());
    assert_eq!(world.carried_out(world.parts(), session, &link).await.0, CommandState::Done);
    for (name, state) in
        [("out", CommandState::Failed), ("../../../secret", CommandState::Failed), ("own.txt", CommandState::Done)]
    {
        let (ended, sentence) = world.carried_out(world.plumbing(), session, &format!("publish {name}")).await;
        assert_eq!(ended, state, "{name}: {sentence}");
    }
    let artifacts = world.store.artifacts_list(world.org, Some(session), None, 10).await.unwrap();
    assert_eq!(artifacts.iter().map(|artifact| artifact.name.as_str()).collect::<Vec<_>>(), ["own.txt"]);
}

#[tokio::test]
async fn an_artifacts_name_shows_all_that_it_has() {
    let world = World::new().await;
    let session = world.session().await;
    for name in ["bill\u{202e}fdp.exe", "\u{200b}"] {
        let note = format!("note {name} mine");
        assert_eq!(world.carried_out(world.parts(), session, &note).await.0, CommandState::Done);
        let (ended, sentence) = world.carried_out(world.plumbing(), session, &format!("publish {name}")).await;
        assert_eq!(ended, CommandState::Done, "{sentence}");
    }
    let artifacts = world.store.artifacts_list(world.org, Some(session), None, 10).await.unwrap();
    let mut names: Vec<_> = artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["billfdp.exe", "unnamed"]);
}

#[tokio::test]
async fn a_file_that_is_too_large_fails_the_turn_and_says_what_to_do() {
    let world = World::new().await;
    let session = world.session().await;
    let _ = world.carried_out(world.parts(), session, "note a.txt x").await;
    let worker = world.worker_with(world.parts());
    let command = world.prompt(session, "say on\nsleep 600000").await;
    world.happened(session, |event| matches!(event, Event::MessageAppended { text, .. } if text == "on")).await;
    let large = std::fs::File::create(world.folder(session).join("model.bin")).unwrap();
    large.set_len((256 << 20) + 1).unwrap();
    world.ask(session, Wish::Abort {}).await;
    let ended = world.finished(session, command).await;
    assert_eq!(ended.state, CommandState::Failed);
    let sentence = ended.outcome.unwrap();
    assert!(
        sentence.contains("model.bin is larger than 256 MiB") && sentence.contains("make it smaller"),
        "{sentence}"
    );
    let after = world.prompt(session, "read a.txt").await;
    assert_eq!(world.finished(session, after).await.state, CommandState::Done);
    worker.stop().await;
    assert!(!world.folder(session).join("model.bin").exists(), "it goes on from its last checkpoint");
    world.at_rest(session).await;
}
