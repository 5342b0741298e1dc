//! Commands: wishes addressed to a session.
//!
//! Enqueueing locks the session's row first and so does the transaction that ends a turn: a command that arrives while
//! the last one is being acknowledged is seen by one of the two, never by neither.
//!
//! Not here: carrying them out (`lease`, and the crate `worker`).

use clock::{Sources, Timestamp};
use domain::command::{CommandState, Wish};
use ids::{AccountId, CommandId, OrgId, SessionId};
use sqlx::PgConnection;

use crate::{Store, StoreError};

/// A wish to be written down.
#[derive(Debug, Clone)]
pub struct NewCommand {
    pub org: OrgId,
    pub session: SessionId,
    pub wish: Wish,
    /// 1 to 200 characters. Within a session, a second command with the same key is the first one.
    pub idempotency_key: String,
    /// `None`: a workflow or a channel message.
    pub created_by: Option<AccountId>,
}

/// The command that now stands for the wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    pub command: CommandId,
    pub ordinal: i64,
    pub state: CommandState,
    /// Whether this call wrote it; `false`: an earlier one with the same key did.
    pub created: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    #[error("the org has no such session")]
    NoSuchSession,
    #[error("the database did not carry out command_enqueue")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for EnqueueError {
    fn from(source: sqlx::Error) -> Self {
        Self::Database(source)
    }
}

/// Writes the command, and wakes its session if it can run. Must be in a transaction (at read committed).
pub(crate) async fn enqueue(
    connection: &mut PgConnection,
    sources: &Sources,
    new: &NewCommand,
) -> Result<Enqueued, EnqueueError> {
    let session = sqlx::query!(
        "-- command_enqueue_lock
        SELECT last_ordinal + 1 AS \"ordinal!\", blocked_on IS NOT NULL AS \"blocked!\" FROM sessions
        WHERE org_id = $1 AND session_id = $2 FOR NO KEY UPDATE",
        new.org as OrgId,
        new.session as SessionId,
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(EnqueueError::NoSuchSession)?;
    let runnable = !session.blocked || new.wish.speaks_to_a_waiting_turn();
    match insert(connection, sources, new, session.ordinal, runnable).await? {
        Some(enqueued) => Ok(enqueued),
        None => Ok(by_key(connection, new).await?),
    }
}

/// `None`: the session has a command with this key.
async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    new: &NewCommand,
    ordinal: i64,
    runnable: bool,
) -> Result<Option<Enqueued>, sqlx::Error> {
    let mut wish = serde_json::to_value(&new.wish).expect("a wish is plain data");
    let command: CommandId = sources.id();
    // An existing lease row is left alone: its holder looks for more commands, with the session's row locked, before
    // it takes the row away. Waiting for it here could deadlock with a claim.
    let inserted = sqlx::query!(
        "-- command_enqueue
        WITH inserted AS (
            INSERT INTO commands (org_id, session_id, command_id, ordinal, kind, payload, idempotency_key, state,
                created_by, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9)
            ON CONFLICT (org_id, session_id, idempotency_key) DO NOTHING
            RETURNING org_id, session_id, ordinal
        ), counted AS (
            UPDATE sessions SET last_ordinal = inserted.ordinal FROM inserted
            WHERE sessions.org_id = inserted.org_id AND sessions.session_id = inserted.session_id
        ), woken AS (
            INSERT INTO session_leases (org_id, session_id, wake_at)
            SELECT org_id, session_id, $9 FROM inserted WHERE $10 ON CONFLICT DO NOTHING
        )
        SELECT ordinal FROM inserted",
        new.org as OrgId,
        new.session as SessionId,
        command as CommandId,
        ordinal,
        new.wish.kind(),
        wish["payload"].take(),
        new.idempotency_key,
        new.created_by as Option<AccountId>,
        sources.now(),
        runnable,
    )
    .fetch_optional(connection)
    .await?;
    Ok(inserted.map(|row| Enqueued { command, ordinal: row.ordinal, state: CommandState::Pending, created: true }))
}

async fn by_key(connection: &mut PgConnection, new: &NewCommand) -> Result<Enqueued, sqlx::Error> {
    let row = sqlx::query!(
        "-- command_by_key
        SELECT command_id AS \"command_id: CommandId\", ordinal, state FROM commands
        WHERE org_id = $1 AND session_id = $2 AND idempotency_key = $3",
        new.org as OrgId,
        new.session as SessionId,
        new.idempotency_key,
    )
    .fetch_one(connection)
    .await?;
    let state = state(&row.state).map_err(|source| sqlx::Error::Decode(source.into()))?;
    Ok(Enqueued { command: row.command_id, ordinal: row.ordinal, state, created: false })
}

fn state(text: &str) -> Result<CommandState, serde_json::Error> {
    serde_json::from_value(serde_json::Value::from(text))
}

impl Store {
    /// Writes a command down, once per idempotency key.
    pub async fn command_enqueue(&self, new: &NewCommand) -> Result<Enqueued, EnqueueError> {
        let mut tx = self.pool.begin().await?;
        let enqueued = enqueue(&mut tx, &self.sources, new).await?;
        tx.commit().await?;
        Ok(enqueued)
    }
}
