//! A session with its projection. Those that are asked for at once share a statement.

use std::collections::HashMap;

use clock::Timestamp;
use ids::{CheckpointId, OrgId, SessionId};
use serde_json::value::RawValue;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Session, StoredProjection, session_of};
use crate::batcher::{Answered, Ask, Locked};
use crate::{Store, StoreError};

/// What a projection takes, about: it holds what is open in a session and not what was said.
const BYTES: usize = 4 << 10;

/// Asks for a session. `None`: the org has none of this id.
#[derive(Debug)]
pub(crate) struct View(SessionId);

impl Ask for View {
    type Done = Option<(Session, StoredProjection)>;

    const STATEMENT: &'static str = "session_view";

    fn bytes(&self) -> usize {
        BYTES
    }

    async fn carry_out(
        store: &Store,
        org: OrgId,
        asked: &[Self],
        _locked: Locked,
    ) -> Result<Vec<Answered<Self::Done>>, sqlx::Error> {
        let sessions: Vec<Uuid> = asked.iter().map(|View(session)| (*session).into()).collect();
        let rows = sqlx::query!(
            r#"-- session_view
            SELECT session_id AS "session_id: SessionId", title, agent, projections.state, last_sequence,
                checkpoint_id AS "checkpoint_id: CheckpointId", tags, archived_at AS "archived_at: Timestamp",
                created_at AS "created_at: Timestamp", sessions.updated_at AS "updated_at: Timestamp", sequence,
                content AS "content: Json<Box<RawValue>>"
            FROM sessions JOIN projections USING (org_id, session_id)
            WHERE org_id = $1 AND session_id = ANY ($2)"#,
            org as OrgId,
            &sessions,
        )
        .fetch_all(store.of(org))
        .await?;
        let found = rows.into_iter().map(|row| {
            let projection = StoredProjection { sequence: row.sequence, content: row.content.0 };
            (row.session_id, (session_of!(row), projection))
        });
        let found: HashMap<SessionId, _> = found.collect();
        Ok(asked.iter().map(|View(session)| Answered::Done(found.get(session).cloned())).collect())
    }
}

impl Store {
    /// A session with its projection, as it is stored.
    pub async fn session_view(
        &self,
        org: OrgId,
        session: SessionId,
    ) -> Result<Option<(Session, StoredProjection)>, StoreError> {
        self.views.ask(self, org, View(session)).await
    }
}
