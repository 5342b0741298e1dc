//! Row 7, worker recovery: one worker leases a restored session, carries out a smoke prompt in the restored workspace,
//! writes events and the projection, and saves a checkpoint that opens; a worker that overslept its lease changes
//! nothing any more; and no command that was acknowledged before the backup is missing from it.
//!
//! Not here: what the worker says in its log (`redaction`).

use std::collections::HashSet;
use std::time::Duration;

use anyhow::anyhow;
use client::{Client, Event, Wish};
use ids::{CommandId, SessionId};
use serde::Deserialize;

use super::{Inquiry, eventually};
use crate::backup::Backup;
use crate::processes::{Role, RoleProcess};
use crate::rehearsal::{Acknowledged, Smoke};
use crate::report::Code;
use crate::rigging::Pace;
use crate::said::{Heard, facts, say};
use crate::target::Target;

/// Long enough to be stopped in the middle of it.
const LONG_TURN_MS: u64 = 1_000;

/// A line of the probe `commands_acknowledged`.
#[derive(Debug, Deserialize)]
struct CommandRow {
    command_id: CommandId,
}

/// Commands that were acknowledged before the backup began must be in it.
pub(crate) fn judge_acknowledged(inquiry: &mut Inquiry, backup: &Backup, acknowledged: &[Acknowledged], restarts: u64) {
    let Some(rows) = inquiry.learn::<Vec<CommandRow>>("the backup's commands", backup.probe("commands_acknowledged"))
    else {
        return;
    };
    let kept: HashSet<CommandId> = rows.iter().map(|row| row.command_id).collect();
    let before = backup.manifest.snapshot.started_at;
    let due: Vec<_> = acknowledged.iter().filter(|command| command.at < before).collect();
    inquiry.record(
        "acknowledged",
        &facts!({"acknowledged_before_backup": due.len(), "in_backup": kept.len(), "source_roles_restarted": restarts}),
    );
    for command in due {
        inquiry.expect(kept.contains(&command.command), Code::CommandLost, || {
            say!("command {} was acknowledged before the backup and is not in it", command.command)
        });
    }
}

/// What became of the smoke prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Smoked {
    /// No worker carried it out: any other would wait behind it.
    Nobody,
    /// It ended in another way than it should have.
    Badly,
    Well,
}

/// The smoke prompt.
pub(crate) async fn smoke(inquiry: &mut Inquiry, client: &Client, smoke: &Smoke, before: i64) -> Smoked {
    let session = smoke.session;
    let known = smoke.remembers.iter().chain(&smoke.link);
    let read: String = known.map(|(name, _)| format!("read {name}\n")).collect();
    let text = format!("{read}say recovered\nwrite smoke.txt 512");
    let ran = run_prompt(client, session, "drill-smoke", &text, inquiry.pace().patience).await;
    let Some(command) = inquiry.learn("the smoke prompt", ran) else { return Smoked::Nobody };
    let Some(command) = command else {
        let waited = inquiry.pace().patience.as_secs();
        inquiry.fault(Code::SmokeUnfinished, say!("no worker finished the smoke prompt within {} s", waited));
        return Smoked::Nobody;
    };
    let smoked = if command.state == "done" { Smoked::Well } else { Smoked::Badly };
    inquiry.expect(smoked == Smoked::Well, Code::SmokeOutcome, || {
        say!(
            "the smoke prompt ended as {}: {}",
            Heard::of(&command.state),
            Heard::of(command.outcome.as_deref().unwrap_or("no reason"))
        )
    });
    let Some(events) = inquiry.learn("the smoke prompt's events", events_after(client, session, before).await) else {
        return smoked;
    };
    inquiry.record("smoke-events", &events.iter().map(|event| (event.sequence, kind_of(event))).collect::<Vec<_>>());
    judge_events(inquiry, &events, before);
    judge_memory(inquiry, &events, smoke.remembers.as_ref());
    judge_link(inquiry, &events, smoke.link.as_ref());
    if let Some(view) = inquiry.learn("the smoke session", client.session_get(session).await) {
        let last = events.last().map_or(before, |event| event.sequence);
        inquiry.expect(view.projection.sequence == last, Code::SmokeProjection, || {
            say!("after the smoke prompt the projection stands at {}, the events at {}", view.projection.sequence, last)
        });
    }
    smoked
}

/// The kinds of events, in ARCHITECTURE.md's order.
const KINDS: [&str; 14] = [
    "session_created",
    "history_imported",
    "turn_started",
    "message_appended",
    "tool_call_upserted",
    "approval_requested",
    "question_asked",
    "approval_resolved",
    "question_answered",
    "artifact_created",
    "usage_recorded",
    "turn_ended",
    "compacted",
    "other",
];

/// What a row calls its kind is told if it is one.
fn kind_of(event: &Event) -> &'static str {
    KINDS.into_iter().find(|kind| *kind == event.kind).unwrap_or("other")
}

fn judge_events(inquiry: &mut Inquiry, events: &[Event], before: i64) {
    let contiguous = events.iter().zip(before + 1..).all(|(event, sequence)| event.sequence == sequence);
    inquiry.expect(contiguous, Code::SmokeSequence, || say!("the events after {} have a hole or a repeat", before));
    for kind in ["turn_started", "message_appended", "artifact_created", "turn_ended"] {
        inquiry.expect(events.iter().any(|event| event.kind == kind), Code::SmokeEvents, || {
            say!("the smoke prompt wrote no event {}", kind)
        });
    }
}

/// The agent read a file that was saved in a checkpoint before the backup.
fn judge_memory(inquiry: &mut Inquiry, events: &[Event], remembers: Option<&(String, String)>) {
    let Some((file, sha256)) = remembers else {
        return inquiry.could_not("the workspace", "no file is known that the session had saved before the backup");
    };
    let file = inquiry.keyed(file);
    inquiry.expect(said(events, sha256), Code::WorkspaceLost, || {
        say!("the agent did not find in its workspace the file {} that it had saved before the backup", file)
    });
}

/// The agent looked where a link leads that was saved in a checkpoint before the backup, and did not go there.
fn judge_link(inquiry: &mut Inquiry, events: &[Event], link: Option<&(String, String)>) {
    let Some((link, sha256)) = link else { return };
    let link = inquiry.keyed(link);
    inquiry.expect(said(events, sha256), Code::LinkLost, || {
        say!("the link {} that was saved before the backup is not in the workspace, or leads elsewhere", link)
    });
}

fn said(events: &[Event], sha256: &str) -> bool {
    events.iter().any(|event| event.payload.to_string().contains(sha256))
}

/// A line of the probe `checkpoints`.
#[derive(Debug, Deserialize)]
struct CheckpointRow {
    session_id: SessionId,
}

/// Each of the session's `turns` since the restore has saved a checkpoint, and all of the session's checkpoints open.
pub(crate) async fn judge_checkpoints(
    inquiry: &mut Inquiry,
    backup: &Backup,
    target: &Target,
    session: SessionId,
    turns: usize,
) {
    let before = inquiry.learn::<Vec<CheckpointRow>>("the backup's checkpoints", backup.probe("checkpoints"));
    let verified = super::secrets::verify(&target.launcher, Some(session)).await;
    let verified = inquiry.learn("`cowork admin verify` after the smoke prompt", verified);
    let Some((before, (verification, _))) = before.zip(verified) else { return };
    let before = before.iter().filter(|row| row.session_id == session).count();
    let checkpoints = verification.checkpoints;
    inquiry.record("checkpoints", &facts!({"before": before, "turns": turns, "opened": checkpoints.checked}));
    inquiry.expect(checkpoints.checked == (before + turns) as u64, Code::CheckpointSaved, || {
        say!("the session has {} checkpoints after {} turns, {} before them", checkpoints.checked, turns, before)
    });
    for failed in &checkpoints.failed {
        inquiry.fault(
            Code::CheckpointUnopened,
            say!("checkpoint {} does not open: {}", failed.checkpoint_id, Heard::of(&failed.error)),
        );
    }
}

/// A worker that sleeps through its lease: it is stopped in the middle of a turn, another takes over, it wakes up. `false`:
/// there was no such turn.
pub(crate) async fn stale_worker(
    inquiry: &mut Inquiry,
    target: &mut Target,
    client: &Client,
    session: SessionId,
) -> bool {
    let mut workers = target.roles.iter().filter(|process| process.serves(Role::Worker));
    if !workers.all(RoleProcess::can_sleep) {
        inquiry.could_not("a worker that oversleeps", "the plan has no commands that make one sleep and wake it");
        return false;
    }
    let outcome = oversleep(target, client, session, inquiry.pace()).await;
    let Some(seen) = inquiry.learn("the worker that overslept", outcome) else { return true };
    inquiry.record("stale-worker", &facts!({"leases_lost": seen.leases_lost, "attempts": seen.attempts}));
    inquiry
        .expect(seen.done, Code::StaleTakeover, || "no other worker finished the turn of a worker that slept".into());
    inquiry.expect(seen.attempts >= 2, Code::StaleAttempts, || {
        "the turn of a worker that slept was not begun again by another".into()
    });
    inquiry.expect(seen.leases_lost >= 1, Code::StaleTokenAccepted, || {
        "a worker that overslept its lease was not refused when it wrote".into()
    });
    inquiry.expect(seen.turns_ended == 1 && seen.contiguous, Code::StaleWrite, || {
        say!("the session of a worker that slept has {} ends of one turn, or a hole in its events", seen.turns_ended)
    });
    true
}

#[derive(Debug)]
struct Overslept {
    done: bool,
    attempts: usize,
    turns_ended: usize,
    contiguous: bool,
    leases_lost: u64,
}

async fn oversleep(target: &mut Target, client: &Client, session: SessionId, pace: Pace) -> anyhow::Result<Overslept> {
    let before = client.session_get(session).await?.session.last_sequence;
    let text = format!("say begun\nsleep {LONG_TURN_MS}\nsay finished");
    let command = client.command_submit(session, "drill-stale", &Wish::Prompt { text }).await?.command_id;
    let started = eventually(pace.patience, async || {
        let events = events_after(client, session, before).await.ok()?;
        events.iter().any(|event| event.kind == "turn_started").then_some(())
    });
    started.await.ok_or_else(|| anyhow!("no worker began the turn"))?;
    let sleeper = target.roles.iter().position(|process| process.serves(Role::Worker));
    let sleeper = sleeper.ok_or_else(|| anyhow!("no worker was started"))?;
    target.roles[sleeper].suspend(true).await?;
    target.start("worker-2", Role::Worker).await?;
    let done = eventually(pace.patience, async || {
        let command = client.command_get(session, command).await.ok()?;
        (command.state != "pending").then_some(command.state == "done")
    });
    let done = done.await.unwrap_or(false);
    target.roles[sleeper].suspend(false).await?;
    let attempts = |events: &[Event]| events.iter().filter(|event| event.kind == "turn_started").count();
    // A turn that nobody took over was taken from nobody, and there is nothing to wait for.
    let taken_over = attempts(&events_after(client, session, before).await?) >= 2;
    let patience = if taken_over { pace.patience } else { Duration::ZERO };
    let metrics = Client::new(target.roles[sleeper].url(Role::Worker), String::new().into());
    let lost = eventually(patience, async || {
        let text = metrics.text("/metrics").await.ok()?;
        Some(leases_lost(&text)).filter(|lost| *lost > 0)
    });
    let leases_lost = lost.await.unwrap_or(0);
    // What the sleeper wrote once it was awake is among them.
    let events = events_after(client, session, before).await?;
    Ok(Overslept {
        done,
        attempts: attempts(&events),
        turns_ended: events.iter().filter(|event| event.kind == "turn_ended").count(),
        contiguous: events.iter().zip(before + 1..).all(|(event, sequence)| event.sequence == sequence),
        leases_lost,
    })
}

fn leases_lost(metrics: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with("cowork_lease_lost_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// `None`: nobody finished it in time.
pub(crate) async fn run_prompt(
    client: &Client,
    session: SessionId,
    key: &str,
    text: &str,
    patience: Duration,
) -> anyhow::Result<Option<client::Command>> {
    let taken = client.command_submit(session, key, &Wish::Prompt { text: text.to_owned() }).await?;
    let finished = eventually(patience, async || {
        let command = client.command_get(session, taken.command_id).await.ok()?;
        (command.state != "pending").then_some(command)
    });
    Ok(finished.await)
}

pub(crate) async fn events_after(client: &Client, session: SessionId, after: i64) -> Result<Vec<Event>, client::Error> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let from = events.last().map_or(after, |event| event.sequence);
        let page = client.event_list(session, from, 1_000).await?;
        if page.items.is_empty() {
            return Ok(events);
        }
        events.extend(page.items);
    }
}
