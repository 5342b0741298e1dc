//! What happens in the source system: people talk to agents, approve, refuse and abort; workflows fire; messages come
//! in and go out, and some of them die.
//!
//! A world is repeated by its seed, as far as its content goes; how its roles race is not.
//!
//! Not here: the processes (`world`).

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chrono::TimeDelta;
use client::{Client, NewTrigger, NewWorkflow, Wish};
use clock::{Sources, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _};
use ids::{CommandId, OrgId, SessionId, WorkflowId};
use redact::CanaryClass;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::canaries::{Canaries, Planted};
use super::{Acknowledged, Held, Inbound, KnownChannel, Size, Smoke};
use crate::api::{self, persist};
use crate::checks::eventually;
use crate::inbound;
use crate::sink::Sink;

/// How long one thing that is bound to happen may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// People at work at the same time.
const CONCURRENCY: usize = 16;

/// A file in a workspace, and its content.
const MEMORY: (&str, &str) = ("memory.txt", "the answer is 42");

/// Where the source's roles are.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    pub(crate) web: String,
    pub(crate) gateway: String,
}

/// The source's life, and what somebody outside of it remembers.
#[derive(Debug)]
pub(crate) struct Life {
    operator: Client,
    orgs: Vec<OrgId>,
    urls: Urls,
    channels: Channels,
    workflows: Workflows,
    planted: Planted,
    size: Size,
    sources: Sources,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Channels {
    accept: KnownChannel,
    flaky: KnownChannel,
    refuse: KnownChannel,
    later: KnownChannel,
}

#[derive(Debug)]
struct Workflows {
    /// Fires every second.
    busy: WorkflowId,
    /// Fires once, soon.
    once: WorkflowId,
    /// Paused: due before the disaster, to fire when the target resumes them.
    held: Vec<Held>,
}

#[derive(Debug, Default)]
struct Memory {
    acknowledged: Vec<Acknowledged>,
    inbound: Vec<Inbound>,
    smoke: Option<Smoke>,
    messages: u64,
}

/// What is known at the end.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) inbound: Vec<Inbound>,
    pub(crate) inbound_channel: KnownChannel,
    pub(crate) smoke: Smoke,
    pub(crate) held: Vec<Held>,
}

impl Life {
    /// Founds the orgs, with members, tokens, keys, channels and workflows.
    pub(crate) async fn begin(
        operator: Client,
        urls: Urls,
        sink: &Sink,
        planted: &Planted,
        canaries: &mut Canaries,
        size: Size,
        sources: &Sources,
    ) -> anyhow::Result<Self> {
        let home = operator.workspace().await.context("the source's web role gives no workspace")?.org.org_id;
        let mut orgs = vec![home];
        for name in ["Contoso 東京", "Söhne & Töchter"].into_iter().take(size.orgs.saturating_sub(1)) {
            orgs.push(operator.org_create(name).await?.org_id);
        }
        for (number, org) in orgs.iter().enumerate() {
            let client = operator.in_org(*org);
            let email = format!("person-{number}.{}", planted.email);
            let member = client.member_create(&email, "Ada", "member").await?;
            let token = client.token_create("laptop", &["read", "write"], Some(member.account_id)).await?;
            canaries.add(CanaryClass::ApiToken, "a member's token", token.token.expose_secret());
            client.byok_key_create("openai", "team key", &planted.byok_key).await?;
        }
        let channels = open_channels(&operator.in_org(home), home, sink, planted, canaries).await?;
        let workflows = plan_workflows(&operator.in_org(home), home, sources).await?;
        let memory = Mutex::default();
        let (planted, sources) = (planted.clone(), sources.clone());
        Ok(Self { operator, orgs, urls, channels, workflows, planted, size, sources, memory })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder of this lock can panic")
    }

    fn client(&self, number: u32) -> (OrgId, Client) {
        let org = self.orgs[number as usize % self.orgs.len()];
        (org, self.operator.in_org(org))
    }

    /// How many sessions [`Self::populate`] will make.
    pub(crate) fn sessions(&self) -> u32 {
        self.size.sessions
    }

    /// Fills the system. `tick` is called with how many sessions are done.
    pub(crate) async fn populate(&self, tick: impl Fn(u64)) -> anyhow::Result<()> {
        if self.size.bare {
            return tokio::try_join!(self.dialogue(), self.two_messages()).map(drop);
        }
        let special = async {
            tokio::try_join!(self.dialogue(), self.approvals(), self.question(), self.failure(), self.abort())?;
            self.threads().await
        };
        let done = std::sync::atomic::AtomicU64::new(0);
        let bulk = futures::stream::iter(0..self.sessions()).map(Ok::<_, anyhow::Error>).try_for_each_concurrent(
            CONCURRENCY,
            async |number| {
                self.bulk_session(number).await?;
                tick(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
                Ok(())
            },
        );
        tokio::try_join!(special, bulk)?;
        Ok(())
    }

    /// Goes on until told to stop: prompts, and messages from outside.
    pub(crate) async fn go_on(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut number = self.sessions();
        while !stop.is_cancelled() {
            let thread = format!("busy-{}", number % 4);
            let message = self.receive(&self.channels.accept, number, &thread, "say still here");
            tokio::try_join!(self.bulk_session(number), message)?;
            number += 1;
        }
        Ok(())
    }

    /// Waits until the world has everything that a drill wants to see in a backup.
    pub(crate) async fn settle(&self, sink: &Sink) -> anyhow::Result<()> {
        let home = self.operator.in_org(self.orgs[0]);
        // A delivery that is still pending when the backup is taken, and is due again when the target's gateway is there.
        self.receive(&self.channels.later, 0, "later", "say not now").await?;
        until("a delivery has to wait", async || sink.since(0).iter().any(|received| received.thread == "later"))
            .await?;
        until("a delivery is sent", async || sink.since(0).iter().any(|received| received.accepted)).await?;
        until("a delivery dies", async || any_delivery(&home, "dead").await).await?;
        until("both workflows fire", async || {
            let runs = api::runs(&home).await.unwrap_or_default();
            let count = |workflow| runs.iter().filter(|run| run.workflow_id == workflow).count();
            count(self.workflows.once) == 1 && count(self.workflows.busy) >= 2
        })
        .await
    }

    /// For a world that nobody is busy in: a message from outside, which is answered.
    pub(crate) async fn one_more(&self) -> anyhow::Result<()> {
        self.receive(&self.channels.accept, 0, "support-0", "say still here").await?;
        self.receive(&self.channels.accept, 1, "support-late", "say still here").await
    }

    /// Waits until life has visibly gone on since `since`: more messages went out and more slots fired.
    pub(crate) async fn has_gone_on(&self, sink: &Sink, since: Timestamp) -> anyhow::Result<()> {
        let home = self.operator.in_org(self.orgs[0]);
        until("life goes on after the backup", async || {
            let sent = sink.since(0).iter().filter(|received| received.accepted && received.at > since).count();
            let runs = api::runs(&home).await.unwrap_or_default();
            sent >= 2 && runs.iter().any(|run| run.due_at > since)
        })
        .await
    }

    /// (workflow, due time) of every run so far.
    pub(crate) async fn fired(&self) -> anyhow::Result<Vec<(WorkflowId, Timestamp)>> {
        let runs = persist(async || api::runs(&self.operator.in_org(self.orgs[0])).await).await?;
        Ok(runs.into_iter().map(|run| (run.workflow_id, run.due_at)).collect())
    }

    /// What somebody outside remembers.
    pub(crate) fn conclude(&self) -> Known {
        let memory = std::mem::take(&mut *self.memory());
        Known {
            acknowledged: memory.acknowledged,
            inbound: memory.inbound,
            inbound_channel: self.channels.accept.clone(),
            smoke: memory.smoke.expect("`populate` has run"),
            held: self.workflows.held.clone(),
        }
    }

    async fn session(&self, number: u32, title: &str) -> anyhow::Result<(OrgId, Client, SessionId)> {
        let (org, client) = self.client(number);
        let session = persist(async || client.session_create(title, "scripted").await).await?;
        Ok((org, client, session.session_id))
    }

    /// Submits a wish and remembers that it was acknowledged.
    async fn submit(&self, client: &Client, session: SessionId, wish: Wish) -> anyhow::Result<CommandId> {
        let key = hex::encode(self.sources.bytes::<12>());
        let taken = persist(async || client.command_submit(session, &key, &wish).await).await?;
        let at = self.sources.now();
        self.memory().acknowledged.push(Acknowledged { command: taken.command_id, at });
        Ok(taken.command_id)
    }

    /// Prompts and waits until the command is finished.
    async fn prompt(&self, client: &Client, session: SessionId, text: &str) -> anyhow::Result<()> {
        let command = self.submit(client, session, Wish::Prompt { text: text.to_owned() }).await?;
        until("a prompt is carried out", async || {
            let command = persist(async || client.command_get(session, command).await).await;
            command.is_ok_and(|command| command.state != "pending")
        })
        .await
    }

    async fn bulk_session(&self, number: u32) -> anyhow::Result<()> {
        let (_, client, session) = self.session(number, &format!("Report {number} · отчёт")).await?;
        let text = format!("stream 40 6300\nwrite report-{number}.txt 4096");
        self.prompt(&client, session, &text).await
    }

    /// Two turns, the second of which reads what the first one left in the workspace.
    async fn dialogue(&self) -> anyhow::Result<()> {
        let (org, client, session) = self.session(0, "A long memory").await?;
        let (file, content) = MEMORY;
        self.prompt(&client, session, &format!("note {file} {content}")).await?;
        self.prompt(&client, session, &format!("read {file}\nwrite summary.md 2048")).await?;
        let remembers = Some((file.to_owned(), hex::encode(Sha256::digest(content))));
        self.memory().smoke = Some(Smoke { org, session, remembers });
        Ok(())
    }

    /// One approved, one rejected, one left waiting.
    async fn approvals(&self) -> anyhow::Result<()> {
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

    async fn question(&self) -> anyhow::Result<()> {
        let (_, client, session) = self.session(1, "Which colour?").await?;
        let text = "ask which colour?\nsay painted".to_owned();
        self.submit(&client, session, Wish::Prompt { text }).await?;
        let request_id = self.request(&client, session).await?;
        self.submit(&client, session, Wish::Answer { request_id, answer: "blue".to_owned() }).await?;
        self.idle(&client, session).await
    }

    /// A turn whose error message is full of what must never reach a log.
    async fn failure(&self) -> anyhow::Result<()> {
        let (_, client, session) = self.session(2, "It fails").await?;
        self.prompt(&client, session, &self.planted.failing_prompt()).await
    }

    async fn abort(&self) -> anyhow::Result<()> {
        let (_, client, session) = self.session(0, "Never mind").await?;
        self.submit(&client, session, Wish::Prompt { text: "sleep 600000".to_owned() }).await?;
        until("the turn begins", async || {
            let view = persist(async || client.session_get(session).await).await;
            view.is_ok_and(|view| view.session.state == "running")
        })
        .await?;
        self.submit(&client, session, Wish::Abort {}).await?;
        self.idle(&client, session).await
    }

    /// Messages from outside, in threads of the three channels.
    async fn threads(&self) -> anyhow::Result<()> {
        for number in 0..6 {
            self.receive(&self.channels.accept, number, &format!("support-{}", number % 3), "say at your service")
                .await?;
        }
        for number in 0..2 {
            self.receive(&self.channels.flaky, number, &format!("flaky-{number}"), "say did you hear me").await?;
        }
        self.receive(&self.channels.refuse, 0, "refused", "say is anybody there").await
    }

    /// One that is answered, and one whose answer nobody takes.
    async fn two_messages(&self) -> anyhow::Result<()> {
        self.receive(&self.channels.accept, 0, "support-0", "say at your service").await?;
        self.receive(&self.channels.refuse, 0, "refused", "say is anybody there").await
    }

    async fn receive(&self, channel: &KnownChannel, number: u32, thread: &str, text: &str) -> anyhow::Result<()> {
        let event_id = {
            let mut memory = self.memory();
            memory.messages += 1;
            format!("msg_{}_{number}", memory.messages)
        };
        let sent = async || inbound::post(&self.urls.gateway, channel, &event_id, thread, text, &self.sources).await;
        let answer = eventually(PATIENCE, async || sent().await.ok()).await;
        let answer = answer.ok_or_else(|| anyhow!("the gateway takes no message"))?;
        let at = self.sources.now();
        let mut memory = self.memory();
        memory.acknowledged.push(Acknowledged { command: answer.command_id, at });
        if channel.channel == self.channels.accept.channel {
            let (thread, text, command) = (thread.to_owned(), text.to_owned(), answer.command_id);
            memory.inbound.push(Inbound { event_id, thread, text, command, at });
        }
        Ok(())
    }

    /// Waits until the session asks for something, and gives the request's id.
    async fn request(&self, client: &Client, session: SessionId) -> anyhow::Result<String> {
        let request = eventually(PATIENCE, async || {
            let view = persist(async || client.session_get(session).await).await.ok()?;
            view.projection.content["waiting_for"]["request_id"].as_str().map(str::to_owned)
        });
        request.await.ok_or_else(|| anyhow!("the agent never asked"))
    }

    async fn idle(&self, client: &Client, session: SessionId) -> anyhow::Result<()> {
        until("the session comes to rest", async || {
            let view = persist(async || client.session_get(session).await).await;
            view.is_ok_and(|view| matches!(view.session.state.as_str(), "idle" | "failed"))
        })
        .await
    }
}

async fn open_channels(
    client: &Client,
    org: OrgId,
    sink: &Sink,
    planted: &Planted,
    canaries: &mut Canaries,
) -> anyhow::Result<Channels> {
    let mut open = Vec::new();
    for behaviour in ["accept", "flaky", "refuse", "later"] {
        let url = format!("{}?X-Amz-Signature={}", sink.url(behaviour, behaviour), planted.signed_url_query);
        let channel = client.channel_create(behaviour, &url).await?;
        let Some(signing_secret) = channel.signing_secret else { bail!("a new channel came without its secret") };
        sink.expect_signature(behaviour, signing_secret.expose_secret());
        canaries.add(CanaryClass::ChannelCredential, "a channel's signing secret", signing_secret.expose_secret());
        open.push(KnownChannel { org, channel: channel.channel_id, signing_secret });
    }
    let [accept, flaky, refuse, later] = open.try_into().map_err(|_| anyhow!("four channels were made"))?;
    Ok(Channels { accept, flaky, refuse, later })
}

async fn plan_workflows(client: &Client, org: OrgId, sources: &Sources) -> anyhow::Result<Workflows> {
    let now = sources.now();
    let plan = async |name: &str, state: &str, policy: &str, trigger: NewTrigger| {
        let workflow = NewWorkflow {
            name: name.to_owned(),
            prompt: format!("say {name} ran"),
            missed_policy: Some(policy.to_owned()),
            state: Some(state.to_owned()),
            triggers: vec![trigger],
            ..NewWorkflow::default()
        };
        client.workflow_create(&workflow).await.map(|workflow| workflow.workflow_id)
    };
    let every_second = NewTrigger::Interval { every_s: 1, anchor_at: Some(now) };
    let soon = NewTrigger::Once { at: now + TimeDelta::seconds(1) };
    let yearly = NewTrigger::Cron { expression: "0 4 1 1 *".to_owned(), time_zone: "Europe/Berlin".to_owned() };
    let hourly = NewTrigger::Interval { every_s: 3_600, anchor_at: Some(now + TimeDelta::seconds(1)) };
    let busy = plan("pulse", "active", "skip", every_second).await?;
    let once = plan("launch", "active", "run_once", soon.clone()).await?;
    plan("new year", "active", "run_once", yearly).await?;
    let mut held = Vec::new();
    for (name, trigger) in [("held once", soon), ("held hourly", hourly)] {
        held.push(Held { org, workflow: plan(name, "paused", "run_once", trigger).await? });
    }
    Ok(Workflows { busy, once, held })
}

async fn any_delivery(client: &Client, state: &str) -> bool {
    persist(async || client.delivery_list(Some(state), None, 1).await).await.is_ok_and(|page| !page.items.is_empty())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        if tokio::time::Instant::now() > deadline {
            bail!("it did not happen within {} s that {what}", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
