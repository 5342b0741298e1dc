//! Scenes about what orgs are held to, what sessions begin with, and what is said to agents at work.
//!
//! Not here: what a restore has to bring back otherwise (`rehearsal::kept`).

use anyhow::Context as _;
use chrono::TimeDelta;
use client::{Client, WhileRunning, Wish};
use ids::{CommandId, SessionId};

use super::super::{Awake, PATIENCE};
use crate::checks::eventually;
use crate::rehearsal::files;
use crate::settings::PLANS;

/// An org for each state, and one whose paid time lies ahead.
pub(super) async fn subscriptions(awake: &Awake<'_>) -> anyhow::Result<()> {
    let ahead = Some(awake.sources.now() + TimeDelta::days(7));
    for (number, (state, ends_at)) in
        [("active", None), ("past_due", None), ("cancelled", ahead), ("cancelled", None)].into_iter().enumerate()
    {
        let org = awake.operator.org_create(&format!("Subscriber {number}")).await?.org_id;
        let client = awake.operator.in_org(org);
        let session = client.session_create("Until it ends", "scripted").await?.session_id;
        awake.submit(&client, session, Wish::Prompt { text: "say not begun".to_owned() }).await?;
        client.subscription_put(PLANS[number % PLANS.len()], state, ends_at, None).await?;
    }
    Ok(())
}

/// One that has read them and whose source is gone since, one that has, and three that have done nothing.
pub(super) async fn begun_with_files(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    let read = format!("read {}", files::README.0);
    for last in [true, false] {
        let source = files::upload(&client).await?;
        let session = client.session_create_from("With files", "scripted", source).await?.session_id;
        awake.prompt(&client, session, &read).await?;
        if last {
            client.project_source_delete(source).await?;
            continue;
        }
        for number in 0..3 {
            client.session_create_from(&format!("With files, later {number}"), "scripted", source).await?;
        }
    }
    Ok(())
}

pub(super) async fn steered(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    let session = client.session_create("Steered", "scripted").await?.session_id;
    awake.submit(&client, session, Wish::Prompt { text: "sleep 5000".to_owned() }).await?;
    awake.until(&client, session, |view| view.session.last_sequence > 1).await?;
    let heard = steer(awake, &client, session, "say heard").await?;
    ended(&client, session, heard).await?;
    let waiting = client.session_create("Steered, later", "scripted").await?.session_id;
    awake.submit(&client, waiting, Wish::Prompt { text: "approve it\nsay so".to_owned() }).await?;
    awake.until(&client, waiting, |view| view.session.state.as_deref() == Some("awaiting_approval")).await?;
    for number in 0..3 {
        steer(awake, &client, waiting, &format!("say word {number}")).await?;
    }
    let idle = client.session_create("Steered by nobody", "scripted").await?.session_id;
    let alone = steer(awake, &client, idle, "say by itself").await?;
    ended(&client, idle, alone).await
}

async fn steer(awake: &Awake<'_>, client: &Client, session: SessionId, text: &str) -> anyhow::Result<CommandId> {
    let key = hex::encode(awake.sources.bytes::<12>());
    Ok(client.prompt_submit(session, &key, text, WhileRunning::Steer).await?.command_id)
}

async fn ended(client: &Client, session: SessionId, command: CommandId) -> anyhow::Result<()> {
    let done = eventually(PATIENCE, async || {
        let command = client.command_get(session, command).await.ok()?;
        (command.state != "pending").then_some(())
    });
    done.await.context("what steers is never heard")
}
