//! A session's projection as something that can be wrong: how far it is, and made anew from the events.
//!
//! Events are what happened, and the projection only what they add up to. Workers keep it up to date with every event; this
//! is for one that was damaged.
//!
//! Not here: folding (`domain::projection`), finding out which ones are wrong (a drill compares all of them).

use clock::Timestamp;
use domain::fold::{Damaged, Fold};
use domain::projection::Projection;
use ids::{OrgId, SessionId};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::{Store, StoreError, audit, event};

/// Events of one reading.
const PAGE: i64 = 1_000;

/// How far a projection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectionStatus {
    /// The newest event that is folded in.
    pub sequence: i64,
    /// The newest event that there is.
    pub last_sequence: i64,
    /// Whether its content can be read at all.
    pub readable: bool,
    pub updated_at: Timestamp,
}

/// What rebuilding found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    pub status: ProjectionStatus,
    /// Whether it was another one before.
    pub changed: bool,
}

/// Why a projection stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the org has no such session")]
    NoSuchSession,
    /// It writes the projection with its next event.
    #[error("a worker is at the session")]
    Busy,
    #[error("the session's events are damaged: {0}")]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    pub async fn projection_status(
        &self,
        org: OrgId,
        session: SessionId,
    ) -> Result<Option<ProjectionStatus>, StoreError> {
        sqlx::query_as!(
            ProjectionStatus,
            r#"-- projection_status
            SELECT projections.sequence, last_sequence, projections.state IS NOT NULL AS "readable!",
                projections.updated_at
            FROM sessions JOIN projections USING (org_id, session_id) WHERE org_id = $1 AND session_id = $2"#,
            org as OrgId,
            session as SessionId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("projection_status"))
    }

    /// Folds all events of a session anew, and puts the result in the place of its projection. The session is locked meanwhile,
    /// and a worker that was lost while it held the session writes nothing to it any more: it has the old one.
    ///
    /// # Errors
    /// [`RebuildError::Damaged`] if an event is missing: what is left does not add up to what happened, and the stored projection
    /// may be the better one.
    pub async fn projection_rebuild(
        &self,
        org: OrgId,
        session: SessionId,
        actor: &str,
    ) -> Result<Rebuilt, RebuildError> {
        let during = || StoreError::during("projection_rebuild");
        let now = self.sources.now();
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let last = lock(&mut tx, org, session).await.map_err(during())?.ok_or(RebuildError::NoSuchSession)?;
        if held(&mut tx, org, session, now).await.map_err(during())? {
            return Err(RebuildError::Busy);
        }
        let projection = fold(&mut tx, org, session, last).await?;
        let changed = write(&mut tx, org, session, last, &projection, now).await.map_err(during())?;
        let (target, detail) = (format!("session:{session}"), json!({"sequence": last, "changed": changed}));
        audit::record(&mut tx, &self.sources, org, actor, "projection.rebuild", &target, detail)
            .await
            .map_err(during())?;
        tx.commit().await.map_err(during())?;
        let status = self.projection_status(org, session).await?.ok_or(RebuildError::NoSuchSession)?;
        Ok(Rebuilt { status, changed })
    }
}

/// As every writer of a session does first, and whoever had it before is fenced off. The session's newest event.
async fn lock(connection: &mut PgConnection, org: OrgId, session: SessionId) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "-- projection_lock
        UPDATE sessions SET fencing_counter = fencing_counter + 1 WHERE org_id = $1 AND session_id = $2
        RETURNING last_sequence",
        org as OrgId,
        session as SessionId,
    )
    .fetch_optional(connection)
    .await
}

/// Whether a worker is at it. Asked after the lock: whoever claims takes that, too.
async fn held(
    connection: &mut PgConnection,
    org: OrgId,
    session: SessionId,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- projection_held
        SELECT EXISTS (
            SELECT FROM session_leases WHERE org_id = $1 AND session_id = $2 AND leased_until > $3) AS "held!""#,
        org as OrgId,
        session as SessionId,
        now,
    )
    .fetch_one(connection)
    .await
}

async fn fold(
    connection: &mut PgConnection,
    org: OrgId,
    session: SessionId,
    last: i64,
) -> Result<Projection, RebuildError> {
    let mut fold = Fold::default();
    while fold.sequence < last {
        let page = event::after(&mut *connection, org, session, fold.sequence, PAGE).await?;
        if page.is_empty() {
            break;
        }
        page.iter().try_for_each(|recorded| fold.take(recorded))?;
    }
    Ok(fold.up_to(last)?)
}

/// Whether it was another one before.
async fn write(
    connection: &mut PgConnection,
    org: OrgId,
    session: SessionId,
    sequence: i64,
    projection: &Projection,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let written = sqlx::query!(
        "-- projection_write
        UPDATE projections SET sequence = $3, content = $4, updated_at = $5
        WHERE org_id = $1 AND session_id = $2 AND (sequence, content) IS DISTINCT FROM ($3, $4)",
        org as OrgId,
        session as SessionId,
        sequence,
        Json(projection) as Json<&Projection>,
        now,
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected() == 1)
}
