//! Sessions and their projections.
//!
//! A session's row is also the place that all its writers meet at: who changes its commands or events locks this row
//! first. Lock order everywhere: `sessions`, then whatever hangs from it.
//!
//! Not here: the lease (`lease`), commands (`command`), events (`event`).

use clock::{Sources, Timestamp};
use domain::event::Event;
use domain::projection::{Projection, SessionState};
use ids::{AccountId, CheckpointId, OrgId, SessionId};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::{Store, StoreError};

/// What a session begins with.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub org: OrgId,
    /// `None`: a workflow or a channel message began it.
    pub created_by: Option<AccountId>,
    pub title: String,
    /// The name of an agent runtime, such as `scripted`.
    pub agent: String,
}

/// A session as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub session_id: SessionId,
    pub title: String,
    pub agent: String,
    pub state: SessionState,
    pub last_sequence: i64,
    /// `None`: no turn has ended yet.
    pub checkpoint_id: Option<CheckpointId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Writes the session, its first event and its projection at sequence 1.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    generation: i64,
    new: &NewSession,
) -> Result<SessionId, sqlx::Error> {
    let session: SessionId = sources.id();
    let created = Event::SessionCreated { title: new.title.clone(), agent: new.agent.clone() };
    let row = crate::event::EventRow::from(&created);
    let projection = Projection::rebuild([&created]);
    sqlx::query!(
        "-- session_insert
        WITH session AS (
            INSERT INTO sessions (org_id, session_id, created_by, title, agent, last_sequence, last_ordinal, generation,
                fencing_counter, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, 1, 0, $6, 0, $7, $7)
        ), event AS (
            INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at) VALUES ($1, $2, 1, $8, $9, $7)
        )
        INSERT INTO projections (org_id, session_id, sequence, content, updated_at) VALUES ($1, $2, 1, $10, $7)",
        new.org as OrgId,
        session as SessionId,
        new.created_by as Option<AccountId>,
        new.title,
        new.agent,
        generation,
        sources.now(),
        row.kind,
        row.payload,
        Json(projection) as Json<Projection>,
    )
    .execute(connection)
    .await?;
    Ok(session)
}

impl Store {
    /// Begins a session.
    pub async fn session_create(&self, generation: i64, new: &NewSession) -> Result<SessionId, StoreError> {
        let during = || StoreError::during("session_create");
        let mut tx = self.pool.begin().await.map_err(during())?;
        let session = insert(&mut tx, &self.sources, generation, new).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(session)
    }
}
