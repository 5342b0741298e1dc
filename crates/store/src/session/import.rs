//! Sessions that begin with a conversation that took place elsewhere.
//!
//! Everything is there at once, or nothing: the session, its first events, what they add up to.
//!
//! Not here: what can be imported, and which events it makes (`domain::import`).

use clock::Timestamp;
use domain::details::{Tags, terms};
use domain::fold::{Damaged, Fold};
use domain::import::History;
use domain::projection::Projection;
use ids::{AccountId, OrgId, SessionId};
use serde_json::json;
use sqlx::types::Json;

use super::NewSession;
use crate::event::EventRow;
use crate::wake::Wake;
use crate::{Store, StoreError, audit};

/// A session to begin with what was said elsewhere.
#[derive(Debug, Clone)]
pub struct NewImport {
    pub session: NewSession,
    pub tags: Tags,
    pub history: History,
}

impl Store {
    /// Begins a session with its history. It is idle then, and has had no turn.
    pub async fn session_import(&self, generation: i64, new: &NewImport, actor: &str) -> Result<SessionId, StoreError> {
        let during = || StoreError::during("session_import");
        let NewSession { org, created_by, title, agent } = &new.session;
        let (session, now): (SessionId, Timestamp) = (self.sources.id(), self.sources.now());
        let events = new.history.events(title, agent, now);
        let (fold, last) = (folded(&events), events.last().map_or(0, |event| event.sequence));
        let projection = fold.and_then(|fold| fold.up_to(last)).expect("a history has no hole");
        let rows: Vec<EventRow> = events.iter().map(|recorded| EventRow::from(&recorded.event)).collect();
        let (kinds, payloads): (Vec<_>, Vec<_>) = rows.into_iter().map(|row| (row.kind, row.payload)).unzip();
        let mut tx = self.begin_of(*org).await.map_err(during())?;
        sqlx::query!(
            "-- session_import
            WITH session AS (
                INSERT INTO sessions (org_id, session_id, created_by, title, tags, agent, last_sequence, last_ordinal,
                    generation, fencing_counter, created_at, updated_at, feed_position)
                VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, 0, $9, $9,
                    ($8::bigint << 48) + pg_current_xact_id()::text::bigint)
                RETURNING feed_position
            ), event AS (
                INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at, feed_position)
                SELECT $1, $2, new.place, new.kind, new.payload, new.at, feed_position
                FROM session, unnest($10::text[], $11::jsonb[], $12::timestamptz[])
                    WITH ORDINALITY AS new (kind, payload, at, place)
            ), term AS (
                INSERT INTO session_terms (org_id, session_id, term) SELECT $1, $2, unnest($13::text[])
            )
            INSERT INTO projections (org_id, session_id, sequence, content, updated_at) VALUES ($1, $2, $7, $14, $9)",
            *org as OrgId,
            session as SessionId,
            *created_by as Option<AccountId>,
            title,
            new.tags.as_slice(),
            agent,
            last,
            generation,
            now,
            &kinds,
            &payloads,
            &events.iter().map(|recorded| recorded.created_at).collect::<Vec<_>>(),
            &terms(title, new.tags.as_slice()),
            Json(projection) as Json<Projection>,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        let target = format!("session:{session}");
        let detail = json!({"title": title, "agent": agent, "messages": new.history.len()});
        audit::record(&mut tx, &self.sources, *org, actor, "session.import", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Events(*org, session));
        Ok(session)
    }
}

/// By the same steps as whoever makes a projection anew.
fn folded(events: &[domain::event::Recorded]) -> Result<Fold, Damaged> {
    let mut fold = Fold::default();
    events.iter().try_for_each(|recorded| fold.take(recorded))?;
    Ok(fold)
}
