//! Scenes about people in chats.
//!
//! Not here: what a restore has to know of them (`rehearsal::people`).

use anyhow::Context as _;
use client::{ChannelIdentityChange, Client};

use super::super::{Awake, PATIENCE};
use crate::api;
use crate::checks::eventually;
use crate::inbound::{Message, Words};

/// Each in a thread of its own; every other one has an agent ask something.
const PEOPLE: usize = 9;

/// People write. Some of them are admitted, some disabled, and of some nobody says anything.
pub(super) async fn people(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    let had = questions(&client).await?;
    for number in 0..PEOPLE {
        let (person, thread) = (format!("person-{number}"), format!("people-{number}"));
        let words = if asks(number) { "approve the plan\nsay done" } else { "say good morning" };
        let message = Message { thread: &thread, sender: Some(&person), words: Words::Text(words) };
        awake.say(&format!("msg_people_{number}"), &message).await?;
    }
    let asked = (0..PEOPLE).filter(|number| asks(*number)).count();
    let told = eventually(PATIENCE, async || {
        let told = questions(&client).await.ok()?;
        (told == had + asked).then_some(())
    });
    told.await.context("threads are never told of questions")?;
    let known = api::channel_identities(&client).await?;
    let known = known.iter().filter(|known| known.external_id.starts_with("person-"));
    for (known, state) in known.zip([None, Some("active"), Some("disabled")].into_iter().cycle()) {
        let Some(state) = state else { continue };
        let change =
            ChannelIdentityChange { account_id: None, may_prompt: true, may_decide: false, state: state.to_owned() };
        client.channel_identity_change(known.channel_identity_id, &change, None).await?;
    }
    Ok(())
}

fn asks(number: usize) -> bool {
    number.is_multiple_of(2)
}

/// How many threads of sessions that wait for a person were told of it.
async fn questions(client: &Client) -> Result<usize, client::Error> {
    let mut told = 0;
    for session in api::sessions(client).await? {
        if session.state.as_deref() == Some("awaiting_approval") {
            told += client.interaction_list(session.session_id, None, 200).await?.items.len();
        }
    }
    Ok(told)
}
