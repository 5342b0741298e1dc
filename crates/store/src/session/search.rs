//! Finding sessions by what people say of them.
//!
//! A page looks at a bounded stretch of sessions, those of the rarest term or all, in the order of their ids, and may
//! have fewer rows than it could, or none, though there are more further on: it says where it stopped. So no search costs more
//! than that stretch, however many sessions there are and however few match.
//!
//! Not here: what the terms of a session are (`domain::details`).

use domain::projection::SessionState;
use ids::{CheckpointId, OrgId, SessionId};
use sqlx::PgConnection;

use super::{Session, SessionRow};
use crate::wall::Reach;
use crate::{Store, StoreError};

/// Sessions that one page looks at.
const STRETCH: i64 = 1_000;

/// What a session must be to be found: all of it.
#[derive(Debug, Clone, Default)]
pub struct SessionSearch {
    /// As [`domain::details::wanted`] gives them.
    pub terms: Vec<String>,
    pub archived: Option<bool>,
    pub agent: Option<String>,
    pub state: Option<SessionState>,
}

impl Store {
    /// Sessions past `after` that match, oldest first, `limit` at most; and after which session a next page goes on. `None`:
    /// there are no more.
    pub async fn sessions_search(
        &self,
        org: OrgId,
        search: &SessionSearch,
        after: Option<SessionId>,
        limit: i64,
    ) -> Result<(Vec<Session>, Option<SessionId>), StoreError> {
        let during = || StoreError::during("sessions_search");
        let limit = limit.clamp(1, 200);
        let after = after.unwrap_or(uuid::Uuid::nil().into());
        let mut connection = self.connections.lend(Reach::Org(org)).await.map_err(during())?;
        let end = stretch_end(&mut connection, org, search.terms.first(), after).await.map_err(during())?;
        let until = end.unwrap_or(uuid::Uuid::max().into());
        let rows = matching(&mut connection, org, search, after, until, limit).await.map_err(during())?;
        connection.done();
        let found = rows.into_iter().map(SessionRow::read).collect::<Vec<_>>();
        let full = i64::try_from(found.len()).is_ok_and(|count| count >= limit);
        let next = if full { found.last().map(|session| session.session_id) } else { end };
        Ok((found, next))
    }
}

/// The last session that a page looks at; `None`: fewer are left.
async fn stretch_end(
    connection: &mut PgConnection,
    org: OrgId,
    term: Option<&String>,
    after: SessionId,
) -> Result<Option<SessionId>, sqlx::Error> {
    let Some(term) = term else {
        return sqlx::query_scalar!(
            r#"-- sessions_search_end
            SELECT session_id AS "session_id: SessionId" FROM sessions
            WHERE org_id = $1 AND session_id > $2 ORDER BY session_id OFFSET $3 LIMIT 1"#,
            org as OrgId,
            after as SessionId,
            STRETCH - 1,
        )
        .fetch_optional(connection)
        .await;
    };
    sqlx::query_scalar!(
        r#"-- sessions_search_end_of_term
        SELECT session_id AS "session_id: SessionId" FROM session_terms
        WHERE org_id = $1 AND term = $2 AND session_id > $3 ORDER BY session_id OFFSET $4 LIMIT 1"#,
        org as OrgId,
        term,
        after as SessionId,
        STRETCH - 1,
    )
    .fetch_optional(connection)
    .await
}

async fn matching(
    connection: &mut PgConnection,
    org: OrgId,
    search: &SessionSearch,
    after: SessionId,
    until: SessionId,
    limit: i64,
) -> Result<Vec<SessionRow>, sqlx::Error> {
    let state = search.state.map(SessionState::as_str);
    let Some((first, others)) = search.terms.split_first() else {
        return sqlx::query_file_as!(
            SessionRow,
            "src/session/search_all.sql",
            org as OrgId,
            after as SessionId,
            until as SessionId,
            search.archived,
            search.agent.as_deref(),
            state,
            limit,
        )
        .fetch_all(connection)
        .await;
    };
    sqlx::query_file_as!(
        SessionRow,
        "src/session/search_terms.sql",
        org as OrgId,
        after as SessionId,
        until as SessionId,
        search.archived,
        search.agent.as_deref(),
        state,
        limit,
        first,
        others,
    )
    .fetch_all(connection)
    .await
}
