//! Sessions and their projections.
//!
//! A session's row is also the place that all its writers meet at: who changes its commands or events locks this row
//! first. Lock order everywhere: `sessions`, then whatever hangs from it.
//!
//! Not here: making a projection anew (`projection`), the lease (`lease`), commands (`command`), events (`event`), what people say of a
//! session (`details`), one that begins with what was said elsewhere (`import`), a page of all (`list`), finding one (`search`), one
//! with its projection (`view`).

mod details;
mod import;
mod list;
mod projection;
mod search;
mod view;

use clock::{Sources, Timestamp};
use domain::details::{Tags, terms};
use domain::event::Event;
use domain::projection::{Projection, SessionState};
use ids::{AccountId, CheckpointId, OrgId, ProjectSourceId, SessionId};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::StrDeserializer;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::wake::Wake;
use crate::{Store, StoreError, audit, project_source};

pub(crate) use self::details::bring_back;
pub use self::details::{SessionChange, SessionDetails};
pub use self::import::NewImport;
pub(crate) use self::list::List;
pub use self::projection::{ProjectionStatus, RebuildError, Rebuilt};
pub use self::search::SessionSearch;
pub(crate) use self::view::View;

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

/// What a session has from its first moment, besides an empty workspace and no tags.
#[derive(Debug, Clone, Default)]
pub struct SessionStart {
    pub tags: Tags,
    /// What its workspace begins with.
    pub source: Option<ProjectSourceId>,
}

/// A session as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub session_id: SessionId,
    pub title: String,
    pub agent: String,
    /// As its projection says. `None`: that is damaged, and one damaged projection does not take the list of all away.
    pub state: Option<SessionState>,
    pub last_sequence: i64,
    /// `None`: no turn has ended yet.
    pub checkpoint_id: Option<CheckpointId>,
    /// In lower case, sorted.
    pub tags: Vec<String>,
    /// Since when it takes no prompts. `None`: it does.
    pub archived_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A projection as it is stored. Not read into its type: who looks at damage must see it.
#[derive(Debug, Clone)]
pub struct StoredProjection {
    /// The newest event that is folded in.
    pub sequence: i64,
    pub content: Box<RawValue>,
}

impl StoredProjection {
    /// As JSON that can be looked into.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(self.content.get()).expect("the database gives out JSON only")
    }
}

/// As [`insert_tagged`], without tags.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    generation: i64,
    new: &NewSession,
) -> Result<SessionId, sqlx::Error> {
    insert_tagged(connection, sources, generation, new, &Tags::default()).await
}

/// Writes the session, its first event and its projection at sequence 1.
pub(crate) async fn insert_tagged(
    connection: &mut PgConnection,
    sources: &Sources,
    generation: i64,
    new: &NewSession,
    tags: &Tags,
) -> Result<SessionId, sqlx::Error> {
    let session: SessionId = sources.id();
    let created = Event::SessionCreated { title: new.title.clone(), agent: new.agent.clone() };
    let row = crate::event::EventRow::from(&created);
    let projection = Projection::rebuild([&created]);
    sqlx::query!(
        "-- session_insert
        WITH session AS (
            INSERT INTO sessions (org_id, session_id, created_by, title, agent, last_sequence, last_ordinal, generation,
                fencing_counter, created_at, updated_at, feed_position, tags)
            VALUES ($1, $2, $3, $4, $5, 1, 0, $6, 0, $7, $7, ($6::bigint << 48) + pg_current_xact_id()::text::bigint, $12)
            RETURNING feed_position
        ), event AS (
            INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at, feed_position)
            SELECT $1, $2, 1, $8, $9, $7, feed_position FROM session
        ), term AS (
            INSERT INTO session_terms (org_id, session_id, term) SELECT $1, $2, unnest($11::text[])
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
        &terms(&new.title, tags.as_slice()),
        tags.as_slice(),
    )
    .execute(connection)
    .await?;
    Ok(session)
}

struct SessionRow {
    session_id: SessionId,
    title: String,
    agent: String,
    state: Option<String>,
    last_sequence: i64,
    checkpoint_id: Option<CheckpointId>,
    tags: Vec<String>,
    archived_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A session of a row that has other columns, too.
macro_rules! session_of {
    ($row:ident) => {
        crate::session::SessionRow {
            session_id: $row.session_id,
            title: $row.title,
            agent: $row.agent,
            state: $row.state,
            last_sequence: $row.last_sequence,
            checkpoint_id: $row.checkpoint_id,
            tags: $row.tags,
            archived_at: $row.archived_at,
            created_at: $row.created_at,
            updated_at: $row.updated_at,
        }
        .read()
    };
}
use session_of;

/// `None`: it is none that is known.
fn read_state(state: &str) -> Option<SessionState> {
    let state: StrDeserializer<'_, serde::de::value::Error> = state.into_deserializer();
    SessionState::deserialize(state).ok()
}

impl SessionRow {
    fn read(self) -> Session {
        Session {
            state: self.state.and_then(|state| read_state(&state)),
            session_id: self.session_id,
            title: self.title,
            agent: self.agent,
            last_sequence: self.last_sequence,
            checkpoint_id: self.checkpoint_id,
            tags: self.tags,
            archived_at: self.archived_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

impl Store {
    /// Begins a session, with an entry in the audit trail if a person did.
    pub async fn session_create(&self, generation: i64, new: &NewSession) -> Result<SessionId, StoreError> {
        let session = self.session_begin(generation, new, &SessionStart::default()).await?;
        Ok(session.expect("it names no project source"))
    }

    /// As [`Self::session_create`]. `None`: the org has no such project source.
    pub async fn session_begin(
        &self,
        generation: i64,
        new: &NewSession,
        with: &SessionStart,
    ) -> Result<Option<SessionId>, StoreError> {
        let during = || StoreError::during("session_begin");
        let mut tx = self.begin_of(new.org).await.map_err(during())?;
        if let Some(source) = with.source
            && !project_source::share(&mut tx, new.org, source).await.map_err(during())?
        {
            return Ok(None);
        }
        let session = insert_tagged(&mut tx, &self.sources, generation, new, &with.tags).await.map_err(during())?;
        if let Some(source) = with.source {
            project_source::put_under(&mut tx, new.org, session, source).await.map_err(during())?;
        }
        if let Some(account) = new.created_by {
            let (actor, target) = (format!("account:{account}"), format!("session:{session}"));
            let mut detail = serde_json::json!({"title": new.title, "agent": new.agent});
            if let Some(source) = with.source {
                detail["project_source_id"] = serde_json::json!(source);
            }
            let recorded = audit::record(&mut tx, &self.sources, new.org, &actor, "session.create", &target, detail);
            recorded.await.map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Events(new.org, session));
        Ok(Some(session))
    }

    pub async fn session_by_id(&self, org: OrgId, session: SessionId) -> Result<Option<Session>, StoreError> {
        let row = sqlx::query_as!(
            SessionRow,
            r#"-- session_by_id
            SELECT session_id AS "session_id: SessionId", title, agent, projections.state, last_sequence,
                checkpoint_id AS "checkpoint_id: CheckpointId", tags, archived_at, created_at, sessions.updated_at
            FROM sessions JOIN projections USING (org_id, session_id)
            WHERE org_id = $1 AND session_id = $2"#,
            org as OrgId,
            session as SessionId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("session_by_id"))?;
        Ok(row.map(SessionRow::read))
    }

    /// The sequence of the session's newest event; `None`: the org has no such session.
    pub async fn session_last_sequence(&self, org: OrgId, session: SessionId) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar!(
            "-- session_last_sequence
            SELECT last_sequence FROM sessions WHERE org_id = $1 AND session_id = $2",
            org as OrgId,
            session as SessionId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("session_last_sequence"))
    }
}

#[cfg(test)]
mod tests;
