//! What people do in a chat: they write, are admitted or disabled, and decide what agents ask them there.
//!
//! Not here: other messages (`messages`), what has to stand of it (`rehearsal::people`).

use anyhow::{Context as _, anyhow};
use client::{ChannelIdentityChange, Client};
use ids::{AccountId, ChannelIdentityId};

use super::{Life, until};
use crate::api::{self, persist};
use crate::inbound::{Message, Words};
use crate::rehearsal::people::{Decided, Disabled, People, Person, Question, When};
use crate::said::Sentence;
use crate::sink::{Asked, Sink};

/// What the chat calls them.
const DECIDER: &str = "chat-decider";
const DISABLED: &str = "chat-disabled";
const TO_DISABLE: &str = "chat-to-be-disabled";
const NEWCOMER: &str = "chat-newcomer";

/// A thread for each question: one stays open, one is decided before the backup, one after it.
const THREADS: [&str; 3] = ["chat-open", "chat-before", "chat-after"];
/// A thread in which nobody asks anything.
const HALL: &str = "chat-hall";

/// Who was admitted, and who disabled.
#[derive(Debug)]
pub(super) struct Admitted {
    decider: Person,
    member: AccountId,
    disabled: Person,
    to_disable: Person,
}

/// What was asked and decided when the backup is taken.
#[derive(Debug)]
pub(super) struct Told {
    open: Question,
    before: Decided,
    after: Question,
}

/// What happened after it.
#[derive(Debug)]
pub(super) struct Changed {
    after: Decided,
    disabled: [Disabled; 2],
}

impl Life {
    /// People write for the first time, and somebody says what they may do. Agents ask in three threads.
    pub(super) async fn admit(&self) -> anyhow::Result<()> {
        let (_, client) = self.client(0);
        for thread in THREADS {
            self.chat(thread, DECIDER, Words::Text("say ready\napprove deploy as the chat says\nsay deployed")).await?;
        }
        for person in [DISABLED, TO_DISABLE] {
            self.chat(HALL, person, Words::Text("say good morning")).await?;
        }
        let member = async |name: &str| {
            let email = format!("{}@people.invalid", hex::encode(self.sources.bytes::<8>()));
            let member = persist(async || client.member_create(&email, name, "member").await).await;
            anyhow::Ok(member.context("a member can't be added")?.account_id)
        };
        let (member, other) = (member("Hedy").await?, member("Radia").await?);
        let decider = self.say_what_may(&client, DECIDER, "active", Some(member)).await?;
        let disabled = self.say_what_may(&client, DISABLED, "disabled", None).await?;
        let to_disable = self.say_what_may(&client, TO_DISABLE, "active", Some(other)).await?;
        let admitted = Admitted { decider, member, disabled, to_disable };
        self.admitted.set(admitted).map_err(|_| anyhow!("`populate` has run before"))
    }

    /// Waits until the threads were told of the questions, and has one decided there.
    pub(super) async fn decide_by_chat(&self, sink: &Sink) -> anyhow::Result<()> {
        // As little as a drill can ask about has no chat.
        if self.admitted.get().is_none() {
            return Ok(());
        }
        let (_, client) = self.client(0);
        let [open, before, after] = THREADS;
        let open = self.told_of(&client, sink, open).await?;
        let before = self.decide(self.told_of(&client, sink, before).await?).await?;
        self.idle(&client, before.question.session).await?;
        let after = self.told_of(&client, sink, after).await?;
        self.told.set(Told { open, before, after }).map_err(|_| anyhow!("`settle` has run before"))
    }

    /// After the backup: another question is decided, somebody is disabled, and somebody who was not there before.
    pub(super) async fn change_chat(&self) -> anyhow::Result<()> {
        let (Some(admitted), Some(told)) = (self.admitted.get(), self.told.get()) else { return Ok(()) };
        let (_, client) = self.client(0);
        let after = self.decide(told.after.clone()).await?;
        let when = When::After(self.sources.now());
        self.say_what_may(&client, TO_DISABLE, "disabled", None).await?;
        let known = Disabled { person: admitted.to_disable, when };
        self.chat("chat-newcomer", NEWCOMER, Words::Text("say good evening")).await?;
        let person = self.say_what_may(&client, NEWCOMER, "disabled", None).await?;
        let disabled = [known, Disabled { person, when: When::AfterAsNewcomer }];
        self.changed.set(Changed { after, disabled }).map_err(|_| anyhow!("`live_on` has run before"))
    }

    /// `None`: it did not come as far.
    pub(super) fn people(&self) -> Option<People> {
        let (admitted, told, changed) = (self.admitted.get()?, self.told.get()?, self.changed.get()?);
        let before = Disabled { person: admitted.disabled, when: When::BeforeBackup };
        Some(People {
            org: self.orgs[0],
            channel: self.channels.chat.clone(),
            hall: HALL,
            decider: admitted.decider,
            member: admitted.member,
            disabled: [before].into_iter().chain(changed.disabled).collect(),
            open: told.open.clone(),
            decided: [told.before.clone(), changed.after.clone()],
        })
    }

    async fn chat(&self, thread: &'static str, sender: &'static str, words: Words<'_>) -> anyhow::Result<()> {
        self.deliver(&self.channels.chat, 0, &Message { thread, sender: Some(sender), words }).await.map(drop)
    }

    async fn decide(&self, question: Question) -> anyhow::Result<Decided> {
        let words = Words::Approve(&question.token);
        let message = Message { thread: question.thread, sender: Some(DECIDER), words };
        let (event_id, command) = self.deliver(&self.channels.chat, 0, &message).await?;
        Ok(Decided { question, event_id, command })
    }

    /// Whoever has an account may decide, too. Who is disabled could prompt otherwise.
    async fn say_what_may(
        &self,
        client: &Client,
        external_id: &'static str,
        state: &str,
        account_id: Option<AccountId>,
    ) -> anyhow::Result<Person> {
        let identity = identity_of(client, external_id).await?;
        let may_decide = account_id.is_some();
        let change = ChannelIdentityChange { account_id, may_prompt: true, may_decide, state: state.to_owned() };
        let changed = persist(async || client.channel_identity_change(identity, &change, None).await).await;
        changed.context("what a person in a chat may do can't be said")?;
        Ok(Person { identity, external_id })
    }

    /// Waits until the thread is told what its agent asks.
    async fn told_of(&self, client: &Client, sink: &Sink, thread: &'static str) -> anyhow::Result<Question> {
        let asked = || sink.since(0).into_iter().filter(|one| one.thread == thread).find_map(|one| one.asked);
        until("a thread is told of a question", async || asked().is_some()).await?;
        let Asked { session, interaction, token } = asked().context("it was told a moment ago")?;
        let (session, interaction) = (session.into(), interaction.into());
        let told = persist(async || client.interaction_view(session, interaction).await).await;
        let request_id = told.context("a question that a thread was told of can't be read")?.request_id;
        Ok(Question { session, thread, interaction, request_id, token })
    }
}

async fn identity_of(client: &Client, external_id: &str) -> anyhow::Result<ChannelIdentityId> {
    let known = persist(async || api::channel_identities(client).await).await?;
    let found = known.iter().find(|known| known.external_id == external_id).map(|known| known.channel_identity_id);
    Ok(found.ok_or_else(|| Sentence::from("nobody knows who wrote in a chat"))?)
}
