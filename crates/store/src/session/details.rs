//! What people say of a session: title, tags, whether it is archived.
//!
//! They are of the row, not of its events: whoever renames a session must not stand in the way of the worker that appends to
//! it. So the projection keeps the title that the session began with, and `version` counts these changes and no others.
//!
//! Not here: which titles and tags there can be (`domain::details`), refusing prompts (`command`).

use clock::{Sources, Timestamp};
use domain::details::{Tags, terms};
use domain::version::{Expected, RowVersion};
use ids::{OrgId, ProjectSourceId, SessionId};
use serde_json::json;
use sqlx::PgConnection;

use crate::{ChangeError, Store, StoreError, audit};

/// What people say of a session. All of it depends on `version` and on nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDetails {
    pub session_id: SessionId,
    pub title: String,
    pub tags: Vec<String>,
    pub archived_at: Option<Timestamp>,
    /// What its workspace began with. `None`: an empty folder. Never changes.
    pub project_source_id: Option<ProjectSourceId>,
    pub version: RowVersion,
}

/// What changes; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct SessionChange {
    pub title: Option<String>,
    pub tags: Option<Tags>,
    pub archived: Option<bool>,
}

struct Row {
    title: String,
    tags: Vec<String>,
    archived_at: Option<Timestamp>,
    project_source_id: Option<ProjectSourceId>,
    created_at: Timestamp,
    version: i64,
}

impl Row {
    fn read(self, session_id: SessionId) -> SessionDetails {
        let version = RowVersion { since: self.created_at, version: self.version };
        let Self { title, tags, archived_at, project_source_id, .. } = self;
        SessionDetails { session_id, title, tags, archived_at, project_source_id, version }
    }
}

impl Store {
    pub async fn session_details(&self, org: OrgId, session: SessionId) -> Result<Option<SessionDetails>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- session_details
            SELECT title, tags, archived_at, project_source_id AS "project_source_id: ProjectSourceId", created_at, version
            FROM sessions WHERE org_id = $1 AND session_id = $2"#,
            org as OrgId,
            session as SessionId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("session_details"))?;
        Ok(row.map(|row| row.read(session)))
    }

    /// Changes what people say of a session, if it is in the state that the change was made for. One that changes nothing
    /// writes nothing.
    pub async fn session_change(
        &self,
        org: OrgId,
        session: SessionId,
        change: &SessionChange,
        expected: &Expected,
        actor: &str,
    ) -> Result<SessionDetails, ChangeError> {
        let during = || StoreError::during("session_change");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let found = lock(&mut tx, org, session).await.map_err(during())?.ok_or(ChangeError::NoSuch("session"))?;
        if !expected.met_by(Some(found.version)) {
            return Err(ChangeError::Stale("session"));
        }
        let changed = changed(&found, change, self.sources.now());
        if changed == found {
            return Ok(found);
        }
        write(&mut tx, org, &changed).await.map_err(during())?;
        if (&changed.title, &changed.tags) != (&found.title, &found.tags) {
            index(&mut tx, org, &changed).await.map_err(during())?;
        }
        record(&mut tx, &self.sources, org, &found, &changed, actor).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(changed)
    }
}

/// Takes a session out of the archive for a message from outside, in the transaction that makes it a prompt.
pub(crate) async fn bring_back(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    session: SessionId,
) -> Result<(), sqlx::Error> {
    let Some(found) = lock(connection, org, session).await?.filter(|found| found.archived_at.is_some()) else {
        return Ok(());
    };
    let back = SessionChange { archived: Some(false), ..SessionChange::default() };
    let changed = changed(&found, &back, sources.now());
    write(connection, org, &changed).await?;
    record(connection, sources, org, &found, &changed, "role:gateway").await
}

/// As every writer of a session does first.
async fn lock(
    connection: &mut PgConnection,
    org: OrgId,
    session: SessionId,
) -> Result<Option<SessionDetails>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"-- session_details_lock
        SELECT title, tags, archived_at, project_source_id AS "project_source_id: ProjectSourceId", created_at, version
        FROM sessions WHERE org_id = $1 AND session_id = $2 FOR NO KEY UPDATE"#,
        org as OrgId,
        session as SessionId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.read(session)))
}

/// The same value, version and all, if nothing changes.
fn changed(found: &SessionDetails, change: &SessionChange, now: Timestamp) -> SessionDetails {
    let mut changed = found.clone();
    if let Some(title) = &change.title {
        changed.title.clone_from(title);
    }
    if let Some(tags) = &change.tags {
        changed.tags = tags.as_slice().to_vec();
    }
    match change.archived {
        Some(true) => changed.archived_at = found.archived_at.or(Some(now)),
        Some(false) => changed.archived_at = None,
        None => {}
    }
    if changed != *found {
        changed.version.version += 1;
    }
    changed
}

async fn write(connection: &mut PgConnection, org: OrgId, changed: &SessionDetails) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- session_change
        UPDATE sessions SET title = $3, tags = $4, archived_at = $5, version = $6 WHERE org_id = $1 AND session_id = $2",
        org as OrgId,
        changed.session_id as SessionId,
        changed.title,
        &changed.tags,
        changed.archived_at,
        changed.version.version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn index(connection: &mut PgConnection, org: OrgId, changed: &SessionDetails) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- session_index
        WITH gone AS (
            DELETE FROM session_terms WHERE org_id = $1 AND session_id = $2 AND term <> ALL ($3::text[])
        )
        INSERT INTO session_terms (org_id, session_id, term) SELECT $1, $2, unnest($3::text[]) ON CONFLICT DO NOTHING",
        org as OrgId,
        changed.session_id as SessionId,
        &terms(&changed.title, &changed.tags),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One entry for each thing that changed: an auditor asks who renamed, not who patched.
async fn record(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    found: &SessionDetails,
    changed: &SessionDetails,
    actor: &str,
) -> Result<(), sqlx::Error> {
    let target = format!("session:{}", found.session_id);
    let archive = if changed.archived_at.is_some() { "session.archive" } else { "session.unarchive" };
    let entries = [
        (found.title != changed.title, "session.rename", json!({"title": changed.title})),
        // How many and not which: an erasure would have to find them here.
        (found.tags != changed.tags, "session.tag", json!({"tags": changed.tags.len()})),
        (found.archived_at != changed.archived_at, archive, json!({})),
    ];
    for (_, action, detail) in entries.into_iter().filter(|(happened, ..)| *happened) {
        audit::record(connection, sources, org, actor, action, &target, detail).await?;
    }
    Ok(())
}
