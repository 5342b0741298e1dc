//! What people do in sessions of the source: they talk, approve, refuse, answer, abort; agents fail, ask and wait.
//!
//! Not here: messages from outside (`messages`), what is decided after the backup (`later`).

use anyhow::{Context as _, anyhow};
use client::{Client, ImportSession, ImportedMessage, WhileRunning, Wish};
use ids::{CommandId, OrgId, SessionId};
use sha2::{Digest as _, Sha256};

use super::{Life, PATIENCE, files, until};
use crate::api::persist;
use crate::checks::eventually;
use crate::rehearsal::kept::{Beginning, Steered, Steering};
use crate::rehearsal::later::Later;
use crate::rehearsal::repository::MANUAL;
use crate::rehearsal::{Acknowledged, Smoke};
use crate::said::Sentence;

/// A file in a workspace, and its content.
const MEMORY: (&str, &str) = ("memory.txt", "the answer is 42");
/// A link beside it, and where it leads: nobody may follow it there.
const LINK: (&str, &str) = ("bin/tool", "../../elsewhere/tool");

impl Life {
    pub(super) async fn session(&self, number: u32, title: &str) -> anyhow::Result<(OrgId, Client, SessionId)> {
        let (org, client) = self.client(number);
        let session = persist(async || client.session_create(title, "scripted").await).await?;
        Ok((org, client, session.session_id))
    }

    /// Submits a wish and remembers that it was acknowledged.
    pub(super) async fn submit(&self, client: &Client, session: SessionId, wish: Wish) -> anyhow::Result<CommandId> {
        let key = hex::encode(self.sources.bytes::<12>());
        let taken = persist(async || client.command_submit(session, &key, &wish).await).await?;
        let at = self.sources.now();
        self.memory().acknowledged.push(Acknowledged { command: taken.command_id, at });
        Ok(taken.command_id)
    }

    /// Prompts and waits until the command is finished.
    pub(super) async fn prompt(&self, client: &Client, session: SessionId, text: &str) -> anyhow::Result<()> {
        let command = self.submit(client, session, Wish::Prompt { text: text.to_owned() }).await?;
        until("a prompt is carried out", async || {
            let command = persist(async || client.command_get(session, command).await).await;
            command.is_ok_and(|command| command.state != "pending")
        })
        .await
    }

    pub(super) async fn bulk_session(&self, number: u32) -> anyhow::Result<()> {
        let (_, client, session) = self.session(number, &format!("Report {number} · отчёт")).await?;
        let text = format!("stream 40 6300\nwrite report-{number}.txt 4096");
        self.prompt(&client, session, &text).await
    }

    /// Two turns, the second of which reads what the first one left in the workspace, and leaves a link.
    pub(super) async fn dialogue(&self) -> anyhow::Result<()> {
        let (org, client, session) = self.session(0, "A long memory").await?;
        let (file, content) = MEMORY;
        self.prompt(&client, session, &format!("note {file} {content}")).await?;
        let (link, target) = LINK;
        self.prompt(&client, session, &format!("read {file}\nlink {link} {target}\nwrite summary.md 2048")).await?;
        let known = |name: &str, content: &str| Some((name.to_owned(), hex::encode(Sha256::digest(content))));
        let (remembers, link) = (known(file, content), known(link, target));
        self.memory().smoke = Some(Smoke { org, session, remembers, link });
        Ok(())
    }

    /// A conversation that took place elsewhere, and goes on here.
    pub(super) async fn imported(&self) -> anyhow::Result<()> {
        let (_, client) = self.client(1);
        let said = |role: &str, text: &str| ImportedMessage { role: role.into(), text: text.into(), at: None };
        let import = ImportSession {
            title: "From elsewhere".into(),
            agent: "scripted".into(),
            tags: vec!["imported".into()],
            source: "export of another system".into(),
            messages: vec![said("user", "what is due?"), said("assistant", "a report · отчёт"), said("user", "thanks")],
        };
        let session = persist(async || client.session_import(&import).await).await?.session_id;
        self.prompt(&client, session, "say as before").await
    }

    /// One approved, one rejected, one left waiting.
    pub(super) async fn approvals(&self) -> anyhow::Result<()> {
        for (number, verdict) in [Some(true), Some(false), None].into_iter().enumerate() {
            let (_, client, session) = self.session(u32::try_from(number)?, "May I?").await?;
            let text = "say ready\napprove deploy to staging\nsay deployed".to_owned();
            self.submit(&client, session, Wish::Prompt { text }).await?;
            let request_id = self.request(&client, session).await?;
            match verdict {
                Some(true) => self.submit(&client, session, Wish::Approve { request_id }).await?,
                Some(false) => self.submit(&client, session, Wish::Reject { request_id }).await?,
                None => continue,
            };
            self.idle(&client, session).await?;
        }
        Ok(())
    }

    /// What is still to be decided when the backup is taken.
    pub(super) async fn open_questions(&self) -> anyhow::Result<()> {
        let (org, client, session) = self.session(0, "May I, later?").await?;
        let text = "say ready\napprove deploy to production\nsay deployed".to_owned();
        self.submit(&client, session, Wish::Prompt { text }).await?;
        let asking = (session, self.request(&client, session).await?);
        let later = Later::prepare(&client, &self.urls.web, org, asking, &self.sources).await?;
        self.later.set(later).map_err(|_| anyhow!("`populate` has run before"))
    }

    pub(super) async fn question(&self) -> anyhow::Result<()> {
        let (_, client, session) = self.session(1, "Which colour?").await?;
        let text = "ask which colour?\nsay painted".to_owned();
        self.submit(&client, session, Wish::Prompt { text }).await?;
        let request_id = self.request(&client, session).await?;
        self.submit(&client, session, Wish::Answer { request_id, answer: "blue".to_owned() }).await?;
        self.idle(&client, session).await
    }

    /// A turn whose error message is full of what must never reach a log.
    pub(super) async fn failure(&self) -> anyhow::Result<()> {
        let (_, client, session) = self.session(2, "It fails").await?;
        self.prompt(&client, session, &self.planted.failing_prompt()).await
    }

    pub(super) async fn abort(&self) -> anyhow::Result<()> {
        let (_, client, session) = self.session(0, "Never mind").await?;
        self.submit(&client, session, Wish::Prompt { text: "sleep 600000".to_owned() }).await?;
        self.running(&client, session).await?;
        self.submit(&client, session, Wish::Abort {}).await?;
        self.idle(&client, session).await
    }

    /// A word to an agent at work, which hears it; and one to an agent that waits for a person, which does not hear it yet.
    pub(super) async fn steering(&self) -> anyhow::Result<Steered> {
        let (_, client, session) = self.session(0, "It is told more").await?;
        // It sleeps no longer than this if nobody wakes it: on a busy machine a lease may be lost meanwhile, and what is said is for a
        // later attempt, or a turn of its own.
        let slept = self.submit(&client, session, Wish::Prompt { text: "sleep 5000\nsay awake".to_owned() }).await?;
        until("an agent is at work, or has been", async || {
            let view = persist(async || client.session_get(session).await).await;
            view.is_ok_and(|view| view.session.last_sequence > 1)
        })
        .await?;
        let heard = self.steer(&client, session).await?;
        until("what steers an agent ends with its turn", async || {
            let ended = async |command| {
                let command = persist(async || client.command_get(session, command).await).await;
                command.is_ok_and(|command| command.state != "pending")
            };
            ended(slept).await && ended(heard.command).await
        })
        .await?;
        let (_, client, session) = self.session(0, "It will be told more").await?;
        let text = "say ready\napprove deploy to nowhere\nsay deployed".to_owned();
        self.submit(&client, session, Wish::Prompt { text }).await?;
        let request_id = self.request(&client, session).await?;
        let waits = self.steer(&client, session).await?;
        Ok(Steered { heard, waits, request_id })
    }

    async fn steer(&self, client: &Client, session: SessionId) -> anyhow::Result<Steering> {
        let (word, key) = (hex::encode(self.sources.bytes::<12>()), hex::encode(self.sources.bytes::<12>()));
        let text = format!("say {word}");
        let taken =
            persist(async || client.prompt_submit(session, &key, &text, WhileRunning::Steer).await).await?.command_id;
        let at = self.sources.now();
        self.memory().acknowledged.push(Acknowledged { command: taken, at });
        Ok(Steering { session, command: taken, word })
    }

    /// Sessions that begin with files: one has read them when the backup is taken; the others have done nothing yet.
    pub(super) async fn begun_with_files(&self) -> anyhow::Result<Vec<Beginning>> {
        let (_, client) = self.client(0);
        let begin = async |title: &str, source, (file, content): (&'static str, &str)| {
            let made = persist(async || client.session_create_from(title, "scripted", source).await).await?;
            let sha256 = hex::encode(Sha256::digest(content));
            anyhow::Ok(Beginning { session: made.session_id, file: (file, sha256) })
        };
        let uploaded = files::upload(&client).await?;
        let read = begin("Begun with files", uploaded, files::README).await?;
        let file = read.file.0;
        self.prompt(&client, read.session, &format!("read {file}\nnote {file} read")).await?;
        let mut begins = vec![begin("To begin with files", uploaded, files::README).await?];
        if let Some(url) = &self.urls.repository {
            let fetched = persist(async || client.project_source_fetch("Manual", url, None, None).await).await;
            let fetched = fetched.context("no project source can be fetched from a repository")?.project_source_id;
            begins.push(begin("To begin with a commit", fetched, MANUAL).await?);
        }
        Ok(begins)
    }

    async fn running(&self, client: &Client, session: SessionId) -> anyhow::Result<()> {
        until("the turn begins", async || {
            let view = persist(async || client.session_get(session).await).await;
            view.is_ok_and(|view| view.session.state.as_deref() == Some("running"))
        })
        .await
    }

    /// Waits until the session asks for something, and gives the request's id.
    pub(super) async fn request(&self, client: &Client, session: SessionId) -> anyhow::Result<String> {
        let request = eventually(PATIENCE, async || {
            let view = persist(async || client.session_get(session).await).await.ok()?;
            view.projection.content["waiting_for"]["request_id"].as_str().map(str::to_owned)
        });
        Ok(request.await.ok_or_else(|| Sentence::from("the agent never asked"))?)
    }

    pub(super) async fn idle(&self, client: &Client, session: SessionId) -> anyhow::Result<()> {
        until("the session comes to rest", async || {
            let view = persist(async || client.session_get(session).await).await;
            view.is_ok_and(|view| matches!(view.session.state.as_deref(), Some("idle" | "failed")))
        })
        .await
    }
}
