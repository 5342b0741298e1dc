//! Events: appended under a lease, read by anyone of the org.
//!
//! Not here: the first event of a session (`session`), the transactions of a turn (`turn`).

use clock::Timestamp;
use domain::event::{Event, Recorded};
use domain::projection::Projection;
use domain::session::FencingToken;
use ids::{CommandId, OrgId, SessionId};
use serde_json::{Value, json};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::batcher::{Answered, Ask, Locked};
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
}

/// What is written of one session under a lease, whatever else goes with it.
#[derive(Debug)]
pub(crate) struct Fenced {
    pub(crate) session: SessionId,
    pub(crate) token: FencingToken,
    /// The session's newest sequence, before and afterwards.
    before: i64,
    after: i64,
    projection: String,
    events: Vec<(String, String)>,
}

impl Fenced {
    pub(crate) fn new(lease: &Lease, append: &Append<'_>) -> Self {
        let rows = append.events.iter().map(EventRow::from);
        Self {
            session: lease.session,
            token: lease.token,
            before: append.after,
            after: append.last(),
            projection: serde_json::to_string(append.projection).expect("a projection is plain data"),
            events: rows.map(|row| (row.kind, row.payload.to_string())).collect(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.projection.len() + self.events.iter().map(|(_, payload)| payload.len()).sum::<usize>()
    }
}

/// Several of them, as columns.
#[derive(Debug, Default)]
pub(crate) struct FencedColumns<'a> {
    pub(crate) sessions: Vec<Uuid>,
    pub(crate) generations: Vec<i64>,
    pub(crate) counters: Vec<i64>,
    pub(crate) before: Vec<i64>,
    pub(crate) after: Vec<i64>,
    pub(crate) projections: Vec<&'a str>,
    pub(crate) events: EventColumns<'a>,
}

/// Events of several sessions, each with the place of its own.
#[derive(Debug, Default)]
pub(crate) struct EventColumns<'a> {
    pub(crate) places: Vec<i64>,
    pub(crate) sequences: Vec<i64>,
    pub(crate) kinds: Vec<&'a str>,
    pub(crate) payloads: Vec<&'a str>,
}

impl<'a> FencedColumns<'a> {
    pub(crate) fn of(all: impl Iterator<Item = &'a Fenced>) -> Self {
        let mut columns = Self::default();
        for (place, fenced) in (1..).zip(all) {
            columns.sessions.push(fenced.session.into());
            columns.generations.push(fenced.token.generation);
            columns.counters.push(fenced.token.counter);
            columns.before.push(fenced.before);
            columns.after.push(fenced.after);
            columns.projections.push(&fenced.projection);
            for (sequence, (kind, payload)) in (fenced.before + 1..).zip(&fenced.events) {
                columns.events.places.push(place);
                columns.events.sequences.push(sequence);
                columns.events.kinds.push(kind);
                columns.events.payloads.push(payload);
            }
        }
        columns
    }
}

/// Events to be appended. Gives back what people have said to the turn that begins with them.
#[derive(Debug)]
pub(crate) struct NewEvents {
    fenced: Fenced,
    /// The command whose turn begins, its attempt from now on, its ordinal.
    begun: Option<(CommandId, i32, i64)>,
}

impl NewEvents {
    pub(crate) fn new(lease: &Lease, append: &Append<'_>, begun: Option<&NextCommand>) -> Self {
        let begun = begun.map(|command| (command.command, command.attempt + 1, command.ordinal));
        Self { fenced: Fenced::new(lease, append), begun }
    }
}

impl Ask for NewEvents {
    type Done = Spoken;

    const STATEMENT: &'static str = "event_append";

    fn bytes(&self) -> usize {
        self.fenced.bytes()
    }

    async fn carry_out(
        store: &Store,
        org: OrgId,
        writes: &[Self],
        locked: Locked,
    ) -> Result<Vec<Answered<Spoken>>, sqlx::Error> {
        write(store.of(org), org, writes, locked, store.sources().now()).await
    }
}

/// The fenced write: locks the rows of sessions, compares the leases' tokens, then adds events and projections. Nothing is
/// written of a session whose token is not current. If a turn begins with the events, the attempt is counted.
async fn write(
    executor: impl PgExecutor<'_>,
    org: OrgId,
    writes: &[NewEvents],
    locked: Locked,
    now: Timestamp,
) -> Result<Vec<Answered<Spoken>>, sqlx::Error> {
    let columns = FencedColumns::of(writes.iter().map(|new| &new.fenced));
    let rows = sqlx::query_file!(
        "src/event/append.sql",
        org as OrgId,
        &columns.sessions,
        &columns.generations,
        &columns.counters,
        &columns.before,
        &columns.after,
        &columns.projections as &[&str],
        &writes.iter().map(|new| new.begun.map(|(command, ..)| command.into())).collect::<Vec<Option<Uuid>>>()
            as &[Option<Uuid>],
        &writes.iter().map(|new| new.begun.map(|(_, attempt, _)| attempt)).collect::<Vec<_>>() as &[Option<i32>],
        &writes.iter().map(|new| new.begun.map(|(.., ordinal)| ordinal)).collect::<Vec<_>>() as &[Option<i64>],
        now,
        &columns.events.places,
        &columns.events.sequences,
        &columns.events.kinds as &[&str],
        &columns.events.payloads as &[&str],
        locked == Locked::WaitFor,
    )
    .fetch_all(executor)
    .await?;
    let written = rows.into_iter().map(|row| {
        let spoken = || Spoken { aborting: row.aborting, steering: row.steering };
        (row.place, Answered::read(row.locked, row.current, locked, spoken))
    });
    Ok(by_place(written))
}

/// Answers in the order of what was asked.
pub(crate) fn by_place<D>(answers: impl Iterator<Item = (i64, D)>) -> Vec<D> {
    let mut answers: Vec<_> = answers.collect();
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Appends events in the middle of a turn, in a transaction with what else is written then.
pub(crate) async fn append(
    executor: impl PgExecutor<'_>,
    lease: &Lease,
    append: &Append<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let new = NewEvents::new(lease, append, None);
    let written = write(executor, lease.org, &[new], Locked::WaitFor, now).await;
    match written.map_err(StoreError::during("event_append"))?.pop() {
        Some(Answered::Done(_)) => Ok(()),
        _ => Err(StoreError::LeaseLost),
    }
}

#[derive(Debug)]
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
    read_after(session, after, rows)
}

/// What was found past `after`.
fn read_after(session: SessionId, after: i64, rows: Vec<RecordedRow>) -> Result<Vec<Recorded>, StoreError> {
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

/// Asks for a session's events past a sequence.
#[derive(Debug)]
pub(crate) struct After {
    session: SessionId,
    after: i64,
    limit: i64,
}

impl Ask for After {
    type Done = Vec<RecordedRow>;

    const STATEMENT: &'static str = "events_new";

    fn bytes(&self) -> usize {
        // An event is a few hundred bytes, mostly.
        usize::try_from(self.limit).unwrap_or(0) * 256
    }

    async fn carry_out(
        store: &Store,
        org: OrgId,
        asked: &[Self],
        _locked: Locked,
    ) -> Result<Vec<Answered<Self::Done>>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"-- events_new
            SELECT place AS "place!", new.sequence, new.kind, new.payload, new.created_at
            FROM unnest($2::uuid[], $3::bigint[], $4::bigint[])
                WITH ORDINALITY AS asked (session_id, after, most, place)
            CROSS JOIN LATERAL (
                SELECT sequence, kind, payload, created_at FROM events
                WHERE events.org_id = $1 AND events.session_id = asked.session_id AND events.sequence > asked.after
                ORDER BY sequence LIMIT asked.most
            ) AS new
            WHERE place BETWEEN 1 AND 64 ORDER BY place, sequence"#,
            org as OrgId,
            &asked.iter().map(|new| new.session.into()).collect::<Vec<Uuid>>(),
            &asked.iter().map(|new| new.after).collect::<Vec<_>>(),
            &asked.iter().map(|new| new.limit).collect::<Vec<_>>(),
        )
        .fetch_all(store.of(org))
        .await?;
        let mut found: Vec<Vec<RecordedRow>> = asked.iter().map(|_| Vec::new()).collect();
        for row in rows {
            let of = usize::try_from(row.place).ok().and_then(|place| found.get_mut(place - 1));
            let (sequence, kind, payload, created_at) = (row.sequence, row.kind, row.payload, row.created_at);
            of.expect("a place is one that was given").push(RecordedRow { sequence, kind, payload, created_at });
        }
        Ok(found.into_iter().map(Answered::Done).collect())
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

    /// As [`Self::events_after`], in one statement with others who ask at once: for those who are told that there is something new.
    ///
    /// # Errors
    /// As there.
    pub async fn events_new(
        &self,
        org: OrgId,
        session: SessionId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, StoreError> {
        let asked = After { session, after, limit: limit.clamp(1, 1_000) };
        read_after(session, after, self.news.ask(self, org, asked).await?)
    }
}

#[cfg(test)]
mod tests;
