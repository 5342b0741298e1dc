//! Row 9, gateway recovery: the sink outside the system knows what was sent before; what the backup knew as sent does
//! not go out again, what it knew as pending does, in order; a new message is answered once; an event that was
//! accepted before is not taken twice; retry and dead letter work.
//!
//! What was sent between the backup and the disaster is in neither class: the rows have forgotten it. It goes out again
//! under the same `webhook-id`, so that a receiver which deduplicates takes it once. The report counts it.
//!
//! Not here: a recovery ledger, which would remember it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use client::Client;
use clock::{Sources, Timestamp};
use ids::{BindingId, DeliveryId};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{Inquiry, eventually};
use crate::api;
use crate::backup::Backup;
use crate::inbound;
use crate::rehearsal::{Inbound, KnownChannel};
use crate::report::Code;
use crate::rigging::Pace;
use crate::sink::{Received, Sink};

const HELD_THREAD: &str = "drill-held";
const SMOKE_THREAD: &str = "drill-smoke";

/// A line of the probe `deliveries`.
#[derive(Debug, Deserialize)]
pub(crate) struct DeliveryRow {
    delivery_id: DeliveryId,
    binding_id: BindingId,
    state: String,
}

/// What the drill holds against the gateway.
#[derive(Debug)]
pub(crate) struct Expectations<'a> {
    pub(crate) sink: &'a Sink,
    /// What had arrived before the disaster.
    pub(crate) mark: usize,
    /// `None`: no message can be sent into the system.
    pub(crate) channel: Option<&'a KnownChannel>,
    /// Whether the sink was there before the disaster, and so knows what had been sent.
    pub(crate) witness: bool,
    pub(crate) inbound: &'a [Inbound],
    pub(crate) gateway_url: String,
    pub(crate) snapshot_at: Timestamp,
}

/// Deliveries that the lost system sent after the backup, and that went out again.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Forgotten {
    pub(crate) repeated: usize,
}

/// Talks to the gateway as senders, receivers and operators do. Gives back the deliveries that the backup had.
pub(crate) async fn ask(
    inquiry: &mut Inquiry,
    backup: &Backup,
    operator: &Client,
    expectations: &Expectations<'_>,
    sources: &Sources,
) -> Option<Vec<DeliveryRow>> {
    let rows = inquiry.learn::<Vec<DeliveryRow>>("the backup's deliveries", backup.probe("deliveries"))?;
    let Some(channel) = expectations.channel else {
        inquiry.could_not("the gateway could not be asked", "no channel is known that takes a message");
        return Some(rows);
    };
    let client = operator.in_org(channel.org);
    judge_smoke(inquiry, expectations, sources).await;
    judge_repeat(inquiry, expectations, sources).await;
    judge_retry(inquiry, &client, &rows, expectations).await;
    judge_dead_letter(inquiry, &client, expectations, sources).await;
    Some(rows)
}

/// Waits until what was pending has arrived and nothing more does, and judges the sink's record.
pub(crate) async fn settle(inquiry: &mut Inquiry, rows: &[DeliveryRow], expectations: &Expectations<'_>) -> Forgotten {
    wait_for_pending(rows, expectations, inquiry.pace()).await;
    wait_until_settled(expectations.sink, inquiry.pace()).await;
    judge_sent(inquiry, rows, expectations)
}

/// A new message gets one answer.
async fn judge_smoke(inquiry: &mut Inquiry, expectations: &Expectations<'_>, sources: &Sources) {
    let text = "say back again";
    let sent = post(expectations, "drill-smoke", SMOKE_THREAD, text, sources).await;
    if inquiry.learn("a new message to the gateway", sent).is_none() {
        return;
    }
    let answered = eventually(inquiry.pace().patience, async || {
        let answers = in_thread(expectations, SMOKE_THREAD);
        answers.iter().any(|received| received.accepted && received.text.contains("back again")).then_some(())
    });
    let answered = answered.await.is_some();
    inquiry.expect(answered, Code::SmokeUnanswered, || "a new message to the gateway was not answered".to_owned());
    let signed = in_thread(expectations, SMOKE_THREAD).iter().all(|received| received.signed == Some(true));
    inquiry.expect(signed, Code::Signature, || {
        "a delivery is not signed as its receiver expects: the channel secret is not the one of before".to_owned()
    });
}

/// An event that was accepted before the backup is a duplicate, and makes no new command.
async fn judge_repeat(inquiry: &mut Inquiry, expectations: &Expectations<'_>, sources: &Sources) {
    let earlier = expectations.inbound.iter().find(|inbound| inbound.at < expectations.snapshot_at);
    let Some(earlier) = earlier else {
        return inquiry.could_not("no message was accepted before the backup", "there is nothing to repeat");
    };
    let answer = post(expectations, &earlier.event_id, &earlier.thread, &earlier.text, sources).await;
    if let Some(answer) = inquiry.learn("a repeated message to the gateway", answer) {
        let same = answer.duplicate && answer.command_id == earlier.command;
        inquiry.expect(same, Code::InboundTakenTwice, || {
            format!("the message {} was accepted before the backup and is taken again", earlier.event_id)
        });
    }
}

/// An operator retries a dead letter.
async fn judge_retry(inquiry: &mut Inquiry, client: &Client, rows: &[DeliveryRow], expectations: &Expectations<'_>) {
    let Some(dead) = rows.iter().find(|row| row.state == "dead") else {
        return inquiry.could_not("retry", "the backup has no dead letter to retry");
    };
    if inquiry.learn("retrying a dead letter", client.delivery_retry(dead.delivery_id).await).is_none() {
        return;
    }
    let id = Uuid::from(dead.delivery_id);
    let arrived = eventually(inquiry.pace().patience, async || {
        let since = expectations.sink.since(expectations.mark);
        since.iter().any(|received| received.delivery == id && received.accepted).then_some(())
    });
    let arrived = arrived.await.is_some();
    inquiry.expect(arrived, Code::Retry, || format!("the dead letter {id} was retried and did not arrive"));
}

/// A delivery whose receiver asks to wait is set aside by an operator, and is not tried again.
async fn judge_dead_letter(inquiry: &mut Inquiry, client: &Client, expectations: &Expectations<'_>, sources: &Sources) {
    expectations.sink.hold(HELD_THREAD);
    let sent = post(expectations, "drill-held", HELD_THREAD, "say hold on", sources).await;
    if inquiry.learn("a message to a thread that is held", sent).is_none() {
        return;
    }
    let held =
        eventually(inquiry.pace().patience, async || Some(in_thread(expectations, HELD_THREAD).first()?.delivery))
            .await;
    let Some(held) = held else {
        return inquiry.could_not("dead letter", "the delivery that was to be set aside was never tried");
    };
    let pending = eventually(inquiry.pace().patience, async || {
        let pending = api::deliveries(client, Some("pending")).await.ok()?;
        pending.into_iter().find(|delivery| Uuid::from(delivery.delivery_id) == held && delivery.attempt > 0)
    });
    if pending.await.is_none() {
        return inquiry.could_not("dead letter", "the delivery that was to be set aside is not pending");
    }
    // It may just be tried again at this moment.
    let set_aside = eventually(inquiry.pace().patience, async || client.delivery_dead_letter(held.into()).await.ok());
    let set_aside = set_aside.await.ok_or_else(|| anyhow::anyhow!("the operator's word was never taken"));
    if inquiry.learn("setting a delivery aside", set_aside).is_some() {
        let dead = api::deliveries(client, Some("dead")).await.unwrap_or_default();
        let dead = dead.iter().any(|delivery| Uuid::from(delivery.delivery_id) == held);
        inquiry
            .expect(dead, Code::DeadLetter, || format!("the delivery {held} was set aside and is not a dead letter"));
    }
}

/// Waits for what the backup knew as pending; what does not come is judged as lost.
async fn wait_for_pending(rows: &[DeliveryRow], expectations: &Expectations<'_>, pace: Pace) {
    let pending: HashSet<Uuid> =
        rows.iter().filter(|row| row.state == "pending").map(|row| row.delivery_id.into()).collect();
    eventually(pace.patience, async || {
        let since = expectations.sink.since(expectations.mark);
        let arrived: HashSet<Uuid> = since.iter().filter(|one| one.accepted).map(|one| one.delivery).collect();
        pending.is_subset(&arrived).then_some(())
    })
    .await;
}

/// Waits until nothing has arrived for a while.
async fn wait_until_settled(sink: &Sink, pace: Pace) {
    eventually(pace.patience, async || {
        let before = sink.mark();
        tokio::time::sleep(pace.settled).await;
        (sink.mark() == before).then_some(())
    })
    .await;
}

fn judge_sent(inquiry: &mut Inquiry, rows: &[DeliveryRow], expectations: &Expectations<'_>) -> Forgotten {
    let earlier = &expectations.sink.since(0)[..expectations.mark];
    let now = expectations.sink.since(expectations.mark);
    let accepted_before: HashSet<Uuid> = earlier.iter().filter(|one| one.accepted).map(|one| one.delivery).collect();
    let mut accepted_now: BTreeMap<Uuid, usize> = BTreeMap::new();
    for one in now.iter().filter(|one| one.accepted) {
        *accepted_now.entry(one.delivery).or_default() += 1;
    }
    let by_id: HashMap<Uuid, &DeliveryRow> = rows.iter().map(|row| (row.delivery_id.into(), row)).collect();
    let mut forgotten = Forgotten::default();
    for (id, times) in &accepted_now {
        inquiry.expect(*times == 1, Code::DeliveryDuplicated, || format!("the delivery {id} arrived {times} times"));
        let known_sent = by_id.get(id).is_some_and(|row| row.state == "sent");
        inquiry.expect(!known_sent, Code::DeliverySentAgain, || {
            format!("the delivery {id} was sent before the backup, and went out again")
        });
        forgotten.repeated += usize::from(!known_sent && accepted_before.contains(id));
    }
    for row in rows {
        judge_row(inquiry, row, expectations.witness.then_some(&accepted_before), &accepted_now);
    }
    judge_order(inquiry, rows, &now);
    let redirected = now.iter().filter(|one| one.redirected).count();
    inquiry.expect(redirected == now.len(), Code::ReachedDestination, || {
        format!("{} deliveries of the copy were not redirected", now.len() - redirected)
    });
    inquiry.record(
        "sink",
        &json!({"accepted_before_disaster": accepted_before.len(), "accepted_from_target": accepted_now.len(),
            "requests_from_target": now.len(), "repeated_from_recovery_window": forgotten.repeated,
            "in_backup": count_states(rows)}),
    );
    forgotten
}

/// Nothing that the backup had is lost: what it knew as sent had arrived, what it knew as pending arrives now.
fn judge_row(
    inquiry: &mut Inquiry,
    row: &DeliveryRow,
    accepted_before: Option<&HashSet<Uuid>>,
    accepted_now: &BTreeMap<Uuid, usize>,
) {
    let id = Uuid::from(row.delivery_id);
    match row.state.as_str() {
        "sent" => inquiry.expect(
            accepted_before.is_none_or(|before| before.contains(&id)),
            Code::DeliveryNeverArrived,
            || format!("the backup knows the delivery {id} as sent, but it never arrived"),
        ),
        "pending" => inquiry.expect(accepted_now.contains_key(&id), Code::DeliveryLost, || {
            format!("the delivery {id} was pending in the backup and did not arrive after the restore")
        }),
        _ => true,
    };
}

/// Within a thread, sequences only grow.
fn judge_order(inquiry: &mut Inquiry, rows: &[DeliveryRow], now: &[Received]) {
    let bindings: HashMap<Uuid, BindingId> = rows.iter().map(|row| (row.delivery_id.into(), row.binding_id)).collect();
    let dead: BTreeSet<Uuid> =
        rows.iter().filter(|row| row.state == "dead").map(|row| row.delivery_id.into()).collect();
    let mut last: HashMap<(String, Option<BindingId>), i64> = HashMap::new();
    for one in now.iter().filter(|one| one.accepted && !dead.contains(&one.delivery)) {
        let key = (one.thread.clone(), bindings.get(&one.delivery).copied());
        let before = last.insert(key, one.sequence).unwrap_or(0);
        inquiry.expect(one.sequence > before, Code::OutOfOrder, || {
            format!("in thread {} the delivery of event {} came after that of event {before}", one.thread, one.sequence)
        });
    }
}

fn count_states(rows: &[DeliveryRow]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row.state.as_str()).or_default() += 1;
    }
    counts
}

fn in_thread(expectations: &Expectations<'_>, thread: &str) -> Vec<Received> {
    expectations.sink.since(expectations.mark).into_iter().filter(|received| received.thread == thread).collect()
}

async fn post(
    expectations: &Expectations<'_>,
    event_id: &str,
    thread: &str,
    text: &str,
    sources: &Sources,
) -> Result<inbound::Answer, inbound::InboundError> {
    let channel = expectations.channel.ok_or(inbound::InboundError::NoChannel)?;
    inbound::post(&expectations.gateway_url, channel, event_id, thread, text, sources).await
}
