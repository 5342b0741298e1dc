//! Row 8, scheduler recovery: what had fired before the backup is still known with its run; with two schedulers at
//! once exactly the slots fire that must, each once, and none that had fired before the disaster.
//!
//! What must fire: every workflow that waited, paused, for the drill to resume it, its newest missed slot; and each
//! slot of an active workflow that falls due while the schedulers are there; and of one that makes good for what it missed each
//! slot since the backup. What may not: any slot that the lost system fired, which it knows from the recovery ledger and has no
//! run for; and any that was due before the restore, where the policy is to skip.
//!
//! Not here: what a run's session does (`worker`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::anyhow;
use client::{Client, Run, Workflow, WorkflowAction};
use clock::{Sources, Timestamp};
use ids::{OrgId, RunId, WorkflowId};
use serde::Deserialize;

use super::{Inquiry, eventually};
use crate::api;
use crate::backup::Backup;
use crate::rehearsal::Held;
use crate::report::{Code, SlotsSeen};
use crate::rigging::Pace;
use crate::said::{facts, say};

/// A line of the probe `slots`.
#[derive(Debug, Deserialize)]
struct SlotRow {
    workflow_id: WorkflowId,
    due_at: Timestamp,
    state: String,
}

/// A line of the probe `runs`.
#[derive(Debug, Deserialize)]
struct RunRow {
    org_id: OrgId,
    workflow_id: WorkflowId,
    due_at: Timestamp,
    run_id: RunId,
}

/// A line of the probe `triggers`.
#[derive(Debug, Deserialize)]
struct TriggerRow {
    org_id: OrgId,
    workflow_id: WorkflowId,
    workflow_state: String,
    kind: String,
    spec: serde_json::Value,
    next_due_at: Option<Timestamp>,
    missed_policy: String,
}

type Slot = (WorkflowId, Timestamp);

/// What the rehearsal knows of the slots that fired, and when the target's life began.
#[derive(Debug)]
pub(crate) struct Expectations<'a> {
    pub(crate) held: &'a [Held],
    pub(crate) fired_before_disaster: &'a [Slot],
    /// Whether the restore was given the lost system's ledger.
    pub(crate) remembers: bool,
    /// Just before the new generation began: what was due by then is missed.
    pub(crate) restored_at: Timestamp,
    pub(crate) schedulers_started_at: Timestamp,
}

/// Before any scheduler is there: every run that the backup had is listed, and every slot that had fired has its run.
pub(crate) async fn judge_history(inquiry: &mut Inquiry, backup: &Backup, operator: &Client) {
    let (slots, runs) = (backup.probe::<SlotRow>("slots"), backup.probe::<RunRow>("runs"));
    let Some((slots, runs)) = inquiry.learn("the backup's slots", slots).zip(inquiry.learn("the backup's runs", runs))
    else {
        return;
    };
    let listed = match list_runs(operator, runs.iter().map(|run| run.org_id)).await {
        Ok(listed) => listed,
        Err(error) => return inquiry.missed("the runs could not be listed", &error.into()),
    };
    let listed_ids: BTreeSet<RunId> = listed.iter().map(|run| run.run_id).collect();
    for run in &runs {
        inquiry.expect(listed_ids.contains(&run.run_id), Code::RunMissing, || {
            say!("the slot of workflow {} due {} has lost its run {}", run.workflow_id, run.due_at, run.run_id)
        });
    }
    let with_run: BTreeSet<Slot> = listed.iter().map(|run| (run.workflow_id, run.due_at)).collect();
    let fired = slots.iter().filter(|slot| slot.state == "fired");
    for slot in fired.filter(|slot| !with_run.contains(&(slot.workflow_id, slot.due_at))) {
        inquiry.fault(
            Code::SlotWithoutRun,
            say!("workflow {} fired at {} and has no run for it", slot.workflow_id, slot.due_at),
        );
    }
    inquiry
        .record("history", &facts!({"slots": slots.len(), "runs_in_backup": runs.len(), "runs_listed": listed.len()}));
}

/// With two schedulers: resumes what waited, waits until everything due has fired, and judges what did.
pub(crate) async fn judge_firing(
    inquiry: &mut Inquiry,
    backup: &Backup,
    operator: &Client,
    expectations: &Expectations<'_>,
    sources: &Sources,
) -> Option<SlotsSeen> {
    let triggers = inquiry.learn::<Vec<TriggerRow>>("the backup's triggers", backup.probe("triggers"))?;
    let before = inquiry.learn::<Vec<RunRow>>("the backup's runs", backup.probe("runs"))?;
    let before: BTreeSet<Slot> = before.iter().map(|run| (run.workflow_id, run.due_at)).collect();
    let observed = observe(operator, &triggers, &before, expectations, sources, inquiry.pace()).await;
    let observed = inquiry.learn("the schedulers could not be observed", observed)?;
    if observed.fired.is_empty() {
        inquiry.could_not(
            "firing",
            "no slot fell due while the schedulers were there, and no workflow is known that may be resumed",
        );
    }
    let settled = inquiry.learn("the slots could not be listed", settled(operator, &triggers).await)?;
    let fired_twice = judge_doubles(inquiry, &observed.fired, &before, expectations);
    for held in expectations.held {
        judge_held(inquiry, held, &triggers, &observed.fired, expectations);
    }
    for trigger in triggers.iter().filter(|trigger| trigger.workflow_state == "active") {
        judge_active(inquiry, trigger, &observed, expectations);
    }
    let (after_backup, forgotten) = judge_remembered(inquiry, &before, &settled, expectations);
    let lost = judge_backlog(inquiry, &triggers, &observed, &settled, expectations);
    let seen = SlotsSeen {
        before_disaster: expectations.fired_before_disaster.len() as u64,
        after_backup,
        new: observed.fired.len() as u64,
        fired_twice,
        lost: lost + forgotten,
        unknown: settled.values().filter(|state| *state == "unknown").count() as u64,
    };
    inquiry.record(
        "firing",
        &facts!({"seen": seen, "until": observed.until,
            "per_workflow": per_workflow(&observed.fired).values().map(Vec::len).collect::<Vec<_>>()}),
    );
    Some(seen)
}

/// Every slot that the restored system has settled, with its state.
async fn settled(operator: &Client, triggers: &[TriggerRow]) -> Result<BTreeMap<Slot, String>, client::Error> {
    let mut settled = BTreeMap::new();
    for trigger in triggers {
        let slots = api::slots(&operator.in_org(trigger.org_id), trigger.workflow_id).await?;
        settled.extend(slots.into_iter().map(|slot| ((trigger.workflow_id, slot.due_at), slot.state)));
    }
    Ok(settled)
}

/// Slots that the lost system fired after the backup are known as fired, without a run; or as ones that may have. How many there
/// are, and how many of them are not known.
fn judge_remembered(
    inquiry: &mut Inquiry,
    before: &BTreeSet<Slot>,
    settled: &BTreeMap<Slot, String>,
    expectations: &Expectations<'_>,
) -> (u64, u64) {
    let since: Vec<&Slot> = expectations.fired_before_disaster.iter().filter(|slot| !before.contains(*slot)).collect();
    let mut forgotten = 0;
    for slot in since.iter().filter(|_| expectations.remembers) {
        let known = settled.get(*slot).is_some_and(|state| state == "fired" || state == "unknown");
        forgotten += u64::from(!known);
        inquiry.expect(known, Code::SlotForgotten, || {
            say!("workflow {} had fired for the slot due {}, and the restored system does not know", slot.0, slot.1)
        });
    }
    (since.len() as u64, forgotten)
}

/// A workflow that makes good for what it missed fires each slot in one of its two lives. How many it fired in none.
fn judge_backlog(
    inquiry: &mut Inquiry,
    triggers: &[TriggerRow],
    observed: &Observed,
    settled: &BTreeMap<Slot, String>,
    expectations: &Expectations<'_>,
) -> u64 {
    let fired: BTreeSet<&Slot> = expectations.fired_before_disaster.iter().chain(&observed.fired).collect();
    let mut lost = 0;
    let all = |trigger: &&TriggerRow| trigger.workflow_state == "active" && trigger.missed_policy == "run_all";
    for trigger in triggers.iter().filter(all) {
        let Some(next) = trigger.next_due_at else { continue };
        for due in interval_slots(trigger, next - chrono::TimeDelta::milliseconds(1), observed.until) {
            let slot = (trigger.workflow_id, due);
            let may_have = settled.get(&slot).is_some_and(|state| state == "fired" || state == "unknown");
            lost += u64::from(!fired.contains(&slot) && !may_have);
            inquiry.expect(fired.contains(&slot) || may_have, Code::SlotLost, || {
                say!("workflow {} fired for the slot due {} neither before the disaster nor since", slot.0, due)
            });
        }
    }
    lost
}

/// The runs that are new since the backup, up to an instant after which no more are counted.
struct Observed {
    fired: Vec<Slot>,
    until: Timestamp,
}

async fn observe(
    operator: &Client,
    triggers: &[TriggerRow],
    before: &BTreeSet<Slot>,
    expectations: &Expectations<'_>,
    sources: &Sources,
    pace: Pace,
) -> anyhow::Result<Observed> {
    for held in expectations.held {
        operator.in_org(held.org).workflow_act(held.workflow, WorkflowAction::Resume).await?;
    }
    let orgs: BTreeSet<OrgId> = triggers.iter().map(|trigger| trigger.org_id).collect();
    let new_runs = async || -> anyhow::Result<Vec<Slot>> {
        let runs = list_runs(operator, orgs.iter().copied()).await?;
        Ok(runs.iter().map(|run| (run.workflow_id, run.due_at)).filter(|slot| !before.contains(slot)).collect())
    };
    let on_time = |fired: &[Slot]| fired.iter().filter(|slot| slot.1 > expectations.schedulers_started_at).count();
    let held_fired = |fired: &[Slot]| {
        let mut waited_for = expectations.held.iter().filter(|held| !held.resumed);
        waited_for.all(|held| fired.iter().any(|slot| slot.0 == held.workflow))
    };
    let awaited = awaited(triggers, expectations, pace);
    eventually(pace.patience, async || {
        let fired = new_runs().await.ok()?;
        (held_fired(&fired) && on_time(&fired) >= awaited).then_some(())
    })
    .await
    .ok_or_else(|| anyhow!("the schedulers did not fire what was due within {} s", pace.patience.as_secs()))?;
    // Whatever was due by now must have fired once the schedulers' own next due time lies behind it.
    let until = sources.now();
    wait_for_backlog(operator, &orgs, until, pace).await;
    let fired = new_runs().await?;
    Ok(Observed { fired: fired.into_iter().filter(|slot| slot.1 <= until).collect(), until })
}

/// How many slots to wait for: as many as fall due while it is waited, and no more than the pace asks for. An idle
/// system's schedules may all be hours away.
fn awaited(triggers: &[TriggerRow], expectations: &Expectations<'_>, pace: Pace) -> usize {
    let from = expectations.schedulers_started_at;
    // Whatever falls due must have the time to fire, too.
    let until = from + pace.patience / 2;
    let active = triggers.iter().filter(|trigger| trigger.workflow_state == "active");
    active.map(|trigger| interval_slots(trigger, from, until).len()).sum::<usize>().min(pace.on_time_slots)
}

/// Waits until the schedulers have settled what was due by `until`, for as long as they get on with it: what was missed over hours
/// takes its time, and what stands still is judged as it stands.
async fn wait_for_backlog(operator: &Client, orgs: &BTreeSet<OrgId>, until: Timestamp, pace: Pace) {
    let mut last = None;
    loop {
        let moved = eventually(pace.patience, async || {
            let overdue = overdue(operator, orgs, until).await.ok()?;
            (overdue.is_empty() || last.as_ref() != Some(&overdue)).then_some(overdue)
        });
        match moved.await {
            Some(overdue) if !overdue.is_empty() => last = Some(overdue),
            _ => return,
        }
    }
}

/// The triggers of active workflows that have an unclaimed slot which was due by `until`: each one's oldest.
async fn overdue(
    operator: &Client,
    orgs: &BTreeSet<OrgId>,
    until: Timestamp,
) -> Result<Vec<(WorkflowId, Timestamp)>, client::Error> {
    let mut overdue = Vec::new();
    for org in orgs {
        let client = operator.in_org(*org);
        for workflow in api::workflows(&client).await?.iter().filter(|workflow| workflow.state == "active") {
            let Workflow { workflow_id, triggers, .. } = client.workflow_get(workflow.workflow_id).await?;
            let due = triggers.iter().filter_map(|trigger| trigger.next_due_at).filter(|due| *due <= until);
            overdue.extend(due.map(|due| (workflow_id, due)));
        }
    }
    Ok(overdue)
}

/// How many fired twice.
fn judge_doubles(
    inquiry: &mut Inquiry,
    fired: &[Slot],
    before: &BTreeSet<Slot>,
    expectations: &Expectations<'_>,
) -> u64 {
    let (mut seen, mut doubles) = (before.clone(), 0);
    for slot in fired {
        let (once, again) = (seen.insert(*slot), expectations.fired_before_disaster.contains(slot));
        doubles += u64::from(!once || again);
        inquiry
            .expect(once, Code::SlotFiredTwice, || say!("workflow {} fired twice for the slot due {}", slot.0, slot.1));
        inquiry.expect(!again, Code::SlotFiredAgain, || {
            say!("workflow {} fired again for the slot due {}, which had fired before the disaster", slot.0, slot.1)
        });
    }
    doubles
}

/// A workflow that was resumed fires its newest missed slot, and no other of those it missed. If the lost system had done that
/// already, it fires none.
fn judge_held(
    inquiry: &mut Inquiry,
    held: &Held,
    triggers: &[TriggerRow],
    fired: &[Slot],
    expectations: &Expectations<'_>,
) {
    if held.resumed && !expectations.remembers {
        return;
    }
    let due = triggers.iter().find(|trigger| trigger.workflow_id == held.workflow).and_then(|row| row.next_due_at);
    let slots: Vec<Timestamp> = fired.iter().filter(|slot| slot.0 == held.workflow).map(|slot| slot.1).collect();
    let expected = Vec::from_iter(due.filter(|_| !held.resumed));
    inquiry.expect(due.is_some() && slots == expected, Code::HeldSlot, || {
        say!("workflow {} was due at {} and fired for {}", held.workflow, due, slots)
    });
}

/// An active workflow that skips what it missed fires every slot that falls due while the schedulers are there, and
/// none of before the restore.
fn judge_active(inquiry: &mut Inquiry, trigger: &TriggerRow, observed: &Observed, expectations: &Expectations<'_>) {
    let fired: BTreeSet<Timestamp> =
        observed.fired.iter().filter(|slot| slot.0 == trigger.workflow_id).map(|slot| slot.1).collect();
    if trigger.missed_policy == "skip" {
        for due in fired.iter().filter(|due| **due <= expectations.restored_at) {
            inquiry.fault(
                Code::MissedSlotFired,
                say!(
                    "workflow {} fired for {}, before the restore, though it skips what it missed",
                    trigger.workflow_id,
                    due
                ),
            );
        }
    }
    for due in interval_slots(trigger, expectations.schedulers_started_at, observed.until) {
        inquiry.expect(fired.contains(&due), Code::SlotLost, || {
            say!("workflow {} did not fire for the slot due {}", trigger.workflow_id, due)
        });
    }
}

/// The slots of an interval trigger in `(from, to]`.
fn interval_slots(trigger: &TriggerRow, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let (Some(every_s), Some(next)) = (trigger.spec["every_s"].as_i64(), trigger.next_due_at) else {
        return Vec::new();
    };
    if trigger.kind != "interval" || every_s < 1 {
        return Vec::new();
    }
    let every = chrono::TimeDelta::seconds(every_s);
    let steps = ((from - next).num_seconds() / every_s).max(0);
    let first = next + every * i32::try_from(steps).unwrap_or(i32::MAX);
    std::iter::successors(Some(first), |due| Some(*due + every))
        .skip_while(|due| *due <= from)
        .take_while(|due| *due <= to)
        .collect()
}

fn per_workflow(slots: &[Slot]) -> BTreeMap<WorkflowId, Vec<Timestamp>> {
    let mut by_workflow: BTreeMap<WorkflowId, Vec<Timestamp>> = BTreeMap::new();
    for (workflow, due) in slots {
        by_workflow.entry(*workflow).or_default().push(*due);
    }
    by_workflow
}

async fn list_runs(operator: &Client, orgs: impl Iterator<Item = OrgId>) -> Result<Vec<Run>, client::Error> {
    let mut all = HashMap::new();
    for org in orgs.collect::<BTreeSet<_>>() {
        for run in api::runs(&operator.in_org(org)).await? {
            all.insert(run.run_id, run);
        }
    }
    Ok(all.into_values().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use chrono::{DateTime, TimeDelta};

    #[test]
    fn slots_of_an_interval_are_counted_from_the_one_that_was_next() {
        let next = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let trigger = TriggerRow {
            org_id: uuid::Uuid::from_u128(1).into(),
            workflow_id: uuid::Uuid::from_u128(2).into(),
            workflow_state: "active".into(),
            kind: "interval".into(),
            spec: json!({"every_s": 10, "anchor_at": next}),
            next_due_at: Some(next),
            missed_policy: "skip".into(),
        };
        let at = |seconds| next + TimeDelta::seconds(seconds);
        assert_eq!(interval_slots(&trigger, at(15), at(40)), [at(20), at(30), at(40)]);
        assert_eq!(interval_slots(&trigger, at(-5), at(9)), [at(0)]);
        let expectations = |started| Expectations {
            held: &[],
            fired_before_disaster: &[],
            remembers: false,
            restored_at: next,
            schedulers_started_at: started,
        };
        assert_eq!(awaited(std::slice::from_ref(&trigger), &expectations(at(1)), Pace::CALM), 3);
        let idle = TriggerRow { spec: json!({"every_s": 3_600, "anchor_at": next}), ..trigger };
        assert_eq!(awaited(&[idle], &expectations(at(1)), Pace::CALM), 0, "the next one is an hour away");
    }
}
