//! Events: appended under a lease, read by anyone of the org.
//!
//! Not here: the first event of a session (`session`), the transactions of a turn (`turn`).

use clock::Timestamp;
use domain::event::{Event, Recorded};
use domain::projection::Projection;
use ids::{CommandId, OrgId, SessionId};
use serde_json::{Value, json};
use sqlx::PgExecutor;
use sqlx::types::Json;

use crate::lease::{Lease, NextCommand};
use crate::turn::Spoken;
use crate::{Store, StoreError};

/// An event as its two columns.
#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    pub(crate) kind: String,
    pub(crate) payload: Value,
}

impl From<&Event> for EventRow {
    fn from(event: &Event) -> Self {
        let mut value = serde_json::to_value(event).expect("an event is plain data");
        let kind = value["kind"].as_str().expect("an event has a kind").to_owned();
        Self { kind, payload: value["payload"].take() }
    }
}

/// Events to add to a session, with what they make of it.
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// The sequence of the session's newest event before these.
    pub after: i64,
    pub events: &'a [Event],
    /// With `events` folded in.
    pub projection: &'a Projection,
}

impl Append<'_> {
    /// The sequence of the newest event afterwards.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.after + i64::try_from(self.events.len()).expect("a batch is small")
    }

    /// Kinds and payloads of the events.
    pub(crate) fn columns(&self) -> (Vec<String>, Vec<Value>) {
        let rows = self.events.iter().map(EventRow::from);
        rows.map(|row| (row.kind, row.payload)).unzip()
    }
}

/// The fenced write: locks the session's row, compares the lease's token, then adds events and projection. Everything
/// else that is written under a lease follows in the same transaction. Nothing is written if the token is not current.
/// `begun`: the command whose turn begins with these events; the attempt is counted. Gives back whether somebody wants that
/// turn to end already.
pub(crate) async fn append(
    executor: impl PgExecutor<'_>,
    lease: &Lease,
    append: &Append<'_>,
    begun: Option<&NextCommand>,
    now: Timestamp,
) -> Result<Spoken, StoreError> {
    let (kinds, payloads) = append.columns();
    let (command, attempt) = begun.map(|command| (command.command, command.attempt + 1)).unzip();
    let appended = sqlx::query_file!(
        "src/event/append.sql",
        lease.org as OrgId,
        lease.session as SessionId,
        lease.token.generation,
        lease.token.counter,
        append.after,
        append.last(),
        now,
        &kinds,
        &payloads,
        Json(append.projection) as Json<&Projection>,
        command as Option<CommandId>,
        attempt,
        begun.map(|command| command.ordinal),
    )
    .fetch_optional(executor)
    .await
    .map_err(StoreError::during("event_append"))?;
    appended.map(|row| Spoken { aborting: row.aborting, steering: row.steering }).ok_or(StoreError::LeaseLost)
}

pub(crate) struct RecordedRow {
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) payload: Value,
    pub(crate) created_at: Timestamp,
}

impl RecordedRow {
    pub(crate) fn read(self, session: SessionId) -> Result<Recorded, StoreError> {
        let event = serde_json::from_value(json!({"kind": self.kind, "payload": self.payload}));
        let id = format!("{session}/{}", self.sequence);
        let event = event.map_err(StoreError::unreadable("events", "payload", id))?;
        Ok(Recorded { sequence: self.sequence, event, created_at: self.created_at })
    }
}

/// See [`Store::events_after`].
pub(crate) async fn after(
    executor: impl PgExecutor<'_>,
    org: OrgId,
    session: SessionId,
    after: i64,
    limit: i64,
) -> Result<Vec<Recorded>, StoreError> {
    let rows = sqlx::query_as!(
        RecordedRow,
        "-- events_after
        SELECT sequence, kind, payload, created_at FROM events
        WHERE org_id = $1 AND session_id = $2 AND sequence > $3 ORDER BY sequence LIMIT $4",
        org as OrgId,
        session as SessionId,
        after,
        limit.clamp(1, 1_000),
    )
    .fetch_all(executor)
    .await
    .map_err(StoreError::during("events_after"))?;
    let events: Vec<Recorded> = rows.into_iter().map(|row| row.read(session)).collect::<Result<_, _>>()?;
    match events.first() {
        Some(Recorded { sequence: earliest, event: Event::Compacted { .. }, .. })
            if after > 0 && *earliest > after + 1 =>
        {
            Err(StoreError::Compacted { earliest: *earliest })
        }
        _ => Ok(events),
    }
}

impl Store {
    /// A session's events past the sequence `after`, in order, at most `limit`. Past 0 they begin with the first that there is.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if there were others between `after` and the first that there is.
    pub async fn events_after(
        &self,
        org: OrgId,
        session: SessionId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, StoreError> {
        self::after(self.of(org), org, session, after, limit).await
    }
}
