//! Commands: wishes addressed to a session.
//!
//! Enqueueing locks the session's row first and so does the transaction that ends a turn: a command that arrives while
//! the last one is being acknowledged is seen by one of the two, never by neither.
//!
//! They are carried out in the order of their ordinals. A prompt that interrupts goes before those that wait, behind an abort of its
//! own: the turn that runs hears it, and so does a command that was about to begin. What a worker has begun goes first in any
//! case, and a session's first command is not overtaken: it is what a run waits for. Of several prompts that interrupt, each
//! aborts the one before it.
//!
//! A prompt that steers is for the turn that runs (`steering`). One that no turn has heard is carried out by itself, before those that
//! wait, as one that interrupts is.
//!
//! Not here: taking them down from whoever is connected (`taking`), telling the audit trail of them (`telling`), carrying
//! them out (`lease`, and the crate `worker`).

use clock::{Sources, Timestamp};
use domain::command::{CommandState, WhileRunning, Wish};
use ids::{AccountId, CommandId, OrgId, SessionId};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::lease::NextCommand;
use crate::quota::UsedUp;
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
    #[error("the session has another command with this idempotency key")]
    OtherWish,
    #[error("the org has no such session")]
    NoSuchSession,
    #[error("the session is archived")]
    Archived,
    /// The prompt was to be refused then.
    #[error("the session is at work")]
    Busy,
    #[error("the org has used its quota of {} up", .0.kind)]
    OverQuota(UsedUp),
    /// It takes no prompts then.
    #[error("the org's policy does not allow the session's agent")]
    AgentRefused,
    /// Before a restore that forgot it: what it set off has happened.
    #[error("somebody spoke to this request already, in the system that was restored")]
    SpokenTo,
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
        SELECT last_ordinal + 1 AS \"ordinal!\", blocked_on IS NOT NULL AS \"blocked!\",
            archived_at IS NOT NULL AS \"archived!\",
            EXISTS (SELECT FROM org_policies AS policy WHERE policy.org_id = sessions.org_id
                AND NOT sessions.agent = ANY (policy.agents)) AS \"agent_refused!\"
        FROM sessions
        WHERE org_id = $1 AND session_id = $2 FOR NO KEY UPDATE",
        new.org as OrgId,
        new.session as SessionId,
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(EnqueueError::NoSuchSession)?;
    if session.archived && !taken_by_an_archived_session(&new.wish) {
        return by_key(connection, new).await?.ok_or(EnqueueError::Archived);
    }
    if session.agent_refused && matches!(new.wish, Wish::Prompt { .. }) {
        return by_key(connection, new).await?.ok_or(EnqueueError::AgentRefused);
    }
    let runnable = !session.blocked || new.wish.speaks_to_a_waiting_turn();
    match insert(connection, sources, new, session.ordinal, runnable).await? {
        Some(enqueued) => Ok(enqueued),
        None => by_key(connection, new).await?.ok_or(EnqueueError::Database(sqlx::Error::RowNotFound)),
    }
}

/// What it has begun goes on: only what would begin something new is refused.
fn taken_by_an_archived_session(wish: &Wish) -> bool {
    !matches!(wish, Wish::Prompt { .. })
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
                created_by, created_at, traceparent)
            VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9, $11)
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
        traces::carried(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(inserted.map(|row| Enqueued { command, ordinal: row.ordinal, state: CommandState::Pending, created: true }))
}

/// `None`: the session has no command with this key.
async fn by_key(connection: &mut PgConnection, new: &NewCommand) -> Result<Option<Enqueued>, EnqueueError> {
    let mut wish = serde_json::to_value(&new.wish).expect("a wish is plain data");
    let row = sqlx::query!(
        "-- command_by_key
        SELECT command_id AS \"command_id: CommandId\", ordinal, state,
            kind = $4 AND payload = $5 AND while_running IS NULL AS \"same!\"
        FROM commands WHERE org_id = $1 AND session_id = $2 AND idempotency_key = $3",
        new.org as OrgId,
        new.session as SessionId,
        new.idempotency_key,
        new.wish.kind(),
        wish["payload"].take(),
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if !row.same {
        return Err(EnqueueError::OtherWish);
    }
    let state = state(&row.state).map_err(|source| sqlx::Error::Decode(source.into()))?;
    Ok(Some(Enqueued { command: row.command_id, ordinal: row.ordinal, state, created: false }))
}

fn state(text: &str) -> Result<CommandState, serde_json::Error> {
    serde_json::from_value(Value::from(text))
}

fn wish(kind: &str, payload: &Value, command: CommandId) -> Result<Wish, StoreError> {
    let wish = serde_json::from_value(json!({"kind": kind, "payload": payload}));
    wish.map_err(StoreError::unreadable("commands", "payload", command.to_string()))
}

/// The command that a session carries out next, if one can run. A turn that waits for a person goes before prompts. What was begun
/// goes first, then what interrupts or steers.
pub(crate) async fn next(
    connection: &mut PgConnection,
    org: OrgId,
    session: SessionId,
) -> Result<Option<NextCommand>, StoreError> {
    let row = sqlx::query!(
        r#"-- command_next
        SELECT command_id AS "command_id: CommandId", ordinal, kind, payload, attempt, traceparent
        FROM commands JOIN sessions USING (org_id, session_id)
        WHERE org_id = $1 AND session_id = $2 AND state = 'pending' AND (blocked_on IS NULL OR kind <> 'prompt')
            AND (kind = 'abort' OR ordinal = 1 OR ordinal >= coalesce((
                SELECT coalesce(min(ordinal) FILTER (WHERE attempt > 0), min(ordinal)) FROM commands
                WHERE org_id = $1 AND session_id = $2 AND state = 'pending'
                    AND (attempt > 0 OR while_running IN ('interrupt', 'steer'))), 0))
        ORDER BY ordinal LIMIT 1"#,
        org as OrgId,
        session as SessionId,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("command_next"))?;
    let Some(row) = row else { return Ok(None) };
    let (command, ordinal, kind, payload) = (row.command_id, row.ordinal, row.kind, row.payload);
    read_next(Some(command), Some(ordinal), Some(kind), Some(payload), Some(row.attempt), row.traceparent, true)
}

/// A next command of its columns, which are all there or none is, but for the trace that it may be in; `limited`: whether its org may
/// have quotas that were not asked.
pub(crate) fn read_next(
    command: Option<CommandId>,
    ordinal: Option<i64>,
    kind: Option<String>,
    payload: Option<Value>,
    attempt: Option<i32>,
    traceparent: Option<String>,
    limited: bool,
) -> Result<Option<NextCommand>, StoreError> {
    let (Some(command), Some(ordinal), Some(kind), Some(payload), Some(attempt)) =
        (command, ordinal, kind, payload, attempt)
    else {
        return Ok(None);
    };
    let wish = wish(&kind, &payload, command)?;
    Ok(Some(NextCommand { command, ordinal, wish, attempt, traceparent, limited }))
}

/// The prompt that began the turn which `command` ends: itself, or the last one before it that had a turn of its own.
pub(crate) async fn origin(
    connection: &mut PgConnection,
    org: OrgId,
    session: SessionId,
    command: CommandId,
) -> Result<CommandId, sqlx::Error> {
    let origin = sqlx::query_scalar!(
        r#"-- command_origin
        SELECT command_id AS "command_id: CommandId" FROM commands
        WHERE org_id = $1 AND session_id = $2 AND kind = 'prompt' AND state <> 'pending'
            AND (attempt > 0 OR while_running IS DISTINCT FROM 'steer')
            AND ordinal <= (SELECT ordinal FROM commands WHERE org_id = $1 AND command_id = $3)
        ORDER BY ordinal DESC LIMIT 1"#,
        org as OrgId,
        session as SessionId,
        command as CommandId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(origin.unwrap_or(command))
}

/// A command as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub command_id: CommandId,
    pub ordinal: i64,
    pub kind: String,
    pub state: CommandState,
    pub while_running: WhileRunning,
    pub attempt: i32,
    /// One sentence; `None`: it is not finished.
    pub outcome: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

struct CommandRow {
    command_id: CommandId,
    ordinal: i64,
    kind: String,
    state: String,
    while_running: Option<String>,
    attempt: i32,
    outcome: Option<String>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl CommandRow {
    fn read(self) -> Result<Command, StoreError> {
        let id = self.command_id.to_string();
        let while_running = self.while_running.map(|text| serde_json::from_value(text.into())).transpose();
        let while_running = while_running.map_err(StoreError::unreadable("commands", "while_running", id.clone()))?;
        Ok(Command {
            state: state(&self.state).map_err(StoreError::unreadable("commands", "state", id))?,
            while_running: while_running.unwrap_or_default(),
            command_id: self.command_id,
            ordinal: self.ordinal,
            kind: self.kind,
            attempt: self.attempt,
            outcome: self.outcome,
            created_at: self.created_at,
            finished_at: self.finished_at,
        })
    }
}

impl Store {
    pub async fn command_by_id(
        &self,
        org: OrgId,
        session: SessionId,
        command: CommandId,
    ) -> Result<Option<Command>, StoreError> {
        let row = sqlx::query_as!(
            CommandRow,
            r#"-- command_by_id
            SELECT command_id AS "command_id: CommandId", ordinal, kind, state, while_running, attempt, outcome, created_at,
                finished_at
            FROM commands WHERE org_id = $1 AND session_id = $2 AND command_id = $3"#,
            org as OrgId,
            session as SessionId,
            command as CommandId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("command_by_id"))?;
        row.map(CommandRow::read).transpose()
    }

    /// A session's commands past the ordinal `after`, in order.
    pub async fn commands_list(
        &self,
        org: OrgId,
        session: SessionId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Command>, StoreError> {
        let rows = sqlx::query_as!(
            CommandRow,
            r#"-- commands_list
            SELECT command_id AS "command_id: CommandId", ordinal, kind, state, while_running, attempt, outcome, created_at,
                finished_at
            FROM commands WHERE org_id = $1 AND session_id = $2 AND ordinal > $3 ORDER BY ordinal LIMIT $4"#,
            org as OrgId,
            session as SessionId,
            after,
            limit.clamp(1, 200),
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("commands_list"))?;
        rows.into_iter().map(CommandRow::read).collect()
    }

    /// Of the sessions named, those that a person asked to abort, each with the ordinal of the newest such wish.
    pub async fn commands_aborting(
        &self,
        sessions: &[(OrgId, SessionId)],
    ) -> Result<Vec<(SessionId, i64)>, StoreError> {
        let orgs: Vec<uuid::Uuid> = sessions.iter().map(|(org, _)| (*org).into()).collect();
        let sessions: Vec<uuid::Uuid> = sessions.iter().map(|(_, session)| (*session).into()).collect();
        let rows = sqlx::query!(
            r#"-- commands_aborting
            SELECT session_id AS "session_id: SessionId", max(ordinal) AS "ordinal!"
            FROM commands JOIN unnest($1::uuid[], $2::uuid[]) AS running (org_id, session_id) USING (org_id, session_id)
            WHERE state = 'pending' AND kind = 'abort' GROUP BY session_id"#,
            &orgs,
            &sessions,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("commands_aborting"))?;
        Ok(rows.into_iter().map(|row| (row.session_id, row.ordinal)).collect())
    }
}

pub(crate) mod steering;
pub(crate) mod taking;
pub(crate) mod telling;
#[cfg(test)]
mod tests;
