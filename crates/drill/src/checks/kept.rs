//! What was set before the backup and otherwise after it, or waited meanwhile: parts of rows 4, 7 and 9, which have the role that
//! serves each.
//!
//! The org's plan and its policy are the backup's, and the plan counts as not confirmed, until somebody has said what it is since. A
//! key that was replaced after the backup is out of force, one that was replaced before it is not (row 4). A session that had done
//! nothing begins with its files; what steered is heard once, by the turn that it was for (row 7). Of each trigger's two secrets
//! those sign calls that are in force, and no other (row 9). A channel that was closed, before the backup or after it, is closed: the
//! API says so (row 4), and nobody is heard by it (row 9).
//!
//! Not here: tokens, members and requests (`standing`), calls that are repeated (`calls`).

use anyhow::Context as _;
use client::{Client, Wish};
use clock::Sources;
use uuid::Uuid;

use super::parity::SessionRow;
use super::worker::{events_after, run_prompt};
use super::{Inquiry, eventually};
use crate::backup::Backup;
use crate::inbound::{self, CallAnswer, InboundError};
use crate::rehearsal::kept::{Beginning, Kept, Keys, Rotated, RotatedKey, Steering, Terms, Triggers};
use crate::rehearsal::{Call, KnownChannel, KnownTrigger};
use crate::report::Code;
use crate::said::{Heard, facts, say};

/// Where messages go to a channel that was closed, which must not come to anything.
pub(crate) const CLOSED_THREADS: [&str; 2] = ["drill-closed-0", "drill-closed-1"];

/// Row 4: what the org is held to, its keys, and channels that were closed.
pub(crate) async fn judge_terms(inquiry: &mut Inquiry, kept: &Kept, operator: &Client) {
    let home = operator.in_org(kept.org);
    judge_subscription(inquiry, &kept.terms, &home).await;
    judge_policy(inquiry, &kept.terms, &home).await;
    judge_keys(inquiry, &kept.keys, &home).await;
    judge_closed(inquiry, &kept.closed, &home).await;
}

/// As of the backup it can't be confirmed, for it was changed since; whoever has said so since knows of the change.
async fn judge_subscription(inquiry: &mut Inquiry, terms: &Terms, home: &Client) {
    let seen = match home.subscription_get().await {
        // Every org has one.
        Err(error) if error.status() == Some(404) => {
            let sentence = "the org has no subscription, and the backup had it on a plan";
            inquiry.expect(false, Code::SubscriptionTerms, || sentence.into());
            return;
        }
        seen => inquiry.learn("the org's subscription", seen),
    };
    let Some(seen) = seen else { return };
    let (plan, confirmed) = (&seen.value.plan, seen.value.confirmed);
    let [before, after] = terms.plans;
    let active = seen.value.state == "active";
    let told = if confirmed { after } else { before };
    inquiry.record("subscription", &facts!({"plan": Heard::of(plan), "active": active, "confirmed": confirmed}));
    inquiry.expect(active && plan == told, Code::SubscriptionTerms, || {
        let how = if confirmed { "confirmed" } else { "not confirmed" };
        say!("the org is on the plan {}, {}, and the backup had it on {}", Heard::of(plan), how, before)
    });
}

async fn judge_policy(inquiry: &mut Inquiry, terms: &Terms, home: &Client) {
    let Some(seen) = inquiry.learn("the org's policy", home.policy_get().await) else { return };
    let same = seen.value.policy == terms.policy;
    let let_in = home.member_create(&terms.refused, "Nobody", "member").await;
    let status = match let_in {
        Ok(_) => Ok(201),
        Err(error) => error.status().context("the web role did not answer"),
    };
    let Some(status) = inquiry.learn("somebody whom the policy keeps out", status) else { return };
    inquiry.record("policy", &facts!({"as_before_the_backup": same, "answer_to_whom_it_keeps_out": status}));
    inquiry.expect(same && status == 403, Code::PolicyTerms, || {
        let how = if same { "the one of before the backup" } else { "another one than before the backup" };
        say!("the org's policy is {}, and whom it kept out is answered with {}", how, status)
    });
}

async fn judge_keys(inquiry: &mut Inquiry, keys: &Keys, home: &Client) {
    let RotatedKey { key: id, secret_number, last_four } = keys.before.clone();
    if let Some(key) = inquiry.learn("a key that was rotated before the backup", home.byok_key_view(id).await) {
        let same = key.secret_number == secret_number && key.last_four == last_four;
        inquiry.expect(same && key.revoked_at.is_none(), Code::KeyWithdrawn, || {
            let how = if same { "out of force" } else { "there with another secret" };
            say!("the key {}, which nobody has replaced since the backup, is {}", Uuid::from(id), how)
        });
    }
    let id = keys.after;
    if let Some(key) = inquiry.learn("a key that was rotated after the backup", home.byok_key_view(id).await) {
        inquiry.expect(key.revoked_at.is_some(), Code::KeyResurrected, || {
            say!("the key {} was replaced after the backup and is in force with the secret before", Uuid::from(id))
        });
    }
}

async fn judge_closed(inquiry: &mut Inquiry, closed: &[KnownChannel; 2], home: &Client) {
    for (channel, when) in closed.iter().zip(["before", "after"]) {
        let seen = home.channel_view(channel.channel).await;
        let Some(seen) = inquiry.learn("a channel that was closed", seen) else { continue };
        inquiry.expect(seen.value.closed_at.is_some(), Code::ChannelReopened, || {
            say!("the channel {} was closed {} the backup and is open", Uuid::from(channel.channel), when)
        });
    }
}

/// Row 7: what waited when the backup was taken.
pub(crate) async fn judge_waiting(inquiry: &mut Inquiry, backup: &Backup, kept: &Kept, operator: &Client) {
    let home = operator.in_org(kept.org);
    for begins in &kept.begins {
        judge_files(inquiry, begins, &home).await;
    }
    inquiry.record("sessions-with-files", &facts!({"sessions": kept.begins.len()}));
    judge_heard_later(inquiry, kept, &home).await;
    judge_heard_before(inquiry, backup, &kept.steered.heard, &home).await;
}

/// The session has no checkpoint, so its files are those of its source.
async fn judge_files(inquiry: &mut Inquiry, begins: &Beginning, home: &Client) {
    let (session, (file, sha256)) = (begins.session, &begins.file);
    let patience = inquiry.pace().patience;
    let ran = run_prompt(home, session, "drill-files", &format!("read {file}"), patience).await;
    let Some(command) = inquiry.learn("the first prompt of a session with files", ran) else { return };
    let events = events_after(home, session, 0).await;
    let Some(events) = inquiry.learn("the events of a session with files", events) else { return };
    let done = command.is_some_and(|command| command.state == "done");
    let found = events.iter().any(|event| event.payload.to_string().contains(sha256));
    inquiry.expect(done && found, Code::SourceLost, || {
        say!("session {}, which had done nothing before the backup, does not begin with its files", session)
    });
}

/// It waits for a turn that waits for a person. Somebody answers, and the turn hears it and ends it.
async fn judge_heard_later(inquiry: &mut Inquiry, kept: &Kept, home: &Client) {
    let Steering { session, command, word } = &kept.steered.waits;
    let Some(before) = inquiry.learn("a session that is steered", home.session_get(*session).await) else { return };
    let wish = Wish::Approve { request_id: kept.steered.request_id.clone() };
    let answered = home.command_submit(*session, "drill-steered", &wish).await;
    if inquiry.learn("answering a request", answered).is_none() {
        return;
    }
    let ended = eventually(inquiry.pace().patience, async || match home.command_get(*session, *command).await {
        Ok(command) if command.state == "pending" => None,
        Ok(command) => Some(Some(command)),
        // Nobody knows it any more.
        Err(error) if error.status() == Some(404) => Some(None),
        Err(_) => None,
    });
    // An attempt of its own is a turn of its own.
    let by_the_turn = ended.await.flatten().is_some_and(|command| command.state == "done" && command.attempt == 0);
    let heard = heard(home, *session, before.session.last_sequence, word).await;
    let Some(heard) = inquiry.learn("the events of a session that is steered", heard) else { return };
    inquiry.record("steering", &facts!({"ended_by_the_turn": by_the_turn, "heard": heard}));
    inquiry.expect(by_the_turn && heard == 1, Code::SteeringUnheard, || {
        say!("the turn that the command {} steers went on, and did not hear it once: {} times", command, heard)
    });
}

/// It was heard, and ended. A prompt of the same session is carried out after everything that waits before it.
async fn judge_heard_before(inquiry: &mut Inquiry, backup: &Backup, steering: &Steering, home: &Client) {
    let Steering { session, command, word } = steering;
    let rows: Vec<SessionRow> = inquiry.learn("the backup's sessions", backup.probe("sessions")).unwrap_or_default();
    let Some(before) = rows.iter().find(|row| row.session_id == *session) else {
        return inquiry.could_not("a session that was steered", "the backup does not have it");
    };
    let ran = run_prompt(home, *session, "drill-steered", "say and now", inquiry.pace().patience).await;
    if inquiry.learn("a prompt of a session that was steered", ran).flatten().is_none() {
        return inquiry.could_not("a session that was steered", "no worker carried a prompt out in it");
    }
    let heard = heard(home, *session, before.last_sequence, word).await;
    let Some(heard) = inquiry.learn("the events of a session that was steered", heard) else { return };
    inquiry.expect(heard == 0, Code::SteeringRepeated, || {
        say!("the command {} had steered a turn before the backup, and is carried out again", command)
    });
}

/// How often somebody says `word`, after an event.
async fn heard(home: &Client, session: ids::SessionId, after: i64, word: &str) -> Result<usize, client::Error> {
    let events = events_after(home, session, after).await?;
    let said = |event: &&client::Event| {
        let text = event.payload["text"].as_str().unwrap_or_default();
        event.payload["role"] == "user" && text.contains(word)
    };
    Ok(events.iter().filter(said).count())
}

/// Row 9: which secrets sign calls. Each call was accepted before the backup, so one that is taken changes nothing.
pub(crate) async fn judge_secrets(inquiry: &mut Inquiry, triggers: &Triggers, gateway: &str, sources: &Sources) {
    let Triggers { before, after } = triggers;
    for (rotated, older) in [(before, true), (after, false)] {
        let (workflow, Rotated { trigger, older: secret, call }) = (rotated.trigger.workflow, rotated);
        let in_force = repeat(gateway, trigger, call, sources).await;
        if let Some(taken) = inquiry.learn("a call that is signed with the secret in force", in_force) {
            inquiry.expect(taken, Code::CallRefused, || {
                say!("a call of workflow {} is refused that is signed with the secret in force", workflow)
            });
        }
        let trigger = KnownTrigger { signing_secret: secret.clone(), ..trigger.clone() };
        let with_older = repeat(gateway, &trigger, call, sources).await;
        let Some(taken) = inquiry.learn("a call that is signed with the secret of before", with_older) else {
            continue;
        };
        inquiry.record(if older { "call-in-an-overlap" } else { "call-after-a-rotation" }, &facts!({"taken": taken}));
        if older {
            inquiry.expect(taken, Code::CallRefused, || {
                say!(
                    "a call of workflow {} is refused that is signed with the secret of before, in an overlap",
                    workflow
                )
            });
        } else {
            inquiry.expect(!taken, Code::TriggerSecretResurrected, || {
                say!("a secret of workflow {} signs calls that was replaced after the backup", workflow)
            });
        }
    }
}

/// Row 9: nobody is heard by a channel that was closed.
pub(crate) async fn judge_doors(inquiry: &mut Inquiry, closed: &[KnownChannel; 2], gateway: &str, sources: &Sources) {
    let names = ["message-to-a-channel-closed-before", "message-to-a-channel-closed-after"];
    for ((channel, thread), name) in closed.iter().zip(CLOSED_THREADS).zip(names) {
        let answer = inbound::post(gateway, channel, thread, thread, "say who let me in", sources).await;
        let status = match answer {
            Ok(_) => Ok(202),
            Err(InboundError::Refused(status @ (404 | 410))) => Ok(status),
            Err(error) => Err(error),
        };
        let Some(status) = inquiry.learn("a message to a channel that was closed", status) else { continue };
        inquiry.record(name, &facts!({"status": status}));
        inquiry.expect(status != 202, Code::ChannelReopened, || {
            say!("the channel {} was closed before the disaster and takes a message", Uuid::from(channel.channel))
        });
    }
}

/// Whether the signature is taken.
async fn repeat(gateway: &str, trigger: &KnownTrigger, call: &Call, sources: &Sources) -> Result<bool, InboundError> {
    match inbound::call(gateway, trigger, &call.event_id, &call.data, sources).await {
        Ok(CallAnswer { .. }) => Ok(true),
        Err(InboundError::Refused(401)) => Ok(false),
        Err(error) => Err(error),
    }
}
