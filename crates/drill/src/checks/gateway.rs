//! Row 9, gateway recovery: the sink outside the system knows what was sent before; what the backup knew as sent does
//! not go out again, what it knew as pending does, in order; a new message is answered once; an event that was
//! accepted before, message or call, is not taken twice; retry and dead letter work.
//!
//! What was sent between the backup and the disaster the rows have forgotten; the recovery ledger remembers it. Where there
//! is none it goes out again under the same `webhook-id`, and the report counts it.
//!
//! Not here: what each delivery's fate is over both lives of the system (`oracle`), calls of workflows (`calls`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use client::Client;
use clock::{Sources, Timestamp};
use ids::{BindingId, DeliveryId, OrgId};
use serde::Deserialize;
use uuid::Uuid;

use super::oracle::{self, Facts, Threads};
use super::parity::SessionRow;
use super::{Inquiry, calls, eventually, kept, people};
use crate::api;
use crate::backup::Backup;
use crate::inbound;
use crate::rehearsal::kept::Triggers;
use crate::rehearsal::people::People;
use crate::rehearsal::{Called, Inbound, KnownChannel};
use crate::report::{Code, DeliveriesSeen};
use crate::rigging::Pace;
use crate::said::{Name, facts, say};
use crate::settings::MAX_ATTEMPTS;
use crate::sink::{Received, Sink};

const HELD_THREAD: &str = "drill-held";
const SMOKE_THREAD: &str = "drill-smoke";
/// What a delivery may be.
const STATES: [&str; 4] = ["pending", "sent", "dead", "unknown"];
/// Messages of after the backup that are sent again.
const REPEATED: usize = 3;

/// A line of the probe `deliveries`.
#[derive(Debug, Deserialize)]
pub(crate) struct DeliveryRow {
    pub(crate) delivery_id: DeliveryId,
    binding_id: BindingId,
    pub(crate) state: String,
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
    /// `None`: no workflow is known that is called.
    pub(crate) called: Option<&'a Called>,
    /// `None`: of none it is known which secrets are in force.
    pub(crate) triggers: Option<&'a Triggers>,
    /// `None`: of none it is known that it was closed for good.
    pub(crate) closed: Option<&'a [KnownChannel; 2]>,
    /// `None`: of nobody it is known what they may do in a chat.
    pub(crate) people: Option<&'a People>,
    pub(crate) gateway_url: String,
    /// When the backup began, and by when everything in it was committed.
    pub(crate) snapshot: (Timestamp, Timestamp),
    /// How many requests had arrived when nobody of the lost system was left.
    pub(crate) arrived: usize,
    /// When gateways of the lost system were killed.
    pub(crate) interruptions: &'a [Timestamp],
    /// Whether the restore was given the lost system's ledger.
    pub(crate) remembers: bool,
}

/// What became of the deliveries.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) seen: DeliveriesSeen,
    /// Deliveries that the lost system sent after the backup, and that went out again, for there was no ledger.
    pub(crate) forgotten: usize,
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
    calls::judge(inquiry, backup, operator, expectations, sources).await;
    if let Some(triggers) = expectations.triggers {
        kept::judge_secrets(inquiry, triggers, &expectations.gateway_url, sources).await;
    }
    if let Some(closed) = expectations.closed {
        kept::judge_doors(inquiry, closed, &expectations.gateway_url, sources).await;
    }
    if let Some(known) = expectations.people {
        people::judge_chat(inquiry, backup, known, operator, (&expectations.gateway_url, sources)).await;
    }
    judge_retry(inquiry, &client, &rows, expectations).await;
    judge_dead_letter(inquiry, &client, expectations, sources).await;
    Some(rows)
}

/// Waits until what was pending has arrived and nothing more does, and judges the sink's record.
pub(crate) async fn settle(
    inquiry: &mut Inquiry,
    backup: &Backup,
    operator: &Client,
    rows: &[DeliveryRow],
    expectations: &Expectations<'_>,
) -> Option<Sent> {
    let held = held(operator, backup).await;
    let held = inquiry.learn("the list of deliveries that are held", held)?;
    wait_for_pending(rows, &held, expectations, inquiry.pace()).await;
    wait_until_settled(expectations.sink, inquiry.pace()).await;
    let [before, after] = kept::CLOSED_THREADS;
    let threads = Threads::of(inquiry, backup, &[SMOKE_THREAD, HELD_THREAD, before, after])?;
    Some(judge_sent(inquiry, rows, &held, &threads, expectations))
}

/// What waits for a person, in every org.
async fn held(operator: &Client, backup: &Backup) -> anyhow::Result<HashSet<Uuid>> {
    let orgs: BTreeSet<OrgId> = backup.probe::<SessionRow>("sessions")?.iter().map(|row| row.org_id).collect();
    let mut held = HashSet::new();
    for org in orgs {
        let unknown = api::deliveries(&operator.in_org(org), Some("unknown")).await?;
        held.extend(unknown.into_iter().map(|delivery| Uuid::from(delivery.delivery_id)));
    }
    Ok(held)
}

/// A new message gets one answer.
async fn judge_smoke(inquiry: &mut Inquiry, expectations: &Expectations<'_>, sources: &Sources) {
    let text = "say back again";
    let sent = post(expectations, "drill-smoke", SMOKE_THREAD, text, sources).await;
    if inquiry.learn("a new message to the gateway", sent).is_none() {
        return;
    }
    // A message has one answer. One that says something else, as that of a turn which failed, is not waited beyond.
    let answer = eventually(inquiry.pace().patience, async || {
        in_thread(expectations, SMOKE_THREAD).into_iter().find(|received| received.accepted)
    });
    let answered = answer.await.is_some_and(|answer| answer.text.contains("back again"));
    inquiry.expect(answered, Code::SmokeUnanswered, || "a new message to the gateway was not answered".into());
    let signed = in_thread(expectations, SMOKE_THREAD).iter().all(|received| received.signed == Some(true));
    inquiry.expect(signed, Code::Signature, || {
        "a delivery is not signed as its receiver expects: the channel secret is not the one of before".into()
    });
}

/// An event that was accepted before the backup is a duplicate, and makes no new command. With the ledger so is one that was
/// accepted after it.
async fn judge_repeat(inquiry: &mut Inquiry, expectations: &Expectations<'_>, sources: &Sources) {
    let (began, ended) = expectations.snapshot;
    let earlier = expectations.inbound.iter().find(|inbound| inbound.at < began);
    let Some(earlier) = earlier else {
        return inquiry.could_not("no message was accepted before the backup", "there is nothing to repeat");
    };
    let later = expectations.inbound.iter().filter(|inbound| inbound.at > ended && expectations.remembers);
    for inbound in [earlier].into_iter().chain(later.take(REPEATED)) {
        let answer = post(expectations, &inbound.event_id, &inbound.thread, &inbound.text, sources).await;
        let Some(answer) = inquiry.learn("a repeated message to the gateway", answer) else { continue };
        // The command of one from after the backup is lost.
        let same = answer.command_id == Some(inbound.command) || (answer.command_id.is_none() && inbound.at > ended);
        let event = inquiry.keyed(&inbound.event_id);
        inquiry.expect(answer.duplicate && same, Code::InboundTakenTwice, || {
            let when = if inbound.at > ended { "after" } else { "before" };
            say!("the message {} was accepted {} the backup and is taken again", event, when)
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
    inquiry.expect(arrived, Code::Retry, || say!("the dead letter {} was retried and did not arrive", id));
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
        inquiry.expect(dead, Code::DeadLetter, || say!("the delivery {} was set aside and is not a dead letter", held));
    }
}

/// Waits for what the backup knew as pending; what does not come is judged as lost. What had arrived since the backup, had been
/// given up, or is held, is not waited for.
async fn wait_for_pending(rows: &[DeliveryRow], held: &HashSet<Uuid>, expectations: &Expectations<'_>, pace: Pace) {
    let earlier = expectations.sink.since(0);
    let settled_before = |id: &Uuid| {
        let mut of_it = earlier[..expectations.mark].iter().filter(|one| one.delivery == *id);
        expectations.remembers && (of_it.clone().any(|one| one.accepted) || of_it.by_ref().count() >= MAX_ATTEMPTS)
    };
    let pending: HashSet<Uuid> = rows
        .iter()
        .filter(|row| row.state == "pending")
        .map(|row| row.delivery_id.into())
        .filter(|id| !held.contains(id) && !settled_before(id))
        .collect();
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

fn judge_sent(
    inquiry: &mut Inquiry,
    rows: &[DeliveryRow],
    held: &HashSet<Uuid>,
    threads: &Threads,
    expectations: &Expectations<'_>,
) -> Sent {
    let all = expectations.sink.since(0);
    let now = &all[expectations.mark..];
    let facts = Facts {
        rows,
        before: &all[..expectations.arrived],
        now,
        interruptions: expectations.interruptions,
        remembers: expectations.remembers,
        witness: expectations.witness,
        held,
        threads,
    };
    let (seen, forgotten) = oracle::judge(inquiry, &facts);
    judge_order(inquiry, rows, now);
    let redirected = now.iter().filter(|one| one.redirected).count();
    inquiry.expect(redirected == now.len(), Code::ReachedDestination, || {
        say!("{} deliveries of the copy were not redirected", now.len() - redirected)
    });
    inquiry.record(
        "sink",
        &facts!({"seen": seen, "requests_from_target": now.len(), "repeated_without_a_ledger": forgotten,
            "in_backup": count_states(rows)}),
    );
    Sent { seen, forgotten }
}

/// Within a thread, sequences only grow.
fn judge_order(inquiry: &mut Inquiry, rows: &[DeliveryRow], now: &[Received]) {
    let bindings: HashMap<Uuid, BindingId> = rows.iter().map(|row| (row.delivery_id.into(), row.binding_id)).collect();
    let dead: BTreeSet<Uuid> =
        rows.iter().filter(|row| row.state == "dead").map(|row| row.delivery_id.into()).collect();
    let mut last: HashMap<(String, Option<BindingId>), i64> = HashMap::new();
    for one in now.iter().filter(|one| one.accepted && !dead.contains(&one.delivery)) {
        let key = (one.thread.clone(), bindings.get(&one.delivery).copied());
        let (before, thread) = (last.insert(key, one.sequence).unwrap_or(0), inquiry.keyed(&one.thread));
        inquiry.expect(one.sequence > before, Code::OutOfOrder, || {
            say!("in thread {} the delivery of event {} came after that of event {}", thread, one.sequence, before)
        });
    }
}

/// A state that this judge does not know is counted under no name of its own.
fn count_states(rows: &[DeliveryRow]) -> BTreeMap<Name, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        let known = STATES.into_iter().find(|state| *state == row.state);
        *counts.entry(Name::from(known.unwrap_or("other"))).or_default() += 1;
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
