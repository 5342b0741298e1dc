//! Life in a copy of the source before its backup: its roles are started, people do something through the API, the
//! roles are stopped. So what is different about a healthy world was made by the program, as in a real one.
//!
//! Not here: which worlds there are (`healthy`), what people do in them (`scenes`).

pub(crate) mod scenes;

use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use client::{Client, SessionView, Wish};
use clock::Sources;
use ids::{CommandId, OrgId, SessionId};
use secrecy::SecretString;

use super::template::SourceCopy;
use crate::checks::eventually;
use crate::inbound::{self, Message, Words};
use crate::processes::{Role, RoleProcess};
use crate::rehearsal::KnownChannel;

/// How long one thing that is bound to happen may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A copy of the source with its roles.
#[derive(Debug)]
pub(crate) struct Awake<'a> {
    pub(crate) copy: &'a SourceCopy,
    /// Where its web role is.
    web: String,
    pub(crate) operator: Client,
    pub(crate) home: OrgId,
    pub(crate) sources: &'a Sources,
    channel: Option<&'a KnownChannel>,
    roles: Vec<RoleProcess>,
}

impl<'a> Awake<'a> {
    /// Starts a process of each of `roles`, a web role among them.
    pub(crate) async fn with(
        copy: &'a SourceCopy,
        roles: &[Role],
        token: &SecretString,
        channel: Option<&'a KnownChannel>,
        sources: &'a Sources,
    ) -> anyhow::Result<Self> {
        let mut started = Vec::new();
        for role in roles {
            started.push(copy.launcher.start(&format!("copy-{}", role.as_str()), *role, &[]).await?);
        }
        let web = url(&started, Role::Web)?;
        let operator = Client::new(&web, token.clone());
        let home = operator.workspace().await.context("the copy's web role gives no workspace")?.org.org_id;
        Ok(Self { copy, web, operator, home, sources, channel, roles: started })
    }

    /// Stops every role.
    pub(crate) async fn rest(self) -> anyhow::Result<()> {
        for role in self.roles.into_iter().rev() {
            let name = role.name.clone();
            ensure!(role.stop().await, "{name} did not stop when asked to");
        }
        Ok(())
    }

    /// A client of the org that the system began with.
    pub(crate) fn client(&self) -> Client {
        self.operator.in_org(self.home)
    }

    pub(crate) async fn submit(&self, client: &Client, session: SessionId, wish: Wish) -> anyhow::Result<CommandId> {
        let key = hex::encode(self.sources.bytes::<12>());
        Ok(client.command_submit(session, &key, &wish).await?.command_id)
    }

    /// A new session, and a prompt that is carried out in it.
    pub(crate) async fn talk(&self, client: &Client, title: &str, prompt: &str) -> anyhow::Result<SessionId> {
        let session = client.session_create(title, "scripted").await?.session_id;
        self.prompt(client, session, prompt).await?;
        Ok(session)
    }

    /// Prompts and waits until the command is finished.
    pub(crate) async fn prompt(&self, client: &Client, session: SessionId, prompt: &str) -> anyhow::Result<()> {
        let command = self.submit(client, session, Wish::Prompt { text: prompt.to_owned() }).await?;
        let done = eventually(PATIENCE, async || {
            let command = client.command_get(session, command).await.ok()?;
            (command.state != "pending").then_some(())
        });
        done.await.with_context(|| format!("a prompt is not carried out: {prompt:.60}"))
    }

    /// Waits until the session is as `holds` says.
    pub(crate) async fn until(
        &self,
        client: &Client,
        session: SessionId,
        holds: impl Fn(&SessionView) -> bool,
    ) -> anyhow::Result<()> {
        let reached = eventually(PATIENCE, async || {
            let view = client.session_get(session).await.ok()?;
            holds(&view).then_some(())
        });
        reached.await.ok_or_else(|| anyhow!("a session never comes to where it is to be"))
    }

    /// Waits for as many deliveries of the home org in `state`.
    pub(crate) async fn deliveries(&self, state: &str, wanted: usize) -> anyhow::Result<()> {
        let reached = eventually(PATIENCE, async || {
            let found = crate::api::deliveries(&self.client(), Some(state)).await.ok()?;
            (found.len() >= wanted).then_some(())
        });
        reached.await.with_context(|| format!("there are never {wanted} deliveries that are {state}"))
    }

    /// Waits until its scheduler has started a run.
    pub(crate) async fn fires(&self) -> anyhow::Result<()> {
        let before = crate::api::runs(&self.client()).await?.len();
        let fired = eventually(PATIENCE, async || {
            let now = crate::api::runs(&self.client()).await.ok()?;
            (now.len() > before).then_some(())
        });
        fired.await.context("no slot fires in the copy")
    }

    /// A message from outside, in a thread of the channel that is known.
    pub(crate) async fn receive(&self, event_id: &str, thread: &str, text: &str) -> anyhow::Result<()> {
        self.say(event_id, &Message { thread, sender: None, words: Words::Text(text) }).await
    }

    /// As [`Self::receive`], of somebody.
    pub(crate) async fn say(&self, event_id: &str, message: &Message<'_>) -> anyhow::Result<()> {
        let (gateway, channel) = (url(&self.roles, Role::Gateway)?, self.channel.context("no channel is known")?);
        inbound::say(&gateway, channel, event_id, message, self.sources).await?;
        Ok(())
    }
}

fn url(roles: &[RoleProcess], role: Role) -> anyhow::Result<String> {
    let found = roles.iter().map(|process| process.url(role)).find(|url| !url.is_empty());
    found.with_context(|| format!("no {} runs", role.as_str()))
}
