//! What happens in the source system: people talk to agents, approve, refuse and abort; workflows fire; messages come
//! in and go out, and some of them die.
//!
//! A world is repeated by its seed, as far as its content goes; how its roles race is not.
//!
//! Not here: the processes (`world`); what is done in sessions, over channels and with workflows, which have a file each below.

mod chats;
pub(crate) mod files;
mod messages;
mod sessions;
mod workflows;

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use client::{Client, Policy, WorkflowAction};
use clock::{Sources, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _};
use ids::{OrgId, WorkflowId};
use redact::CanaryClass;
use secrecy::ExposeSecret as _;

use self::chats::{Admitted, Changed, Told};
use self::messages::Channels;
use self::workflows::Workflows;
use super::canaries::{Canaries, Planted};
use super::kept::{Beginning, Kept, Open, Rotated, Steered};
use super::later::{Later, Standing};
use super::people::People;
use super::{Acknowledged, Call, Called, Held, Inbound, KnownChannel, Size, Smoke};
use crate::api::{self, persist};
use crate::said::say;
use crate::sink::Sink;

/// How long one thing that is bound to happen may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// People at work at the same time.
const CONCURRENCY: usize = 16;

/// Where the source's roles are.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    pub(crate) web: String,
    pub(crate) gateway: String,
    /// From whom files of a commit can be fetched. `None`: from nobody.
    pub(crate) repository: Option<String>,
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
    kept: OnceLock<(Open, Vec<Beginning>, Steered)>,
    admitted: OnceLock<Admitted>,
    told: OnceLock<Told>,
    changed: OnceLock<Changed>,
    planted: Planted,
    size: Size,
    sources: Sources,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    acknowledged: Vec<Acknowledged>,
    inbound: Vec<Inbound>,
    calls: Vec<Call>,
    /// Of the triggers whose secrets are rotated, before the backup.
    rotated: Option<[Call; 2]>,
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
    /// As above.
    pub(crate) kept: Option<Kept>,
    /// As above.
    pub(crate) people: Option<People>,
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
        let channels = Channels::open(&operator.in_org(home), home, sink, planted, canaries).await?;
        let workflows = Workflows::plan(&operator.in_org(home), home, sources, canaries).await?;
        Ok(Self {
            operator,
            orgs,
            urls,
            channels,
            workflows,
            later: OnceLock::new(),
            kept: OnceLock::new(),
            admitted: OnceLock::new(),
            told: OnceLock::new(),
            changed: OnceLock::new(),
            planted: planted.clone(),
            size,
            sources: sources.clone(),
            memory: Mutex::default(),
        })
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
                self.open_questions(),
                self.terms()
            )?;
            self.threads().await?;
            self.admit().await
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

    /// What is set otherwise after the backup, and what waits.
    async fn terms(&self) -> anyhow::Result<()> {
        let (_, client) = self.client(0);
        let policy = policy();
        let (open, begins, steered, ()) = tokio::try_join!(
            Open::prepare(&client, &policy, &self.planted),
            self.begun_with_files(),
            self.steering(),
            self.close(&self.channels.closed[0])
        )?;
        self.kept.set((open, begins, steered)).map_err(|_| anyhow!("`populate` has run before"))
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
        let Workflows { overlapping, to_rotate, .. } = &self.workflows;
        let (_, one, other) = tokio::try_join!(
            self.call("before"),
            self.call_of(&overlapping.0, "before"),
            self.call_of(&to_rotate.known, "before")
        )?;
        self.memory().rotated = Some([one, other]);
        self.decide_by_chat(sink).await
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
        let change = async {
            let Some((open, begins, _)) = self.kept.get() else { return Ok(()) };
            open.change(&home, &self.workflows.to_rotate).await?;
            self.close(&self.channels.closed[1]).await?;
            // In the backup these sessions have done nothing yet.
            for Beginning { session, file: (file, _) } in begins {
                self.prompt(&home, *session, &format!("read {file}")).await?;
            }
            Ok(())
        };
        tokio::try_join!(messages, resume, decide, change, self.change_chat(), self.call("after"))?;
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
        let kept = self.kept.get().map(|(open, begins, steered)| {
            let Workflows { overlapping: (trigger, older), to_rotate, .. } = &self.workflows;
            let (before, after) = memory.rotated.map(|[before, after]| (before, after)).unzip();
            let before = before.map(|call| Rotated { trigger: trigger.clone(), older: older.clone(), call });
            let after = after.map(|call| (to_rotate.known.clone(), call));
            open.kept(self.orgs[0], before, after, (begins.clone(), steered.clone()), self.channels.closed.clone())
        });
        Known {
            acknowledged: memory.acknowledged,
            inbound: memory.inbound,
            inbound_channel: self.channels.accept.clone(),
            called: Called { trigger: self.workflows.called.clone(), calls: memory.calls },
            smoke: memory.smoke.expect("`populate` has run"),
            held: self.workflows.held.clone(),
            standing: self.later.get().map(Later::standing),
            kept,
            people: self.people(),
        }
    }
}

/// What an org allows: nothing that the life, or a judge of what is restored, does is against it.
fn policy() -> Policy {
    let (agents, domains) =
        (vec!["scripted".to_owned()], vec!["people.invalid".to_owned(), "*.people.invalid".to_owned()]);
    Policy { agents: Some(agents), member_domains: Some(domains), ..Policy::default() }
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
