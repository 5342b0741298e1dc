//! A real agent in its sandbox, with an org's own key, whose worker is killed in the middle of a turn.
//!
//! Takes npm and a registry, and a kernel with Landlock of 6.7 or newer.

use std::path::Path;

use client::Wish;
use e2e::{Folder, Installation, Model, Served, codex, living_below, wait_for, wait_for_async};
use ids::{CommandId, SessionId};
use localpg::{Binaries, Cluster, Options};
use sha2::{Digest as _, Sha256};
use tokio::task::block_in_place;
use walkdir::WalkDir;

/// A system whose worker is a process of its own.
struct Story {
    installation: Installation,
    web: Served,
    /// `None`: it was killed.
    worker: Option<Served>,
    model: Model,
    key: String,
    session: SessionId,
    _cluster: Cluster,
    folder: Folder,
}

impl Story {
    async fn tell() -> Self {
        let (folder, model) = (Folder::new(), Model::start());
        let binaries = Binaries::find(e2e::search_path().as_deref()).expect("Postgres' programs are installed");
        let cluster = Cluster::start(&binaries, &folder.path().join("postgres"), Options::fast()).expect("it starts");
        cluster.create_database("cowork").expect("a database can be made");
        let more = format!(
            "[database]\nurl = {:?}\n[worker]\nlease_ms = 1000\n{}",
            cluster.url("cowork"),
            block_in_place(|| codex(&model.url()))
        );
        let installation = Installation::new(folder.path(), &more);
        let (web, worker) = block_in_place(|| {
            let _ = installation.init();
            (installation.serve_roles("web,scheduler,gateway"), installation.serve_roles("worker"))
        });
        let operator = web.operator();
        // Made here, so that it is nowhere else.
        let key = format!("sk-{}", hex::encode(Sha256::digest(folder.path().as_os_str().as_encoded_bytes())));
        operator.byok_key_create("openai", "ours", &key).await.unwrap();
        let session = operator.session_create("t", "codex").await.unwrap().session_id;
        Self { installation, web, worker: Some(worker), model, key, session, _cluster: cluster, folder }
    }

    async fn prompt(&self, text: &str) -> CommandId {
        let wish = Wish::Prompt { text: text.into() };
        self.web.operator().command_submit(self.session, text, &wish).await.unwrap().command_id
    }

    async fn done(&self, command: CommandId) {
        let operator = self.web.operator();
        let outcome = wait_for_async("the turn ends", async || {
            let command = operator.command_get(self.session, command).await.ok()?;
            (command.state != "pending").then_some((command.state, command.outcome))
        })
        .await;
        assert_eq!(outcome.0, "done", "{outcome:?}");
    }

    async fn events(&self) -> String {
        let events = self.web.operator().event_list(self.session, 0, 1_000).await.unwrap().items;
        events.iter().map(|event| format!("{event:?}\n")).collect()
    }

    /// The agent's processes.
    fn agents(&self) -> Vec<u32> {
        living_below(self.folder.path())
            .into_iter()
            .filter(|(_, line)| line.contains("codex-acp"))
            .map(|(pid, _)| pid)
            .collect()
    }

    fn made(&self) -> Option<String> {
        let files = WalkDir::new(self.installation.data().join("workspaces")).into_iter().flatten();
        let made = files.into_iter().find(|entry| entry.path().ends_with("work/made.txt"))?;
        std::fs::read_to_string(made.path()).ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_agent_goes_on_on_another_worker_and_never_has_the_key() {
    let mut story = Story::tell().await;
    let first = story.prompt("make made.txt").await;
    story.done(first).await;
    assert_eq!(story.made().as_deref(), Some("hello\n"), "{}", story.events().await);
    let events = story.events().await;
    assert!(events.contains("echo hello > made.txt") && events.contains("I was told: make made.txt."), "{events}");
    for agent in story.agents() {
        let environment = std::fs::read(format!("/proc/{agent}/environ")).unwrap_or_default();
        assert!(!holds(&environment, &story.key), "the key is in the agent's environment");
    }

    let second = story.prompt("hold").await;
    wait_for_async("the model is asked", async || story.model.holds().then_some(())).await;
    assert!(!story.agents().is_empty());
    block_in_place(|| {
        story.worker.take().unwrap().kill();
        wait_for("nothing of the agent is left", || story.agents().is_empty().then_some(()));
        // As on another machine.
        std::fs::remove_dir_all(story.installation.data().join("workspaces")).unwrap();
        story.model.let_go();
        story.worker = Some(story.installation.serve_roles("worker"));
    });
    story.done(second).await;
    assert_eq!(story.made().as_deref(), Some("hello\n"));
    let events = story.events().await;
    assert!(events.contains("I was told: make made.txt, hold."), "it loaded its session: {events}");

    let usage = story.web.operator().usage().await.unwrap();
    let tokens = |kind: &str| usage.items.iter().find(|total| total.kind == kind).map(|total| total.quantity);
    let [model] = &usage.models[..] else { panic!("{usage:?}") };
    assert!(model.provider == "openai" && model.model.as_deref() == Some("gpt-5") && model.requests >= 3, "{model:?}");
    assert_eq!((model.input_tokens, model.output_tokens), (3 * model.requests, 2 * model.requests), "by its model");
    assert_eq!(
        (tokens("input_tokens"), tokens("output_tokens")),
        (Some(model.input_tokens), Some(model.output_tokens))
    );

    let keys = story.model.keys();
    let expect = format!("Bearer {}", story.key);
    assert!(keys.len() >= 4 && keys.iter().all(|key| *key == expect), "{} requests had the org's key", keys.len());
    let audit = story.web.operator().audit_list(None, 200).await.unwrap().items;
    let revealed = audit.iter().filter(|record| record.action == "byok_key.reveal").count();
    assert_eq!(revealed, 2, "once for each of the agent's processes");
    assert!(!holds(events.as_bytes(), &story.key), "the key is in the events");
    assert_eq!(block_in_place(|| story.worker.take().unwrap().stop()), 0);
    assert_eq!(block_in_place(|| story.web.stop()), 0);
    nowhere(story.folder.path(), &story.key);
}

/// Logs, workspaces, objects, the database's files: none has it.
fn nowhere(folder: &Path, key: &str) {
    for entry in WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        // The cluster is another account's, or has ended since.
        let content = std::fs::read(entry.path()).unwrap_or_default();
        assert!(!holds(&content, key), "the key is in {}", entry.path().display());
    }
}

fn holds(bytes: &[u8], key: &str) -> bool {
    bytes.windows(key.len()).any(|window| window == key.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_asks_reaches_a_person_and_the_answer_reaches_the_agent() {
    let folder = Folder::new();
    let fake = e2e::binary().with_file_name("acp-fake");
    assert!(fake.is_file(), "build the workspace with its tests first");
    let more = format!("[[worker.agents]]\nname = \"fake\"\ncommand = {fake:?}\nargs = [\"agent\"]\n");
    let served = block_in_place(|| Installation::new(folder.path(), &more).serve());
    let operator = served.operator();
    let session = operator.session_create("t", "fake").await.unwrap().session_id;
    let events = async || {
        let events = operator.event_list(session, 0, 1_000).await.unwrap().items;
        events.iter().map(|event| format!("{} {}\n", event.kind, event.payload)).collect::<String>()
    };
    let offered = operator.agent_list().await.unwrap().items;
    assert!(offered.iter().any(|agent| agent.name == "fake" && agent.workers == 1), "{offered:?}");
    let say = async |name: &str, wish: Wish| operator.command_submit(session, name, &wish).await.unwrap();
    let wait = async |text: &str| {
        wait_for_async(text, async || events().await.contains(text).then_some(())).await;
    };
    say("ask", Wish::Prompt { text: "permission Delete it".into() }).await;
    wait(r#""outcome":"awaiting_approval""#).await;
    let all = operator.event_list(session, 0, 1_000).await.unwrap().items;
    let asked = all.iter().find(|event| event.kind == "approval_requested").unwrap();
    assert_eq!(asked.payload["title"], "Delete it");
    let request_id = asked.payload["request_id"].as_str().unwrap().to_owned();
    say("approve", Wish::Approve { request_id }).await;
    wait("Delete it: once").await;

    say("wait", Wish::Prompt { text: "echo I wait\nwait_for_cancel".into() }).await;
    wait("I wait").await;
    say("abort", Wish::Abort {}).await;
    wait(r#""outcome":"aborted""#).await;
    say("go on", Wish::Prompt { text: "echo all is well".into() }).await;
    wait("all is well").await;
    assert_eq!(block_in_place(|| served.stop()), 0);
    wait_for("nothing of the agent is left", || {
        living_below(folder.path()).iter().all(|(_, line)| !line.contains("acp-fake")).then_some(())
    });
}
