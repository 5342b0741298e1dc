//! Compacting sessions: their oldest events are replaced by one, the base, that holds what they added up to.
//!
//! The base takes the place of the last event that it stands for: its sequence, its instant, its place in the org's feed. So the
//! order keeps no hole behind it, and a reader that has seen that event goes on as if nothing had happened; one that has not is
//! told (`event`), or gets the base (`feed`). Nothing is counted anew, and no projection changes.
//!
//! Only turns that are finished go, and only what nobody needs any more: a thread's cursor stands past it, its deliveries are not
//! pending, and no erasure is at the session. All of it is looked at under the lock of the session's row, which every writer of the
//! session takes; so any number of processes may compact at once, and while people are at work.
//!
//! Not promised: that a base is smaller than what it replaces. It holds excerpts of the newest messages (`domain::projection`), so
//! those outlive their events.
//!
//! Not here: where the cut is (`domain::compaction`), how long events are kept and when to look (crate `scheduler`), what an
//! erasure takes out of a base (`domain::erasure`).

use clock::Timestamp;
use domain::compaction::{Base, Cutter};
use domain::event::Event;
use domain::fold::Damaged;
use ids::{OrgId, SessionId};
use sqlx::PgConnection;

use crate::event::{self, EventRow};
use crate::{Store, StoreError};

/// Events that are read at a time.
const PAGE: i64 = 500;
/// So many are compacted in one transaction, or a turn that is longer: its session's writers wait meanwhile.
const BATCH: i64 = 2_000;

/// Somebody writes events without locking their session, which is a bug; nothing is changed.
const CHANGED: &str = "the session's events changed while they were locked";

/// A stretch of all sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactionPage {
    /// Those that may have something to compact.
    pub due: Vec<(OrgId, SessionId)>,
    /// Where the next stretch begins. `None`: there are no more.
    pub last: Option<(OrgId, SessionId)>,
}

/// What compacting a session came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Events that are gone, an earlier base among them.
    pub events: i64,
    /// There may be more to compact.
    pub more: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// It is left as it is, so that whoever looks for damage finds it.
    #[error("the events of session {session} are damaged")]
    Damaged {
        session: SessionId,
        #[source]
        source: Damaged,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The sessions past `after`, of all orgs, at most `limit`: which of them have events after the first that are older than
    /// `before`.
    pub async fn compaction_page(
        &self,
        after: Option<(OrgId, SessionId)>,
        before: Timestamp,
        limit: i64,
    ) -> Result<CompactionPage, StoreError> {
        let nil = uuid::Uuid::nil();
        let (org, session) = after.unwrap_or((nil.into(), nil.into()));
        let rows = sqlx::query!(
            r#"-- compaction_page
            SELECT page.org_id AS "org: OrgId", page.session_id AS "session: SessionId",
                page.created_at < $3 AND coalesce((
                    SELECT events.created_at < $3 FROM events
                    WHERE events.org_id = page.org_id AND events.session_id = page.session_id
                    ORDER BY events.sequence OFFSET 1 LIMIT 1), false) AS "due!"
            FROM (
                SELECT org_id, session_id, created_at FROM sessions WHERE (org_id, session_id) > ($1, $2)
                ORDER BY org_id, session_id LIMIT $4
            ) AS page
            ORDER BY page.org_id, page.session_id"#,
            org as OrgId,
            session as SessionId,
            before,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("compaction_page"))?;
        let last = rows.last().map(|row| (row.org, row.session));
        Ok(CompactionPage { due: rows.iter().filter(|row| row.due).map(|row| (row.org, row.session)).collect(), last })
    }

    /// Compacts the turns of a session that ended earlier than `before`, a bounded number of events at a time.
    ///
    /// # Errors
    /// [`CompactError::Damaged`] if a base would hide that events are missing; then nothing is changed.
    pub async fn session_compact(
        &self,
        org: OrgId,
        session: SessionId,
        before: Timestamp,
    ) -> Result<Compacted, CompactError> {
        let during = || StoreError::during("session_compact");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let Some(up_to) = lock(&mut tx, org, session).await.map_err(during())? else {
            return Ok(Compacted::default());
        };
        let (base, more) = cut(&mut tx, org, session, Cutter::new(before, up_to)).await?;
        let Some(base) = base else { return Ok(Compacted::default()) };
        replace(&mut tx, org, session, &base).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Compacted { events: base.events - 1, more })
    }
}

/// Locks the session as its writers do. Gives back up to which event nobody needs them; `None`: all of them are needed.
async fn lock(tx: &mut PgConnection, org: OrgId, session: SessionId) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query!(
        "-- compaction_lock
        SELECT 1 AS one FROM sessions WHERE org_id = $1 AND session_id = $2 FOR NO KEY UPDATE",
        org as OrgId,
        session as SessionId,
    )
    .fetch_optional(&mut *tx)
    .await?;
    // A statement of its own: its snapshot is younger than the lock.
    sqlx::query_scalar!(
        r#"-- compaction_needed
        SELECT least(
            sessions.last_sequence,
            (SELECT min(sequence) FROM delivery_cursors WHERE org_id = $1 AND session_id = $2),
            (SELECT min(deliveries.sequence) - 1 FROM bindings JOIN deliveries USING (org_id, binding_id)
                WHERE bindings.org_id = $1 AND bindings.session_id = $2 AND deliveries.state = 'pending')) AS "up_to!"
        FROM sessions
        WHERE org_id = $1 AND session_id = $2
            AND NOT EXISTS (SELECT FROM subject_erasure_sessions WHERE org_id = $1 AND session_id = $2)"#,
        org as OrgId,
        session as SessionId,
    )
    .fetch_optional(tx)
    .await
}

/// Goes through the session's oldest events. Gives back the base that may take their place, and whether later ones might go,
/// too.
async fn cut(
    tx: &mut PgConnection,
    org: OrgId,
    session: SessionId,
    mut cutter: Cutter,
) -> Result<(Option<Base>, bool), CompactError> {
    let mut read = 0;
    loop {
        let page = event::after(&mut *tx, org, session, read, PAGE).await?;
        for recorded in &page {
            let enough = cutter.found() && cutter.events() >= BATCH;
            if enough || !cutter.wants(recorded) {
                let more = cutter.wants(recorded);
                return Ok((cutter.base(), more));
            }
            cutter.take(recorded).map_err(|source| CompactError::Damaged { session, source })?;
            read = recorded.sequence;
        }
        if page.is_empty() {
            return Ok((cutter.base(), false));
        }
    }
}

async fn replace(tx: &mut PgConnection, org: OrgId, session: SessionId, base: &Base) -> Result<(), sqlx::Error> {
    let row = EventRow::from(&Event::Compacted { projection: Box::new(base.projection.clone()) });
    let done = sqlx::query!(
        r#"-- compaction_replace
        WITH gone AS (
            DELETE FROM events WHERE org_id = $1 AND session_id = $2 AND sequence < $3 RETURNING 1
        ), base AS (
            UPDATE events SET kind = $4, payload = $5 WHERE org_id = $1 AND session_id = $2 AND sequence = $3 RETURNING 1
        )
        SELECT (SELECT count(*) FROM gone) AS "gone!", (SELECT count(*) FROM base) AS "based!""#,
        org as OrgId,
        session as SessionId,
        base.sequence,
        row.kind,
        row.payload,
    )
    .fetch_one(tx)
    .await?;
    let as_read = (done.gone, done.based) == (base.events - 1, 1);
    if as_read { Ok(()) } else { Err(sqlx::Error::Protocol(CHANGED.into())) }
}

#[cfg(test)]
mod tests;
