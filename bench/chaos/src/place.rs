//! What there is to use before anything goes wrong: sessions, threads on destinations of both kinds, workflows, and one of
//! everything that a drill wants to see.
//!
//! Not here: using it (`people`).

use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use client::{Channel, Client, NewTrigger, NewWorkflow, Wish};
use clock::Sources;
use e2e::{Facts, MEMORY};
use ids::{ChannelId, SessionId, WorkflowId};
use secrecy::SecretString;

use crate::people::inbound;
use crate::sink::Sink;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/";
/// How long a system that nothing happens to may take to do one thing.
const LIMIT: Duration = Duration::from_secs(60);

/// Where messages come in.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) channel: ChannelId,
    pub(crate) signing_secret: SecretString,
}

#[derive(Debug)]
pub(crate) struct Place {
    /// Sessions that people ask in. Most are bound to a thread, on a destination of either kind.
    pub(crate) busy: Vec<SessionId>,
    /// Sessions in which something has to be approved, one for each who decides.
    pub(crate) deciding: Vec<SessionId>,
    /// Where files are sent to.
    pub(crate) files: SessionId,
    pub(crate) doors: Vec<Door>,
    pub(crate) workflows: Vec<WorkflowId>,
    /// For the plan of the drill.
    pub(crate) facts: Facts,
}

pub(crate) async fn settle(operator: &Client, gateway: &str, sink: &Sink, sources: &Sources) -> anyhow::Result<Place> {
    until("the web role answers", async || Ok(operator.workspace().await.is_ok())).await?;
    let org = operator.workspace().await?.org.org_id;
    operator.member_create("bob@example.org", "Bob", "member").await?;
    operator.byok_key_create("openai", "team key", "sk-0123456789abcdefghijklmnop").await?;
    let keyed = operator.channel_create("keyed", &sink.keyed()).await?;
    let plain = operator.channel_create_without_deduplication("plain", &sink.plain()).await?;
    let doors = vec![door(&keyed)?, door(&plain)?];
    let busy = sessions(operator, "busy", 8).await?;
    for (number, session) in busy[..6].iter().enumerate() {
        let channel = if number % 2 == 0 { keyed.channel_id } else { plain.channel_id };
        operator.binding_create(channel, &format!("thread {number}"), *session).await?;
    }
    let deciding = sessions(operator, "deciding", 2).await?;
    let [files] = sessions(operator, "files", 1).await?[..] else { anyhow::bail!("one session was asked for") };
    let facts = Facts {
        org,
        session: remembering(operator).await?,
        held: workflow(operator, sources, "held hourly", "say held", Kind::Held).await?,
        channel: doors[0].channel,
        signing_secret: doors[0].signing_secret.clone(),
        repeated: repeated(operator, gateway, &doors[0], sources).await?,
    };
    // So that both destinations have taken something however short a run is.
    repeated(operator, gateway, &doors[1], sources).await?;
    set_aside(operator).await?;
    let workflows = vec![
        workflow(operator, sources, "all of them", "say tick", Kind::Every(1, "run_all", "allow")).await?,
        workflow(operator, sources, "one at a time", "sleep 1500\nsay tock", Kind::Every(1, "skip", "skip")).await?,
        workflow(operator, sources, "the newest", "say tack", Kind::Every(3, "run_once", "allow")).await?,
    ];
    Ok(Place { busy, deciding, files, doors, workflows, facts })
}

fn door(channel: &Channel) -> anyhow::Result<Door> {
    let signing_secret = channel.signing_secret.clone().context("a new channel tells its secret")?;
    Ok(Door { channel: channel.channel_id, signing_secret })
}

async fn sessions(operator: &Client, title: &str, count: usize) -> anyhow::Result<Vec<SessionId>> {
    let mut made = Vec::with_capacity(count);
    for number in 0..count {
        made.push(operator.session_create(&format!("{title} {number}"), "scripted").await?.session_id);
    }
    Ok(made)
}

/// A session whose workspace has a file that nobody touches any more.
async fn remembering(operator: &Client) -> anyhow::Result<SessionId> {
    let [session] = sessions(operator, "a long memory", 1).await?[..] else { anyhow::bail!("one was asked for") };
    let text = format!("note {} {}\nwrite summary.md 2048", MEMORY.0, MEMORY.1);
    let asked = operator.command_submit(session, "remember", &Wish::Prompt { text }).await?.command_id;
    until("the prompt is carried out", async || Ok(operator.command_get(session, asked).await?.state == "done"))
        .await?;
    Ok(session)
}

/// The message that the drill sends once more.
async fn repeated(operator: &Client, gateway: &str, door: &Door, sources: &Sources) -> anyhow::Result<ids::CommandId> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let request = inbound::request(&http, gateway, door, "evt-1", "general", "say hello", sources)?;
    let answer: serde_json::Value = request.send().await?.error_for_status()?.json().await?;
    let command = serde_json::from_value(answer["command_id"].clone())?;
    until("the message is answered", async || {
        Ok(!operator.delivery_list(Some("sent"), None, 1).await?.items.is_empty())
    })
    .await?;
    Ok(command)
}

/// A delivery that can't be made, and that an operator has set aside.
async fn set_aside(operator: &Client) -> anyhow::Result<()> {
    let channel = operator.channel_create("away", NOWHERE).await?.channel_id;
    let [session] = sessions(operator, "nobody listens", 1).await?[..] else { anyhow::bail!("one was asked for") };
    operator.binding_create(channel, "away", session).await?;
    let wish = Wish::Prompt { text: "say is anybody there".to_owned() };
    operator.command_submit(session, "away", &wish).await?;
    until("a delivery is set aside", async || {
        let waiting = operator.delivery_list(Some("pending"), None, 200).await?.items;
        for delivery in waiting.iter().filter(|delivery| delivery.channel_id == channel) {
            // One that is being sent at this moment is refused, and comes again.
            let _ = operator.delivery_dead_letter(delivery.delivery_id).await;
        }
        Ok(!operator.delivery_list(Some("dead"), None, 1).await?.items.is_empty())
    })
    .await
}

enum Kind {
    /// Paused; a drill resumes it.
    Held,
    /// Seconds, what becomes of missed slots and of those that overlap.
    Every(i64, &'static str, &'static str),
}

async fn workflow(
    operator: &Client,
    sources: &Sources,
    name: &str,
    prompt: &str,
    kind: Kind,
) -> anyhow::Result<WorkflowId> {
    let anchor_at = Some(sources.now() + TimeDelta::seconds(1));
    let (state, missed, overlap, every_s) = match kind {
        Kind::Held => ("paused", "run_once", "allow", 3_600),
        Kind::Every(every_s, missed, overlap) => ("active", missed, overlap, every_s),
    };
    let workflow = NewWorkflow {
        name: name.to_owned(),
        agent: None,
        prompt: prompt.to_owned(),
        missed_policy: Some(missed.to_owned()),
        missed_window_s: Some(3_600),
        overlap_policy: Some(overlap.to_owned()),
        state: Some(state.to_owned()),
        triggers: vec![NewTrigger::Interval { every_s, anchor_at }],
    };
    Ok(operator.workflow_create(&workflow).await?.workflow_id)
}

pub(crate) async fn until(what: &str, reached: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    ensure!(within(LIMIT, reached).await?, "waited {LIMIT:?} in vain: {what}");
    Ok(())
}

/// Asks until it is reached; `false` if it is not in time.
pub(crate) async fn within(
    limit: Duration,
    mut reached: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    let start = tokio::time::Instant::now();
    while !reached().await? {
        if start.elapsed() > limit {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(true)
}
