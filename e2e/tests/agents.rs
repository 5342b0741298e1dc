//! Real agents in their sandbox, with an org's own key, whose worker is killed in the middle of a turn. What they made goes on with
//! them: files, and links.
//!
//! Takes npm and a registry, and a kernel with Landlock of 6.7 or newer.

use std::path::{Path, PathBuf};

use client::{AuditFilter, Wish};
use e2e::{Folder, Installation, Model, RealAgent, Served, living_below, wait_for, wait_for_async};
use ids::{CommandId, SessionId};
use localpg::{Binaries, Cluster, Options};
use sha2::{Digest as _, Sha256};
use tokio::task::block_in_place;
use walkdir::WalkDir;

/// A system whose worker is a process of its own.
struct Story {
    agent: RealAgent,
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
    async fn tell(agent: RealAgent) -> Self {
        let (folder, model) = (Folder::new(), Model::start());
        let binaries = Binaries::find(e2e::search_path().as_deref()).expect("Postgres' programs are installed");
        let cluster = Cluster::start(&binaries, &folder.path().join("postgres"), Options::fast()).expect("it starts");
        cluster.create_database("cowork").expect("a database can be made");
        let more = format!(
            "[database]\nurl = {:?}\n[worker]\nlease_ms = 1000\n{}",
            cluster.url("cowork"),
            block_in_place(|| agent.configured(&model.url()))
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
        let session = operator.session_create("t", agent.name()).await.unwrap().session_id;
        Self { agent, installation, web, worker: Some(worker), model, key, session, _cluster: cluster, folder }
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
            .filter(|(_, line)| line.contains(self.agent.process()))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// Where its files are.
    fn work(&self) -> Option<PathBuf> {
        let folders = WalkDir::new(self.installation.data().join("workspaces")).max_depth(3).into_iter().flatten();
        folders.into_iter().find(|entry| entry.file_name() == "work").map(walkdir::DirEntry::into_path)
    }

    /// The file that it made, read through the link that it made to it, and where its other links lead.
    fn made(&self) -> Option<(String, Vec<PathBuf>)> {
        let work = self.work()?;
        let content = std::fs::read_to_string(work.join("to-made")).ok()?;
        let leads = LINKS.iter().map(|(link, _)| std::fs::read_link(work.join(link))).collect::<Result<_, _>>().ok()?;
        Some((content, leads))
    }
}

/// As what is installed for a project has them: into its own folder, out of it, and to nothing.
const LINKS: [(&str, &str); 3] = [("to-made", "made.txt"), ("bin/env", "/usr/bin/env"), ("gone", "no/where")];

/// The command that makes them, and something that can't be saved.
fn making() -> String {
    let links: Vec<String> = LINKS.iter().map(|(link, target)| format!("ln -s {target} {link}")).collect();
    format!("echo hello > made.txt && mkdir bin && mkfifo pipe && {}", links.join(" && "))
}

async fn goes_on_elsewhere(agent: RealAgent) {
    let mut story = Story::tell(agent).await;
    let expect = Some(("hello\n".to_owned(), LINKS.map(|(_, target)| target.into()).to_vec()));
    let run = format!("run {}", making());
    let first = story.prompt(&run).await;
    story.done(first).await;
    let events = story.events().await;
    assert_eq!(story.made(), expect, "{events}");
    assert!(events.contains(&making()) && events.contains(&format!("I was told: {run}.")), "{events}");
    assert!(events.contains("Not saved with the files") && events.contains("pipe (a pipe)"), "{events}");
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
    assert_eq!(story.made(), expect);
    let events = story.events().await;
    assert!(events.contains(&format!("I was told: {run}, hold.")), "it loaded its session: {events}");

    // It goes on with them: reads through one, and sees where another leads.
    let third = story.prompt("run cat to-made > seen.txt && readlink bin/env >> seen.txt").await;
    story.done(third).await;
    let seen = story.work().and_then(|work| std::fs::read_to_string(work.join("seen.txt")).ok());
    let events = story.events().await;
    assert_eq!(seen.as_deref(), Some("hello\n/usr/bin/env\n"), "{events}");
    story.spent_is_metered().await;
    story.key_is_nowhere(&events).await;
}

impl Story {
    /// What the model said that each request used, once.
    async fn spent_is_metered(&self) {
        let usage = self.web.operator().usage().await.unwrap();
        let tokens = |kind: &str| usage.items.iter().find(|total| total.kind == kind).map(|total| total.quantity);
        let [model] = &usage.models[..] else { panic!("{usage:?}") };
        assert!(
            model.provider == "openai" && model.model.as_deref() == Some("gpt-5") && model.requests >= 3,
            "{model:?}"
        );
        assert_eq!((model.input_tokens, model.output_tokens), (3 * model.requests, 2 * model.requests), "by its model");
        assert_eq!(
            (tokens("input_tokens"), tokens("output_tokens")),
            (Some(model.input_tokens), Some(model.output_tokens))
        );
    }

    /// Each request to the model had it, it was revealed for each of the agent's processes, and it is in nothing that is left.
    async fn key_is_nowhere(mut self, events: &str) {
        let keys = self.model.keys();
        let expect = format!("Bearer {}", self.key);
        assert!(keys.len() >= 4 && keys.iter().all(|key| *key == expect), "{} requests had the org's key", keys.len());
        let reveals = AuditFilter { action: Some("byok_key.reveal".to_owned()), ..AuditFilter::default() };
        let revealed = self.web.operator().audit_list(&reveals, None, 200).await.unwrap().items;
        assert_eq!(revealed.len(), 2, "once for each of the agent's processes");
        assert!(!holds(events.as_bytes(), &self.key), "the key is in the events");
        assert_eq!(block_in_place(|| self.worker.take().unwrap().stop()), 0);
        assert_eq!(block_in_place(|| self.web.stop()), 0);
        nowhere(self.folder.path(), &self.key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_agent_goes_on_on_another_worker_and_never_has_the_key() {
    goes_on_elsewhere(RealAgent::Codex).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_real_agent_does_so_as_well() {
    goes_on_elsewhere(RealAgent::OpenCode).await;
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
