//! What happens in the source system: people talk to agents, approve, refuse and abort; workflows fire; messages come
//! in and go out, and some of them die.
//!
//! A world is repeated by its seed, as far as its content goes; how its roles race is not.
//!
//! Not here: the processes (`world`).

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chrono::TimeDelta;
use client::{Client, ImportSession, ImportedMessage, NewTrigger, NewWorkflow, Policy, Wish, Workflow, WorkflowAction};
use clock::{Sources, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _};
use ids::{CommandId, OrgId, SessionId, WorkflowId};
use redact::CanaryClass;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::canaries::{Canaries, Planted};
use super::later::{Later, Standing};
use super::{Acknowledged, Call, Called, Held, Inbound, KnownChannel, KnownTrigger, Size, Smoke};
use crate::api::{self, persist};
use crate::checks::eventually;
use crate::inbound;
use crate::said::{Sentence, say};
use crate::sink::{HEARD, PLAIN, Sink};

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
    later: OnceLock<Later>,
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
    /// Its receiver sees repeats.
    plain: KnownChannel,
    /// Answer only after the backup; the second one's receiver sees repeats.
    slow: [KnownChannel; 2],
    /// Never answer; the same.
    silent: [KnownChannel; 2],
}

#[derive(Debug)]
struct Workflows {
    /// Runs when it is called.
    called: KnownTrigger,
    /// Fires every second.
    busy: WorkflowId,
    /// Fires once, soon.
    once: WorkflowId,
    /// Fires every other second, and makes good for what it missed.
    steady: WorkflowId,
    /// Paused: due before the disaster, to fire when the target resumes them; but one, which the source resumes itself after the
    /// backup.
    held: Vec<Held>,
}

#[derive(Debug, Default)]
struct Memory {
    acknowledged: Vec<Acknowledged>,
    inbound: Vec<Inbound>,
    calls: Vec<Call>,
    smoke: Option<Smoke>,
    messages: u64,
}

/// What is known at the end.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) inbound: Vec<Inbound>,
    pub(crate) inbound_channel: KnownChannel,
    pub(crate) called: Called,
    pub(crate) smoke: Smoke,
    pub(crate) held: Vec<Held>,
    /// `None`: the world is too small for it.
    pub(crate) standing: Option<Standing>,
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
            client.policy_put(&policy(), None).await?;
        }
        let channels = open_channels(&operator.in_org(home), home, sink, planted, canaries).await?;
        let workflows = plan_workflows(&operator.in_org(home), home, sources, canaries).await?;
        let (memory, later) = (Mutex::default(), OnceLock::new());
        let (planted, sources) = (planted.clone(), sources.clone());
        Ok(Self { operator, orgs, urls, channels, workflows, later, planted, size, sources, memory })
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
            tokio::try_join!(
                self.dialogue(),
                self.imported(),
                self.approvals(),
                self.question(),
                self.failure(),
                self.abort(),
                self.open_questions()
            )?;
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

    /// Goes on until it is dropped: prompts, and messages from outside.
    pub(crate) async fn go_on(&self) -> anyhow::Result<Infallible> {
        let mut number = self.sessions();
        loop {
            let thread = format!("busy-{}", number % 4);
            let channel = if number.is_multiple_of(2) { &self.channels.accept } else { &self.channels.plain };
            let message = self.receive(channel, number, &thread, "say still here");
            tokio::try_join!(self.bulk_session(number), message)?;
            number += 1;
        }
    }

    /// Waits until the world has everything that a drill wants to see in a backup.
    pub(crate) async fn settle(&self, sink: &Sink) -> anyhow::Result<()> {
        let home = self.operator.in_org(self.orgs[0]);
        // A delivery that is still pending when the backup is taken, and is due again when the target's gateway is there.
        self.receive(&self.channels.later, 0, "later", "say not now").await?;
        until("a delivery has to wait", async || sink.since(0).iter().any(|received| received.thread == "later"))
            .await?;
        self.keep_under_way(sink).await?;
        until("a delivery is sent", async || sink.since(0).iter().any(|received| received.accepted)).await?;
        until("a delivery dies", async || any_delivery(&home, "dead").await).await?;
        until("both workflows fire", async || {
            let runs = api::runs(&home).await.unwrap_or_default();
            let count = |workflow| runs.iter().filter(|run| run.workflow_id == workflow).count();
            count(self.workflows.once) == 1 && count(self.workflows.busy) >= 2
        })
        .await?;
        self.call("before").await
    }

    /// Deliveries that are under way from before the backup on: some are answered after it, some never.
    async fn keep_under_way(&self, sink: &Sink) -> anyhow::Result<()> {
        let Channels { slow, silent, .. } = &self.channels;
        for (number, channel) in (0..).zip(slow) {
            self.receive(channel, number, "slow", "say take your time").await?;
        }
        for (number, channel) in (0..).zip(silent) {
            for thread in [format!("{HEARD}-{number}"), format!("unheard-{number}")] {
                self.receive(channel, number, &thread, "say do you hear me").await?;
            }
        }
        until("deliveries are under way", async || {
            let under_way = sink.since(0).iter().filter(|received| received.answered_at.is_none()).count();
            under_way >= slow.len() + 2 * silent.len()
        })
        .await
    }

    /// What happens after the backup: messages in and out of every kind, and everything that a restore must not undo. Waits until
    /// the world outside has seen it.
    pub(crate) async fn live_on(&self, sink: &Sink, since: Timestamp) -> anyhow::Result<()> {
        let home = self.operator.in_org(self.orgs[0]);
        let Channels { accept, plain, flaky, refuse, .. } = &self.channels;
        let messages = async {
            for (number, channel) in (0..).zip([accept, plain, flaky, refuse, accept]) {
                self.receive(channel, number, &format!("after-{number}"), "say later than the backup").await?;
            }
            anyhow::Ok(())
        };
        let resume = async {
            for held in self.workflows.held.iter().filter(|held| held.resumed) {
                persist(async || home.workflow_act(held.workflow, WorkflowAction::Resume).await).await?;
            }
            anyhow::Ok(())
        };
        let decide = async {
            match self.later.get() {
                Some(later) => later.decide(&home, &self.sources).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(messages, resume, decide, self.call("after"))?;
        self.seen_from_outside(sink, since).await
    }

    /// Each with its own name, since a drill that stops here has to say what for.
    async fn seen_from_outside(&self, sink: &Sink, since: Timestamp) -> anyhow::Result<()> {
        let home = self.operator.in_org(self.orgs[0]);
        let arrived = |thread| sink.since(0).iter().any(|one| one.accepted && one.thread == thread);
        let runs = async || api::runs(&home).await.unwrap_or_default();
        until("an answer arrives that was given after the backup", async || arrived("after-0")).await?;
        until("one arrives where nothing is deduplicated", async || arrived("after-1")).await?;
        for held in self.workflows.held.iter().filter(|held| held.resumed) {
            let ran = async || runs().await.iter().any(|run| run.workflow_id == held.workflow);
            until("a workflow fires that was resumed after the backup", ran).await?;
        }
        let steady = self.workflows.steady;
        until("slots fire that are due after the backup", async || {
            runs().await.iter().any(|run| run.workflow_id == steady && run.due_at > since)
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
            called: Called { trigger: self.workflows.called.clone(), calls: memory.calls },
            smoke: memory.smoke.expect("`populate` has run"),
            held: self.workflows.held.clone(),
            standing: self.later.get().map(Later::standing),
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

    /// A conversation that took place elsewhere, and goes on here.
    async fn imported(&self) -> anyhow::Result<()> {
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

    /// What is still to be decided when the backup is taken.
    async fn open_questions(&self) -> anyhow::Result<()> {
        let (org, client, session) = self.session(0, "May I, later?").await?;
        let text = "say ready\napprove deploy to production\nsay deployed".to_owned();
        self.submit(&client, session, Wish::Prompt { text }).await?;
        let asking = (session, self.request(&client, session).await?);
        let later = Later::prepare(&client, &self.urls.web, org, asking, &self.sources).await?;
        self.later.set(later).map_err(|_| anyhow!("`populate` has run before"))
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
            view.is_ok_and(|view| view.session.state.as_deref() == Some("running"))
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
        self.receive(&self.channels.plain, 0, "plain-0", "say at your service").await?;
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
        let answer = answer.ok_or_else(|| Sentence::from("the gateway takes no message"))?;
        let at = self.sources.now();
        let mut memory = self.memory();
        // `None` is for what was accepted before a restore, and this system never was restored.
        let command = answer.command_id.context("the gateway gives no command for a new message")?;
        memory.acknowledged.push(Acknowledged { command, at });
        if channel.channel == self.channels.accept.channel {
            let (thread, text) = (thread.to_owned(), text.to_owned());
            memory.inbound.push(Inbound { event_id, thread, text, command, at });
        }
        Ok(())
    }

    /// Calls the workflow that is called, until the call is taken.
    async fn call(&self, when: &str) -> anyhow::Result<()> {
        let trigger = &self.workflows.called;
        let (event_id, data) = (format!("call_{when}"), format!("{when} the backup"));
        let called = eventually(PATIENCE, async || {
            inbound::call(&self.urls.gateway, trigger, &event_id, &data, &self.sources).await.ok()
        });
        let answer = called.await.ok_or_else(|| Sentence::from("the gateway takes no call"))?;
        // `None` is for what was accepted before a restore, or is skipped, and neither happens here.
        let run = answer.run_id.context("the gateway gives no run for a new call")?;
        self.memory().calls.push(Call { event_id, data, run });
        Ok(())
    }

    /// Waits until the session asks for something, and gives the request's id.
    async fn request(&self, client: &Client, session: SessionId) -> anyhow::Result<String> {
        let request = eventually(PATIENCE, async || {
            let view = persist(async || client.session_get(session).await).await.ok()?;
            view.projection.content["waiting_for"]["request_id"].as_str().map(str::to_owned)
        });
        Ok(request.await.ok_or_else(|| Sentence::from("the agent never asked"))?)
    }

    async fn idle(&self, client: &Client, session: SessionId) -> anyhow::Result<()> {
        until("the session comes to rest", async || {
            let view = persist(async || client.session_get(session).await).await;
            view.is_ok_and(|view| matches!(view.session.state.as_deref(), Some("idle" | "failed")))
        })
        .await
    }
}

/// What an org allows: nothing that the life, or a judge of what is restored, does is against it.
fn policy() -> Policy {
    Policy { agents: Some(vec!["scripted".to_owned()]), ..Policy::default() }
}

async fn open_channels(
    client: &Client,
    org: OrgId,
    sink: &Sink,
    planted: &Planted,
    canaries: &mut Canaries,
) -> anyhow::Result<Channels> {
    let mut open = async |behaviour: &str, name: &str| -> anyhow::Result<KnownChannel> {
        let url = format!("{}?X-Amz-Signature={}", sink.url(behaviour, name), planted.signed_url_query);
        let channel = if name.ends_with(PLAIN) {
            client.channel_create_without_deduplication(name, &url).await?
        } else {
            client.channel_create(name, &url).await?
        };
        let Some(signing_secret) = channel.signing_secret else { bail!("a new channel came without its secret") };
        sink.expect_signature(name, signing_secret.expose_secret());
        canaries.add(CanaryClass::ChannelCredential, "a channel's signing secret", signing_secret.expose_secret());
        Ok(KnownChannel { org, channel: channel.channel_id, signing_secret })
    };
    let plain = |behaviour: &str| format!("{behaviour}{PLAIN}");
    Ok(Channels {
        accept: open("accept", "accept").await?,
        flaky: open("flaky", "flaky").await?,
        refuse: open("refuse", "refuse").await?,
        later: open("later", "later").await?,
        plain: open("accept", &plain("accept")).await?,
        slow: [open("slow", "slow").await?, open("slow", &plain("slow")).await?],
        silent: [open("silent", "silent").await?, open("silent", &plain("silent")).await?],
    })
}

async fn plan_workflows(
    client: &Client,
    org: OrgId,
    sources: &Sources,
    canaries: &mut Canaries,
) -> anyhow::Result<Workflows> {
    let now = sources.now();
    let plan = async |name: &str, state: &str, policy: &str, trigger: NewTrigger| {
        let workflow = NewWorkflow {
            name: name.to_owned(),
            prompt: format!("say {name} ran"),
            missed_policy: Some(policy.to_owned()),
            overlap_policy: Some("allow".to_owned()),
            state: Some(state.to_owned()),
            triggers: vec![trigger],
            ..NewWorkflow::default()
        };
        client.workflow_create(&workflow).await
    };
    let every_second = NewTrigger::Interval { every_s: 1, anchor_at: Some(now) };
    let every_other = NewTrigger::Interval { every_s: 2, anchor_at: Some(now) };
    let soon = NewTrigger::Once { at: now + TimeDelta::seconds(1) };
    let yearly = NewTrigger::Cron { expression: "0 4 1 1 *".to_owned(), time_zone: "Europe/Berlin".to_owned() };
    let busy = plan("pulse", "active", "skip", every_second).await?.workflow_id;
    let once = plan("launch", "active", "run_once", soon.clone()).await?.workflow_id;
    let steady = plan("backlog", "active", "run_all", every_other).await?.workflow_id;
    plan("new year", "active", "run_once", yearly).await?;
    let held_once = plan("held once", "paused", "run_once", soon).await?.workflow_id;
    let mut held = vec![Held { org, workflow: held_once, resumed: false }];
    for (name, resumed) in [("held hourly", false), ("held for a while", true)] {
        let make = async |trigger| plan(name, "paused", "run_once", trigger).await;
        held.push(Held { org, workflow: hourly_from_soon(client, sources, make).await?, resumed });
    }
    let called = plan("errand", "active", "skip", NewTrigger::Webhook {}).await?;
    let called = known_trigger(org, called, canaries)?;
    Ok(Workflows { called, busy, once, steady, held })
}

/// The trigger of a workflow that was just made, with its secret.
fn known_trigger(org: OrgId, workflow: Workflow, canaries: &mut Canaries) -> anyhow::Result<KnownTrigger> {
    let trigger = workflow.triggers.into_iter().next().context("a new workflow came without its trigger")?;
    let (Some(path), Some(signing_secret)) = (trigger.path, trigger.signing_secret) else {
        bail!("a new webhook trigger came without its address or its secret")
    };
    canaries.add(CanaryClass::ChannelCredential, "a trigger's signing secret", signing_secret.expose_secret());
    Ok(KnownTrigger { org, workflow: workflow.workflow_id, path, signing_secret })
}

/// A workflow with a slot that falls due in a moment, and then once an hour. On a machine so busy that the moment was over when
/// the workflow was made, its first slot is an hour away: it is archived, and another one made with more time.
async fn hourly_from_soon(
    client: &Client,
    sources: &Sources,
    make: impl AsyncFn(NewTrigger) -> Result<Workflow, client::Error>,
) -> anyhow::Result<WorkflowId> {
    for lead_s in [1, 4, 16, 64] {
        let soon = sources.now() + TimeDelta::seconds(lead_s);
        let made = make(NewTrigger::Interval { every_s: 3_600, anchor_at: Some(soon) }).await?;
        if made.triggers.iter().any(|trigger| trigger.next_due_at.is_some_and(|due| due - soon < TimeDelta::minutes(1)))
        {
            return Ok(made.workflow_id);
        }
        client.workflow_act(made.workflow_id, WorkflowAction::Archive).await?;
    }
    Err(Sentence::from("no workflow could be made within a minute").into())
}

async fn any_delivery(client: &Client, state: &str) -> bool {
    persist(async || client.delivery_list(Some(state), None, 1).await).await.is_ok_and(|page| !page.items.is_empty())
}

pub(super) async fn until(what: &'static str, mut holds: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        if tokio::time::Instant::now() > deadline {
            return Err(say!("it did not happen within {} s that {}", PATIENCE.as_secs(), what).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
