//! Renders what sessions said: every cursor that is behind is brought up to the end of its session's last turn, and
//! each turn on the way becomes one delivery.
//!
//! A reconciler: it takes no input but the database, may stop anywhere, and may run beside others. Those may read the
//! same turn; the cursor's old place, compared when it is moved, lets one of them write.
//!
//! A turn that waits for a person is told with an interaction: what somebody in the thread can decide by a token.
//!
//! Not here: what a turn looks like (`domain::channel::Renderer`), how cursors are moved (`store::cursor`).

use std::borrow::Cow;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use clock::Timestamp;
use domain::channel::{Asks, Message, Renderer};
use domain::event::Event;
use futures::StreamExt;
use ids::InteractionId;
use secrets::interaction_token_hash;
use serde_json::Value;
use store::{BehindCursor, NewDelivery, NewInteraction, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{ChannelSecret, Parts, chain};

/// Cursors of one round.
const CURSORS: i64 = 64;
/// Of these, rendered at the same time.
const AT_ONCE: usize = 4;
/// Events of one read.
const EVENTS: i64 = 1_000;
/// A cursor that has come so far in one transaction goes on in the next round.
const DELIVERIES: usize = 100;
/// How long a cursor that can't be rendered is left alone.
const POSTPONED: TimeDelta = TimeDelta::seconds(10);

/// Renders until `shutdown`; tells `rendered` when there is something to send.
pub(crate) async fn run(parts: &Parts, poll: Duration, rendered: &Notify, shutdown: &CancellationToken) {
    let mut behind = parts.store.wakes().cursor();
    while !shutdown.is_cancelled() {
        let busy = match round(parts).await {
            Ok(cursors) => cursors > 0,
            Err(error) => {
                tracing::warn!(error = chain(&error), "cursors can't be looked at");
                false
            }
        };
        if busy {
            rendered.notify_one();
            continue;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = behind.woken() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
}

/// Gives back how many cursors were behind.
async fn round(parts: &Parts) -> Result<usize, StoreError> {
    let cursors = parts.store.cursor_behind(CURSORS).await?;
    let count = cursors.len();
    futures::stream::iter(cursors).for_each_concurrent(AT_ONCE, |cursor| bring_up(parts, cursor)).await;
    Ok(count)
}

async fn bring_up(parts: &Parts, cursor: BehindCursor) {
    if let Err(error) = render(parts, &cursor).await {
        tracing::warn!(binding.id = %cursor.binding_id, error = chain(&error), "a thread can't be rendered");
        if let Err(error) = parts.store.cursor_postpone(&cursor, POSTPONED).await {
            tracing::warn!(binding.id = %cursor.binding_id, error = chain(&error), "a cursor can't be postponed");
        }
    }
}

async fn render(parts: &Parts, cursor: &BehindCursor) -> Result<(), StoreError> {
    let store = &parts.store;
    let mut renderer = Renderer::default();
    let mut deliveries = Vec::new();
    let (mut read, mut to) = (cursor.sequence, cursor.sequence);
    loop {
        let events = store.events_after(cursor.org, cursor.session_id, read, EVENTS).await?;
        for recorded in &events {
            deliveries.extend(renderer.apply(recorded).map(|message| delivery(parts, cursor, &message)));
            read = recorded.sequence;
            if matches!(recorded.event, Event::TurnEnded { .. }) {
                to = read;
            }
        }
        if i64::try_from(events.len()).is_ok_and(|count| count < EVENTS) || deliveries.len() >= DELIVERIES {
            break;
        }
    }
    store.cursor_advance(cursor, to, &deliveries).await?;
    Ok(())
}

/// What is posted, the same at every attempt: the whole of it, but for the token of a question, which the sender computes.
fn delivery(parts: &Parts, cursor: &BehindCursor, message: &Message) -> NewDelivery {
    let interaction = message.asks.as_ref().map(|asks| interaction(parts, asks));
    let mut payload = serde_json::json!({
        "type": "session.message",
        "timestamp": written(message.at),
        "data": {
            "thread": cursor.thread,
            "session_id": cursor.session_id,
            "sequence": message.sequence,
            "text": message.text,
        },
    });
    if let Some(new) = &interaction {
        payload["data"]["interaction"] = serde_json::json!({
            "interaction_id": new.interaction,
            "kind": new.kind,
            "expires_at": written(new.expires_at),
        });
    }
    NewDelivery { command: message.command, sequence: message.sequence, payload, interaction }
}

fn interaction(parts: &Parts, asks: &Asks) -> NewInteraction {
    let sources = parts.store.sources();
    let interaction: InteractionId = sources.id();
    NewInteraction {
        interaction,
        request_id: asks.request_id.clone(),
        kind: asks.kind,
        token_hash: interaction_token_hash(&parts.channel_secret.of_interaction(interaction)),
        expires_at: NewInteraction::expiry(sources.now()),
        generation: parts.generation.generation,
    }
}

/// What leaves: a question's token is in it, which no row holds.
pub(crate) fn with_token<'a>(secret: &ChannelSecret, payload: &'a Value) -> Cow<'a, Value> {
    let interaction = payload.pointer("/data/interaction/interaction_id").and_then(Value::as_str);
    let Some(Ok(interaction)) = interaction.map(str::parse) else { return Cow::Borrowed(payload) };
    let mut payload = payload.clone();
    payload["data"]["interaction"]["token"] = secret.of_interaction(interaction).into();
    Cow::Owned(payload)
}

fn written(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use secrets::SecretBytes;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_in_what_leaves_and_not_in_what_is_stored() {
        let secret = ChannelSecret::new("1", SecretBytes::new(vec![7; 32]));
        let interaction: InteractionId = uuid::Uuid::from_u128(1).into();
        let stored = json!({"data": {"text": "may I?", "interaction": {"interaction_id": interaction}}});
        let sent = with_token(&secret, &stored).into_owned();
        let token = sent["data"]["interaction"]["token"].as_str().unwrap();
        assert!(token.starts_with("cwi_") && !stored.to_string().contains(token));
        assert_eq!(with_token(&secret, &stored).into_owned(), sent, "the same at every attempt");
        let plain = json!({"data": {"text": "done"}});
        assert_eq!(*with_token(&secret, &plain), plain);
    }
}
