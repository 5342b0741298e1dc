//! What comes to the source from outside, and where its answers go: a channel for each behaviour of their receivers.
//!
//! Not here: the receivers themselves (`sink`), calls of workflows (`workflows`).

use anyhow::{Context as _, bail};
use client::Client;
use ids::{CommandId, OrgId};
use redact::CanaryClass;
use secrecy::ExposeSecret as _;

use super::{Life, PATIENCE, until};
use crate::api::persist;
use crate::checks::eventually;
use crate::inbound::{self, Message, Words};
use crate::rehearsal::canaries::{Canaries, Planted};
use crate::rehearsal::{Acknowledged, Inbound, KnownChannel};
use crate::said::Sentence;
use crate::sink::{HEARD, PLAIN, Sink};

#[derive(Debug)]
pub(super) struct Channels {
    pub(super) accept: KnownChannel,
    pub(super) flaky: KnownChannel,
    pub(super) refuse: KnownChannel,
    pub(super) later: KnownChannel,
    /// People in it are known.
    pub(super) chat: KnownChannel,
    /// Its receiver sees repeats.
    pub(super) plain: KnownChannel,
    /// Answer only after the backup; the second one's receiver sees repeats.
    pub(super) slow: [KnownChannel; 2],
    /// Never answer; the same.
    pub(super) silent: [KnownChannel; 2],
    /// Are closed for good: one before the backup, one after it. Nobody ever writes there.
    pub(super) closed: [KnownChannel; 2],
}

impl Channels {
    pub(super) async fn open(
        client: &Client,
        org: OrgId,
        sink: &Sink,
        planted: &Planted,
        canaries: &mut Canaries,
    ) -> anyhow::Result<Self> {
        let mut open = async |behaviour: &str, name: &str| -> anyhow::Result<KnownChannel> {
            let url = format!("{}?X-Amz-Signature={}", sink.url(behaviour, name), planted.signed_url_query);
            let channel = if name.ends_with(PLAIN) {
                client.channel_create_without_deduplication(name, &url).await?
            } else {
                client.channel_create(name, &url).await?
            };
            let Some(signing_secret) = channel.signing_secret else { bail!("a new channel came without its secret") };
            sink.expect_signature(name, signing_secret.expose_secret());
            canaries.add(CanaryClass::ChannelCredential, "a channel's signing secret", signing_secret.expose_secret());
            Ok(KnownChannel { org, channel: channel.channel_id, signing_secret })
        };
        let plain = |behaviour: &str| format!("{behaviour}{PLAIN}");
        Ok(Self {
            accept: open("accept", "accept").await?,
            flaky: open("flaky", "flaky").await?,
            refuse: open("refuse", "refuse").await?,
            later: open("later", "later").await?,
            chat: open("accept", "chat").await?,
            plain: open("accept", &plain("accept")).await?,
            slow: [open("slow", "slow").await?, open("slow", &plain("slow")).await?],
            silent: [open("silent", "silent").await?, open("silent", &plain("silent")).await?],
            closed: [open("accept", "closed").await?, open("accept", "to-close").await?],
        })
    }
}

impl Life {
    /// Closes a channel for good. The system has acknowledged it when this returns.
    pub(super) async fn close(&self, channel: &KnownChannel) -> anyhow::Result<()> {
        let home = self.operator.in_org(channel.org);
        let closed = persist(async || home.channel_close(channel.channel).await).await;
        closed.context("a channel can't be closed")
    }

    /// Deliveries that are under way from before the backup on: some are answered after it, some never.
    pub(super) async fn keep_under_way(&self, sink: &Sink) -> anyhow::Result<()> {
        let Channels { slow, silent, .. } = &self.channels;
        for (number, channel) in (0..).zip(slow) {
            self.receive(channel, number, "slow", "say take your time").await?;
        }
        for (number, channel) in (0..).zip(silent) {
            for thread in [format!("{HEARD}-{number}"), format!("unheard-{number}")] {
                self.receive(channel, number, &thread, "say do you hear me").await?;
            }
        }
        until("deliveries are under way", async || {
            let under_way = sink.since(0).iter().filter(|received| received.answered_at.is_none()).count();
            under_way >= slow.len() + 2 * silent.len()
        })
        .await
    }

    /// Messages from outside, in threads of the three channels.
    pub(super) async fn threads(&self) -> anyhow::Result<()> {
        for number in 0..6 {
            self.receive(&self.channels.accept, number, &format!("support-{}", number % 3), "say at your service")
                .await?;
        }
        for number in 0..2 {
            self.receive(&self.channels.flaky, number, &format!("flaky-{number}"), "say did you hear me").await?;
        }
        self.receive(&self.channels.plain, 0, "plain-0", "say at your service").await?;
        self.receive(&self.channels.refuse, 0, "refused", "say is anybody there").await
    }

    /// One that is answered, and one whose answer nobody takes.
    pub(super) async fn two_messages(&self) -> anyhow::Result<()> {
        self.receive(&self.channels.accept, 0, "support-0", "say at your service").await?;
        self.receive(&self.channels.refuse, 0, "refused", "say is anybody there").await
    }

    pub(super) async fn receive(
        &self,
        channel: &KnownChannel,
        number: u32,
        thread: &str,
        text: &str,
    ) -> anyhow::Result<()> {
        let message = Message { thread, sender: None, words: Words::Text(text) };
        let (event_id, command) = self.deliver(channel, number, &message).await?;
        if channel.channel == self.channels.accept.channel {
            let (thread, text, at) = (thread.to_owned(), text.to_owned(), self.sources.now());
            self.memory().inbound.push(Inbound { event_id, thread, text, command, at });
        }
        Ok(())
    }

    /// Sends a message until it is taken, and remembers that it was acknowledged. Gives the provider's id of it, and its command.
    pub(super) async fn deliver(
        &self,
        channel: &KnownChannel,
        number: u32,
        message: &Message<'_>,
    ) -> anyhow::Result<(String, CommandId)> {
        let event_id = {
            let mut memory = self.memory();
            memory.messages += 1;
            format!("msg_{}_{number}", memory.messages)
        };
        let sent = async || inbound::say(&self.urls.gateway, channel, &event_id, message, &self.sources).await;
        let answer = eventually(PATIENCE, async || sent().await.ok()).await;
        let answer = answer.ok_or_else(|| Sentence::from("the gateway takes no message"))?;
        let at = self.sources.now();
        // `None` is for what was accepted before a restore, and this system never was restored.
        let command = answer.command_id.context("the gateway gives no command for a new message")?;
        self.memory().acknowledged.push(Acknowledged { command, at });
        Ok((event_id, command))
    }
}
