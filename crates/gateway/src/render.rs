//! Renders what sessions said: every cursor that is behind is brought up to the end of its session's last turn, and
//! each turn on the way becomes one delivery.
//!
//! A reconciler: it takes no input but the database, may stop anywhere, and may run beside others. Those may read the
//! same turn; the cursor's old place, compared when it is moved, lets one of them write.
//!
//! Not here: what a turn looks like (`domain::channel::Renderer`), how cursors are moved (`store::cursor`).

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use domain::channel::{Message, Renderer};
use domain::event::Event;
use futures::StreamExt;
use store::{BehindCursor, NewDelivery, Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::chain;

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
pub(crate) async fn run(store: &Store, poll: Duration, rendered: &Notify, shutdown: &CancellationToken) {
    let mut behind = store.wakes().cursor();
    while !shutdown.is_cancelled() {
        let busy = match round(store).await {
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
async fn round(store: &Store) -> Result<usize, StoreError> {
    let cursors = store.cursor_behind(CURSORS).await?;
    let count = cursors.len();
    futures::stream::iter(cursors).for_each_concurrent(AT_ONCE, |cursor| bring_up(store, cursor)).await;
    Ok(count)
}

async fn bring_up(store: &Store, cursor: BehindCursor) {
    if let Err(error) = render(store, &cursor).await {
        tracing::warn!(binding.id = %cursor.binding_id, error = chain(&error), "a thread can't be rendered");
        if let Err(error) = store.cursor_postpone(&cursor, POSTPONED).await {
            tracing::warn!(binding.id = %cursor.binding_id, error = chain(&error), "a cursor can't be postponed");
        }
    }
}

async fn render(store: &Store, cursor: &BehindCursor) -> Result<(), StoreError> {
    let mut renderer = Renderer::default();
    let mut deliveries = Vec::new();
    let (mut read, mut to) = (cursor.sequence, cursor.sequence);
    loop {
        let events = store.events_after(cursor.org, cursor.session_id, read, EVENTS).await?;
        for recorded in &events {
            deliveries.extend(renderer.apply(recorded).map(|message| delivery(cursor, &message)));
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

/// The whole of what is posted, so that it is the same at every attempt.
fn delivery(cursor: &BehindCursor, message: &Message) -> NewDelivery {
    let payload = serde_json::json!({
        "type": "session.message",
        "timestamp": message.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "data": {
            "thread": cursor.thread,
            "session_id": cursor.session_id,
            "sequence": message.sequence,
            "text": message.text,
        },
    });
    NewDelivery { command: message.command, sequence: message.sequence, payload }
}
