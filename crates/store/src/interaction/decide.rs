//! Deciding by a token: the decision, the command that it becomes and the message that brought it are one transaction.
//!
//! Not here: what an interaction is (`interaction`), messages that are prompts (`inbound`).

use domain::chat::{Act, Decision, NotAllowed, judge};
use domain::command::Wish;
use ids::{BindingId, ChannelId, ChannelIdentityId, CommandId, InteractionId, OrgId, SessionId};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::postgres::PgTransaction;

use super::{InteractionState, Row};
use crate::channel_identity::{Met, Sender, meet};
use crate::command::{EnqueueError, NewCommand, telling};
use crate::inbound::{self, Received};
use crate::outbox::{self, Effect};
use crate::wake::Wake;
use crate::{Channel, Store, StoreError, command, remembered};

/// A decision whose sender was verified.
#[derive(Debug, Clone)]
pub struct InboundDecision {
    /// The provider's id of the message; 1 to 150 characters.
    pub provider_event_id: String,
    /// Where it was said.
    pub thread: String,
    /// `None`: the message names nobody, who decides nothing.
    pub sender: Option<Sender>,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    pub decision: Decision,
    /// What the recovery ledger calls the message.
    pub digest: [u8; 32],
}

/// Why a token does not decide any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    #[error("this token has decided already")]
    Used,
    #[error("somebody spoke to the question already, or its turn has ended")]
    Ended,
    #[error("the token is too old")]
    Expired,
    #[error("the system was restored since the token was given out")]
    Void,
}

#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// Nobody was given such a token in this thread.
    #[error("there is no such token in this thread")]
    NoSuchToken,
    #[error(transparent)]
    Over(#[from] Over),
    #[error("the agent asks for {0}")]
    AnotherKind(&'static str),
    /// Trying again later helps.
    #[error("the same message came at once")]
    Contended,
    #[error("the decision can't be enqueued")]
    Enqueue(#[from] EnqueueError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database did not carry out interaction_decide")]
    Database(#[from] sqlx::Error),
}

/// What the recovery ledger calls a request of a session.
type Digests<'a> = &'a (dyn Fn(SessionId, &str) -> [u8; 32] + Sync);

/// What a token leads to.
struct Found {
    interaction: InteractionId,
    session: SessionId,
    binding: BindingId,
}

impl Store {
    /// Makes the decision a command of the session whose question the token is for. What is refused changes nothing, but that
    /// the sender may have a row from then on.
    pub async fn interaction_decide(
        &self,
        generation: i64,
        channel: &Channel,
        said: &InboundDecision,
        digests: Digests<'_>,
    ) -> Result<Received, DecisionError> {
        let mut tx = self.begin_of(channel.org).await?;
        let (event, inlet) = (&said.provider_event_id, channel.channel_id.into());
        if let Some(received) = inbound::earlier(&mut tx, channel, event).await? {
            return Ok(received);
        }
        if remembered::inbound(&mut tx, channel.org, inlet, &said.digest).await? {
            return Ok(Received { command: None, duplicate: true });
        }
        let met = match &said.sender {
            Some(sender) => Some(meet(&mut tx, &self.sources, channel, sender).await?),
            None => None,
        };
        let allowed = judge(Act::Decide, channel.unknown_may_prompt, met.as_ref().map(|met| &met.standing));
        let Some(met) = met.filter(|_| allowed.is_ok()) else {
            tx.commit().await?;
            return Err(allowed.err().unwrap_or(NotAllowed::Unnamed).into());
        };
        self.interaction_decide_in(tx, generation, channel, said, &met, digests).await
    }

    async fn interaction_decide_in(
        &self,
        mut tx: PgTransaction<'_>,
        generation: i64,
        channel: &Channel,
        said: &InboundDecision,
        met: &Met,
        digests: Digests<'_>,
    ) -> Result<Received, DecisionError> {
        let org = channel.org;
        let found = find(&mut tx, channel, said).await?.ok_or(DecisionError::NoSuchToken)?;
        lock_session(&mut tx, org, found.session).await?;
        let row = read(&mut tx, org, &found).await?;
        match row.state(generation, self.sources.now()) {
            InteractionState::Open => {}
            InteractionState::Decided => return Err(Over::Used.into()),
            InteractionState::Ended => return Err(Over::Ended.into()),
            InteractionState::Expired => return Err(Over::Expired.into()),
            InteractionState::Void => return Err(Over::Void.into()),
        }
        let wish = wish(&said.decision, &row)?;
        let interaction = digests(found.session, &row.request_id);
        if remembered::interaction(&mut tx, org, &interaction).await? {
            return Err(EnqueueError::SpokenTo.into());
        }
        let new = NewCommand {
            org,
            session: found.session,
            wish,
            idempotency_key: inbound::idempotency_key(channel, &said.provider_event_id),
            created_by: met.account,
        };
        let command = command::enqueue(&mut tx, &self.sources, &new).await?.command;
        let inlet = channel.channel_id.into();
        if !inbound::note(&mut tx, &self.sources, channel, &said.provider_event_id, (found.binding, command)).await? {
            return Err(DecisionError::Contended);
        }
        self.interaction_settle(&mut tx, org, found.interaction, (met.identity, command), &new.wish).await?;
        let used = Effect::InteractionUsed { org, interaction };
        let accepted = Effect::InboundAccepted { org, inlet, event: said.digest };
        outbox::insert(&mut tx, &self.sources, &[used, accepted]).await?;
        self.interaction_record(&mut tx, &new, &row, (met, command)).await?;
        tx.commit().await?;
        self.wakes.tell(Wake::Work);
        Ok(Received { command: Some(command), duplicate: false })
    }

    async fn interaction_settle(
        &self,
        connection: &mut PgConnection,
        org: OrgId,
        interaction: InteractionId,
        (identity, command): (ChannelIdentityId, CommandId),
        wish: &Wish,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "-- interaction_settle
            UPDATE interactions SET decision = $3, decided_by = $4, command_id = $5, decided_at = $6
            WHERE org_id = $1 AND interaction_id = $2",
            org as OrgId,
            interaction as InteractionId,
            wish.kind(),
            identity as ChannelIdentityId,
            command as CommandId,
            self.sources.now(),
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn interaction_record(
        &self,
        connection: &mut PgConnection,
        new: &NewCommand,
        row: &Row,
        (met, command): (&Met, CommandId),
    ) -> Result<(), sqlx::Error> {
        let detail = json!({"interaction_id": row.interaction_id, "channel_identity_id": met.identity});
        telling::record(connection, &self.sources, new, command, detail).await
    }
}

fn wish(decision: &Decision, row: &Row) -> Result<Wish, DecisionError> {
    let request_id = row.request_id.clone();
    match (decision, &*row.kind) {
        (Decision::Approve, "approval") => Ok(Wish::Approve { request_id }),
        (Decision::Reject, "approval") => Ok(Wish::Reject { request_id }),
        (Decision::Answer(answer), "answer") => Ok(Wish::Answer { request_id, answer: answer.clone() }),
        (_, "approval") => Err(DecisionError::AnotherKind("approval: approve or reject")),
        _ => Err(DecisionError::AnotherKind("an answer: answer")),
    }
}

/// Only in the thread that was told.
async fn find(
    connection: &mut PgConnection,
    channel: &Channel,
    said: &InboundDecision,
) -> Result<Option<Found>, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"-- interaction_find
        SELECT interaction_id AS "interaction: InteractionId", interactions.session_id AS "session: SessionId",
            binding_id AS "binding: BindingId"
        FROM interactions JOIN bindings USING (org_id, binding_id)
        WHERE org_id = $1 AND token_hash = $2 AND bindings.channel_id = $3 AND bindings.thread = $4"#,
        channel.org as OrgId,
        &said.token_hash[..],
        channel.channel_id as ChannelId,
        said.thread,
    )
    .fetch_optional(connection)
    .await
}

/// Whoever speaks to the session waits, and so does the end of its turn.
async fn lock_session(connection: &mut PgConnection, org: OrgId, session: SessionId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- interaction_lock_session
        SELECT last_sequence FROM sessions WHERE org_id = $1 AND session_id = $2 FOR NO KEY UPDATE",
        org as OrgId,
        session as SessionId,
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// As it is now, with the session's lock held.
async fn read(connection: &mut PgConnection, org: OrgId, found: &Found) -> Result<Row, sqlx::Error> {
    sqlx::query_file_as!(
        Row,
        "src/interaction/list.sql",
        org as OrgId,
        found.session as SessionId,
        Some(found.interaction) as Option<InteractionId>,
        None::<InteractionId> as Option<InteractionId>,
        1_i64,
    )
    .fetch_one(connection)
    .await
}
