//! People in a chat, and what agents asked them there: parts of rows 4 and 9, which have the role that serves each.
//!
//! Who may do what is the backup's, but for those who were disabled since: they stay so, and so does somebody who had not written
//! before (rows 4 and 9). A token of the lost system decides nothing. What was open is decided through the API; what was decided by
//! chat, before the backup or after it, is not decided again (row 9).
//!
//! Not here: requests that were answered through the API (`standing`), other messages (`gateway`).

use std::time::Duration;

use chrono::TimeDelta;
use client::{ChannelIdentity, Client, Wish};
use clock::{Sources, Timestamp};
use ids::CommandId;
use uuid::Uuid;

use super::{Inquiry, eventually};
use crate::backup::Backup;
use crate::inbound::{self, Answer, InboundError, Message, Words};
use crate::rehearsal::people::{Decided, Disabled, People, Person, Question, When};
use crate::report::Code;
use crate::said::{facts, say};

/// What was disabled longer than this before the snapshot the backup knows, and a replay leaves it alone; it takes clocks for as
/// much apart, and a bit more. Backups that the corpus makes of an old photograph are of that kind.
const KNOWN_AFTER: TimeDelta = TimeDelta::minutes(4);

/// What an operator reads of a person whom a message named; `None`: nobody knows them.
async fn seen(home: &Client, person: &Person) -> Result<Option<ChannelIdentity>, client::Error> {
    match home.channel_identity_view(person.identity).await {
        Ok(seen) => Ok(Some(seen.value)),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a restore has to know of it.
fn due(disabled: &Disabled, taken_at: Timestamp) -> bool {
    match disabled.when {
        When::BeforeBackup | When::AfterAsNewcomer => true,
        When::After(at) => taken_at < at + KNOWN_AFTER,
    }
}

/// Row 4: who may do what, as the API tells it.
pub(crate) async fn judge_listed(inquiry: &mut Inquiry, backup: &Backup, people: &People, operator: &Client) {
    let home = operator.in_org(people.org);
    let decider = Uuid::from(people.decider.identity);
    if let Some(known) = inquiry.learn("a person in a chat", seen(&home, &people.decider).await) {
        let same = known.is_some_and(|it| {
            it.state == "active" && it.account_id == Some(people.member) && it.may_prompt && it.may_decide
        });
        inquiry.record("person-in-chat", &facts!({"as_in_the_backup": same}));
        inquiry.expect(same, Code::IdentityTerms, || {
            say!("the person {} may do something else in its chat than in the backup, or is another member", decider)
        });
    }
    let taken_at = backup.manifest.snapshot.taken_at;
    let in_backup = |it: &&Disabled| it.when != When::AfterAsNewcomer && due(it, taken_at);
    for Disabled { person, .. } in people.disabled.iter().filter(in_backup) {
        let known = inquiry.learn("a person who was disabled in a chat", seen(&home, person).await);
        let Some(known) = known else { continue };
        let disabled = known.is_some_and(|known| known.state == "disabled");
        inquiry.expect(disabled, Code::IdentityResurrected, || {
            say!("the person {} was disabled in its chat before the disaster and is not", Uuid::from(person.identity))
        });
    }
}

/// The chat, as its bridge speaks for those who are in it.
#[derive(Debug)]
struct Chat<'a> {
    people: &'a People,
    home: Client,
    gateway: &'a str,
    sources: &'a Sources,
}

impl Chat<'_> {
    /// `None`: it is refused.
    async fn say(
        &self,
        event_id: &str,
        thread: &str,
        person: Person,
        words: Words<'_>,
    ) -> Result<Result<Answer, u16>, InboundError> {
        let message = Message { thread, sender: Some(person.external_id), words };
        match inbound::say(self.gateway, &self.people.channel, event_id, &message, self.sources).await {
            Ok(answer) => Ok(Ok(answer)),
            // 401 is about the signature, and not about who says what.
            Err(InboundError::Refused(status @ (403 | 404 | 409 | 422))) => Ok(Err(status)),
            Err(error) => Err(error),
        }
    }

    /// Somebody who may decide approves what the thread was asked. Gives the status.
    async fn approve(&self, event_id: &str, question: &Question) -> Result<u16, InboundError> {
        let words = Words::Approve(&question.token);
        let answer = self.say(event_id, question.thread, self.people.decider, words).await?;
        Ok(answer.map_or_else(|status| status, |_| 202))
    }

    /// `None`: nobody knows that the thread was told of it.
    async fn interaction(&self, question: &Question) -> Result<Option<client::Interaction>, client::Error> {
        match self.home.interaction_view(question.session, question.interaction).await {
            Ok(told) => Ok(Some(told)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a decision was carried out well. `None`: nobody has, so far.
    async fn carried_out(&self, question: &Question, command: CommandId, patience: Duration) -> Option<bool> {
        let ended = eventually(patience, async || {
            let command = self.home.command_get(question.session, command).await.ok()?;
            (command.state != "pending").then_some(command.state == "done")
        });
        ended.await
    }

    /// Approves through the API. `Err`: the status of a refusal.
    async fn approve_by_api(&self, key: &str, question: &Question) -> Result<Result<CommandId, u16>, client::Error> {
        let wish = Wish::Approve { request_id: question.request_id.clone() };
        match self.home.command_submit(question.session, key, &wish).await {
            Ok(taken) => Ok(Ok(taken.command_id)),
            Err(error) => error.status().map(Err).ok_or(error),
        }
    }
}

/// Row 9: what is heard of whom, and what decides.
pub(crate) async fn judge_chat(
    inquiry: &mut Inquiry,
    backup: &Backup,
    people: &People,
    operator: &Client,
    (gateway, sources): (&str, &Sources),
) {
    let chat = Chat { people, home: operator.in_org(people.org), gateway, sources };
    for (number, disabled) in people.disabled.iter().enumerate() {
        if due(disabled, backup.manifest.snapshot.taken_at) {
            judge_disabled(inquiry, &chat, &format!("drill-disabled-{number}"), disabled.person).await;
        }
    }
    judge_open(inquiry, &chat, &people.open).await;
    let [before, after] = &people.decided;
    judge_decided(inquiry, &chat, before, true).await;
    judge_decided(inquiry, &chat, after, false).await;
}

async fn judge_disabled(inquiry: &mut Inquiry, chat: &Chat<'_>, event_id: &str, person: Person) {
    let answer = chat.say(event_id, chat.people.hall, person, Words::Text("say who let me in")).await;
    let Some(answer) = inquiry.learn("a message of somebody who was disabled", answer) else { return };
    let status = answer.map_or_else(|status| status, |_| 202);
    inquiry.expect(status == 403, Code::IdentityResurrected, || {
        let person = Uuid::from(person.identity);
        say!("a message of {}, who was disabled before the disaster, is answered with {}, not 403", person, status)
    });
}

/// Its token is void, though the member may decide, and the API decides it.
async fn judge_open(inquiry: &mut Inquiry, chat: &Chat<'_>, question: &Question) {
    let by_token = chat.approve("drill-question", question).await;
    let Some(by_token) = inquiry.learn("a token of a question that is open", by_token) else { return };
    inquiry.record("token-of-an-open-question", &facts!({"status": by_token}));
    inquiry.expect(by_token != 403, Code::IdentityRefused, || {
        let person = Uuid::from(chat.people.decider.identity);
        say!("the person {}, who may decide in its chat, is refused", person)
    });
    inquiry.expect(by_token != 202, Code::QuestionTokenInForce, || {
        say!("a token that the lost system gave out decided a question of session {}", question.session)
    });
    if by_token == 202 {
        return;
    }
    let Some(told) = inquiry.learn("a question that is open", chat.interaction(question).await) else { return };
    let taken = chat.approve_by_api("drill-question", question).await;
    let Some(taken) = inquiry.learn("deciding an open question", taken) else { return };
    let done = match taken {
        Ok(command) => chat.carried_out(question, command, inquiry.pace().patience).await,
        Err(_) => Some(false),
    };
    let Some(done) = done else {
        return inquiry.could_not("deciding an open question", "no worker carried the decision out");
    };
    let known = told.is_some_and(|told| told.state == "void");
    inquiry.record("open-question", &facts!({"known_as_void": known, "decided_by_api": done}));
    inquiry.expect(known && done, Code::QuestionLost, || {
        let how =
            if known { "the API does not decide it" } else { "it is not known, or not as one that the API decides" };
        say!("session {} asked something before the backup, and {}", question.session, how)
    });
}

/// The message that decided is a repeat, the token decides nothing, and what was decided is known: by its row, or by the recovery
/// ledger.
async fn judge_decided(inquiry: &mut Inquiry, chat: &Chat<'_>, decided: &Decided, in_backup: bool) {
    let Decided { question, event_id, command } = decided;
    let words = Words::Approve(&question.token);
    let again = chat.say(event_id, question.thread, chat.people.decider, words).await;
    let Some(again) = inquiry.learn("a decision that is repeated", again) else { return };
    let expected = in_backup.then_some(*command);
    let repeat = again.is_ok_and(|answer| answer.duplicate && answer.command_id == expected);
    let name = if in_backup { "drill-decided-before" } else { "drill-decided-after" };
    let anew = chat.approve(name, question).await;
    let Some(anew) = inquiry.learn("a token that has decided", anew) else { return };
    let known = if in_backup {
        let told = inquiry.learn("a question that was decided", chat.interaction(question).await);
        let Some(told) = told else { return };
        told.is_some_and(|told| told.state == "decided" && told.command_id == expected)
    } else {
        let taken = chat.approve_by_api(name, question).await;
        let Some(taken) = inquiry.learn("a question that was decided", taken) else { return };
        taken == Err(409)
    };
    let seen = facts!({"repeat_is_known": repeat, "status_of_its_token": anew, "known": known});
    inquiry.record(if in_backup { "decided-before" } else { "decided-after" }, &seen);
    inquiry.expect(repeat && anew != 202 && known, Code::DecisionForgotten, || {
        let when = if in_backup { "before the backup" } else { "after the backup" };
        say!("a question of session {} was decided by chat {}, and this is not known", question.session, when)
    });
}
