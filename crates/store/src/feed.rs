//! The feed of an org: the events of all its sessions, in one order that a reader can resume in.
//!
//! Sessions commit in any order, so a reader that remembered the highest id that it saw would miss whatever began earlier and
//! became visible later. An event's position has the number of its transaction, and a page ends before the oldest transaction
//! that is still going on (`pg_snapshot_xmin`): below that nothing can appear any more. A position is never lower than that of
//! the session's event before, for the number is drawn before the session's row is locked.
//!
//! So a transaction that has written and does not end holds every feed of the server back, as long as it lasts. One that only
//! reads, such as a backup's, holds nothing back.
//!
//! Not here: places as text (`domain::feed`), following a feed (`web::events`).

use clock::Timestamp;
use domain::event::Recorded;
use domain::feed::{self, FeedPlace};
use ids::{OrgId, SessionId};
use serde_json::Value;

use crate::event::RecordedRow;
use crate::{Store, StoreError};

/// An event, and where it stands.
#[derive(Debug, Clone)]
pub struct FeedEvent {
    pub place: FeedPlace,
    pub recorded: Recorded,
}

/// A stretch of a feed.
#[derive(Debug, Clone)]
pub struct FeedPage {
    pub events: Vec<FeedEvent>,
    /// Events follow that may not be read yet: a transaction is going on that might come before them.
    pub held_back: bool,
}

struct Row {
    session: SessionId,
    sequence: i64,
    kind: String,
    payload: Value,
    created_at: Timestamp,
    position: i64,
    settled: bool,
}

impl Row {
    fn read(self) -> Result<FeedEvent, StoreError> {
        let place = FeedPlace { position: self.position, session: self.session, sequence: self.sequence };
        let row = RecordedRow {
            sequence: self.sequence,
            kind: self.kind,
            payload: self.payload,
            created_at: self.created_at,
        };
        Ok(FeedEvent { place, recorded: row.read(self.session)? })
    }
}

impl Store {
    /// At most `limit` events of the org's feed past `after`, in a system of this generation.
    pub async fn feed_after(
        &self,
        generation: i64,
        org: OrgId,
        after: FeedPlace,
        limit: i64,
    ) -> Result<FeedPage, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- feed_after
            SELECT session_id AS "session: SessionId", sequence, kind, payload, created_at, feed_position AS position,
                feed_position < $5 + pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS "settled!"
            FROM events WHERE org_id = $1 AND (feed_position, session_id, sequence) > ($2, $3, $4)
            ORDER BY feed_position, session_id, sequence LIMIT $6"#,
            org as OrgId,
            after.position,
            after.session as SessionId,
            after.sequence,
            feed::base(generation),
            limit.clamp(1, 1_000),
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("feed_after"))?;
        let held_back = rows.iter().any(|row| !row.settled);
        // In the order of positions, so what is settled comes first.
        let events = rows.into_iter().take_while(|row| row.settled).map(Row::read).collect::<Result<_, _>>()?;
        Ok(FeedPage { events, held_back })
    }

    /// The present of every feed: all that may be read now comes before it, and all that may not be read yet after it.
    pub async fn feed_present(&self, generation: i64) -> Result<FeedPlace, StoreError> {
        let position = sqlx::query_scalar!(
            r#"-- feed_present
            SELECT $1 + pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS "position!""#,
            feed::base(generation),
        )
        .fetch_one(self.everywhere())
        .await
        .map_err(StoreError::during("feed_present"))?;
        Ok(FeedPlace::before(position))
    }
}

#[cfg(test)]
mod tests;
