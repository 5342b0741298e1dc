//! Interactions: questions of agents that a thread was told of, each with a token by which somebody in the chat decides it, once.
//!
//! A row is written with the delivery that tells the thread. Only the SHA-256 of its token is stored, and the delivery holds none:
//! the gateway computes it anew when it sends. A token decides one question of one session, in the thread that was told; it is void
//! when the question is decided, however that was, when its turn has ended, after [`INTERACTION_LIFE`], and in every later
//! generation: a restore brings no token back.
//!
//! Whoever decides holds the lock of the session, so of several decisions the first one counts. It is one transaction with the
//! command that it becomes.
//!
//! Not here: who may decide (`domain::chat`), what a token is made of (`secrets`), decisions by the API (`command`).

mod decide;

use clock::Timestamp;
use domain::chat::INTERACTION_LIFE;
use domain::projection::RequestKind;
use ids::{BindingId, ChannelIdentityId, CommandId, InteractionId, OrgId, SessionId};
use sqlx::PgConnection;

pub use self::decide::{DecisionError, InboundDecision, Over};
use crate::cursor::BehindCursor;
use crate::{Store, StoreError};

/// A question that a thread is told of.
#[derive(Debug, Clone)]
pub struct NewInteraction {
    pub interaction: InteractionId,
    pub request_id: String,
    pub kind: RequestKind,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    pub expires_at: Timestamp,
    pub generation: i64,
}

impl NewInteraction {
    /// When a token that is made now is void.
    #[must_use]
    pub fn expiry(now: Timestamp) -> Timestamp {
        now + INTERACTION_LIFE
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InteractionState {
    /// The token decides.
    Open,
    /// It was decided by this token.
    Decided,
    /// The session waits for this question no longer, or somebody else spoke to it.
    Ended,
    Expired,
    /// The thread was told by the system that this one was restored from.
    Void,
}

impl InteractionState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Decided => "decided",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Void => "void",
        }
    }
}

/// An interaction, without its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interaction {
    pub interaction_id: InteractionId,
    pub session_id: SessionId,
    pub binding_id: BindingId,
    pub request_id: String,
    pub kind: String,
    pub state: InteractionState,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// `approve`, `reject` or `answer`. `None`: nobody decided by its token.
    pub decision: Option<String>,
    /// `None`: nobody, or the person was erased.
    pub decided_by: Option<ChannelIdentityId>,
    pub command_id: Option<CommandId>,
    pub decided_at: Option<Timestamp>,
}

pub(crate) struct Row {
    interaction_id: InteractionId,
    session_id: SessionId,
    binding_id: BindingId,
    request_id: String,
    kind: String,
    generation: i64,
    created_at: Timestamp,
    expires_at: Timestamp,
    decision: Option<String>,
    decided_by: Option<ChannelIdentityId>,
    command_id: Option<CommandId>,
    decided_at: Option<Timestamp>,
    /// Whether the session waits for it, and nobody has spoken to it.
    waits: bool,
}

impl Row {
    fn state(&self, generation: i64, now: Timestamp) -> InteractionState {
        match () {
            () if self.decision.is_some() => InteractionState::Decided,
            () if !self.waits => InteractionState::Ended,
            () if self.generation != generation => InteractionState::Void,
            () if self.expires_at <= now => InteractionState::Expired,
            () => InteractionState::Open,
        }
    }

    fn read(self, generation: i64, now: Timestamp) -> Interaction {
        let state = self.state(generation, now);
        let Self { interaction_id, session_id, binding_id, request_id, kind, created_at, expires_at, .. } = self;
        let Self { decision, decided_by, command_id, decided_at, .. } = self;
        Interaction {
            interaction_id,
            session_id,
            binding_id,
            request_id,
            kind,
            state,
            created_at,
            expires_at,
            decision,
            decided_by,
            command_id,
            decided_at,
        }
    }
}

/// Writes down that the thread is told of a question, in the transaction that writes the delivery.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    cursor: &BehindCursor,
    new: &NewInteraction,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- interaction_insert
        INSERT INTO interactions (org_id, interaction_id, session_id, binding_id, request_id, kind, token_hash, generation,
            created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        cursor.org as OrgId,
        new.interaction as InteractionId,
        cursor.session_id as SessionId,
        cursor.binding_id as BindingId,
        new.request_id,
        word(new.kind),
        &new.token_hash[..],
        new.generation,
        now,
        new.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// As it stands in SQL and JSON.
fn word(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Approval => "approval",
        RequestKind::Answer => "answer",
    }
}

impl Store {
    /// Those of a session, or one of them, in the order that the threads were told, as `generation` sees them.
    pub async fn interaction_list(
        &self,
        (org, session): (OrgId, SessionId),
        generation: i64,
        only: Option<InteractionId>,
        after: Option<InteractionId>,
        limit: i64,
    ) -> Result<Vec<Interaction>, StoreError> {
        let rows = sqlx::query_file_as!(
            Row,
            "src/interaction/list.sql",
            org as OrgId,
            session as SessionId,
            only as Option<InteractionId>,
            after as Option<InteractionId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("interaction_list"))?;
        let now = self.sources.now();
        Ok(rows.into_iter().map(|row| row.read(generation, now)).collect())
    }
}

#[cfg(test)]
mod tests;
