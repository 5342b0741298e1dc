//! Messages that come in at a channel and become prompts, once each.
//!
//! The message, the prompt, what the audit trail is told of it, and for a thread that was never heard of its session,
//! binding and cursor are one transaction. A repeat of a provider's event id changes nothing and names the command that the
//! first one made. A message to an archived session brings it back: whoever writes in the thread can't.
//!
//! Who the sender is and whether they may prompt is asked in the same transaction. A message that is refused leaves nothing but
//! the sender's row.
//!
//! Not here: checking that it was signed (`channels`), decisions (`interaction`).

use clock::Sources;
use domain::chat::{Act, IdentityState, NotAllowed, judge};
use domain::command::Wish;
use ids::{BindingId, ChannelId, CommandId, OrgId, SessionId};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::postgres::PgTransaction;

use crate::binding::{BindingError, NewBinding};
use crate::channel::Channel;
use crate::channel_identity::{Met, Sender, meet};
use crate::command::{EnqueueError, Enqueued, NewCommand, telling};
use crate::outbox::{self, Effect};
use crate::session::NewSession;
use crate::wake::Wake;
use crate::{Store, StoreError, binding, command, deadlock, remembered, session};

/// What a session runs that a channel message began.
const AGENT: &str = "scripted";
/// Two senders may begin the same thread, or send the same event, at once; then one of them looks again. So does who was ended in a
/// deadlock. More losses in a row than this take as many rivals.
const TRIES: usize = 5;

/// A message whose sender was verified.
#[derive(Debug, Clone)]
pub struct InboundMessage {
    /// The provider's id of it; 1 to 150 characters, since it becomes part of an idempotency key.
    pub provider_event_id: String,
    /// 1 to 200 characters.
    pub thread: String,
    pub text: String,
    /// `None`: the message names nobody.
    pub sender: Option<Sender>,
    /// What the recovery ledger calls the event.
    pub digest: [u8; 32],
}

/// What stands for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// `None`: the message made a command that was lost with the system before a restore.
    pub command: Option<CommandId>,
    /// An earlier message with the same event id was accepted; nothing was done.
    pub duplicate: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum InboundError {
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// Trying again later helps.
    #[error("too many messages of one thread came at once")]
    Contended,
    #[error("the thread can't be bound to a session")]
    Binding(#[from] BindingError),
    #[error("the prompt can't be enqueued")]
    Enqueue(#[from] EnqueueError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database did not carry out inbound_receive")]
    Database(#[from] sqlx::Error),
}

impl InboundError {
    /// What the database said, whoever asked.
    fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error)
            | Self::Binding(BindingError::Database(error))
            | Self::Enqueue(EnqueueError::Database(error))
            | Self::Store(StoreError::Database { source: error, .. }) => Some(error),
            Self::NotAllowed(_) | Self::Contended | Self::Binding(_) | Self::Enqueue(_) | Self::Store(_) => None,
        }
    }
}

impl Store {
    /// Makes the message a prompt of its thread's session, beginning one (in `generation`) if the thread is new.
    pub async fn inbound_receive(
        &self,
        generation: i64,
        channel: &Channel,
        message: &InboundMessage,
    ) -> Result<Received, InboundError> {
        for _ in 0..TRIES {
            let mut tx = self.begin_of(channel.org).await?;
            if let Some(received) = earlier(&mut tx, channel, &message.provider_event_id).await? {
                return Ok(received);
            }
            if remembered::inbound(&mut tx, channel.org, channel.channel_id.into(), &message.digest).await? {
                return Ok(Received { command: None, duplicate: true });
            }
            let met = match &message.sender {
                Some(sender) => Some(meet(&mut tx, &self.sources, channel, sender).await?),
                None => None,
            };
            let allowed = judge(Act::Prompt, channel.unknown_may_prompt, met.as_ref().map(|met| &met.standing));
            if let Err(refused) = allowed {
                // Whoever wrote has a row from now on, for somebody to look at.
                tx.commit().await?;
                return Err(refused.into());
            }
            match self.receive(tx, generation, channel, (message, met)).await {
                Ok(Some(received)) => return Ok(received),
                Ok(None) => {}
                Err(error) if error.database().is_some_and(deadlock::is) => {}
                Err(error) => return Err(error),
            }
        }
        Err(InboundError::Contended)
    }

    /// `None`: somebody was faster; nothing was written.
    async fn receive(
        &self,
        mut tx: PgTransaction<'_>,
        generation: i64,
        channel: &Channel,
        (message, met): (&InboundMessage, Option<Met>),
    ) -> Result<Option<Received>, InboundError> {
        let (binding, session) = match thread(&mut tx, channel, message).await? {
            Some(bound) => {
                session::bring_back(&mut tx, &self.sources, channel.org, bound.1).await?;
                bound
            }
            None => match self.begin_thread(&mut tx, generation, channel, message).await {
                Err(InboundError::Binding(BindingError::ThreadTaken)) => return Ok(None),
                begun => begun?,
            },
        };
        let new = prompt(channel, session, message, met);
        let Enqueued { command, created, .. } = command::enqueue(&mut tx, &self.sources, &new).await?;
        if !note(&mut tx, &self.sources, channel, &message.provider_event_id, (binding, command)).await? {
            return Ok(None);
        }
        if created {
            let detail = json!({"channel_id": channel.channel_id, "channel_identity_id": met.map(|met| met.identity)});
            telling::record(&mut tx, &self.sources, &new, command, detail).await?;
        }
        let (org, inlet, event) = (channel.org, channel.channel_id.into(), message.digest);
        let accepted = Effect::InboundAccepted { org, inlet, event };
        outbox::insert(&mut tx, &self.sources, &[accepted]).await?;
        tx.commit().await?;
        self.wakes.tell(Wake::Work);
        Ok(Some(Received { command: Some(command), duplicate: false }))
    }

    async fn begin_thread(
        &self,
        connection: &mut PgConnection,
        generation: i64,
        channel: &Channel,
        message: &InboundMessage,
    ) -> Result<(BindingId, SessionId), InboundError> {
        let title = format!("{}: {}", channel.name, message.thread);
        let new = NewSession { org: channel.org, created_by: None, title, agent: AGENT.to_owned() };
        let session = session::insert(connection, &self.sources, generation, &new).await?;
        let thread = message.thread.clone();
        let new = NewBinding { org: channel.org, channel: channel.channel_id, thread, session };
        Ok((binding::insert(connection, &self.sources, &new).await?.binding_id, session))
    }
}

/// The message as a wish of the member that its sender is, if it is one.
fn prompt(channel: &Channel, session: SessionId, message: &InboundMessage, met: Option<Met>) -> NewCommand {
    NewCommand {
        org: channel.org,
        session,
        wish: Wish::Prompt { text: message.text.clone() },
        idempotency_key: idempotency_key(channel, &message.provider_event_id),
        created_by: met.filter(|met| met.standing.state == IdentityState::Active).and_then(|met| met.account),
    }
}

pub(crate) fn idempotency_key(channel: &Channel, provider_event_id: &str) -> String {
    format!("inbound:{}:{provider_event_id}", channel.channel_id)
}

/// `false`: a message with this event id was noted meanwhile.
pub(crate) async fn note(
    connection: &mut PgConnection,
    sources: &Sources,
    channel: &Channel,
    provider_event_id: &str,
    (binding, command): (BindingId, CommandId),
) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query!(
        "-- inbound_note
        INSERT INTO inbound_messages (org_id, channel_id, provider_event_id, binding_id, command_id, received_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        channel.org as OrgId,
        channel.channel_id as ChannelId,
        provider_event_id,
        binding as BindingId,
        command as CommandId,
        sources.now(),
    )
    .execute(connection)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// What a message came to that had this id.
pub(crate) async fn earlier(
    connection: &mut PgConnection,
    channel: &Channel,
    provider_event_id: &str,
) -> Result<Option<Received>, sqlx::Error> {
    let command = sqlx::query_scalar!(
        r#"-- inbound_earlier
        SELECT command_id AS "command: CommandId" FROM inbound_messages
        WHERE org_id = $1 AND channel_id = $2 AND provider_event_id = $3"#,
        channel.org as OrgId,
        channel.channel_id as ChannelId,
        provider_event_id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(command.map(|command| Received { command: Some(command), duplicate: true }))
}

async fn thread(
    connection: &mut PgConnection,
    channel: &Channel,
    message: &InboundMessage,
) -> Result<Option<(BindingId, SessionId)>, sqlx::Error> {
    let row = sqlx::query!(
        // Locked, so that the message comes before an unbinding or after it.
        r#"-- inbound_thread
        SELECT binding_id AS "binding: BindingId", session_id AS "session: SessionId" FROM bindings
        WHERE org_id = $1 AND channel_id = $2 AND thread = $3 FOR KEY SHARE"#,
        channel.org as OrgId,
        channel.channel_id as ChannelId,
        message.thread,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.binding, row.session)))
}
