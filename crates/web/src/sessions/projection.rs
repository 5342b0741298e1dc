//! How far a session's projection is, and making it anew from the events.
//!
//! Not here: its content, which comes with the session (`super`).

use axum::extract::State;
use clock::Timestamp;
use ids::SessionId;
use serde::Serialize;
use store::{ProjectionStatus, RebuildError, Rebuilt};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path};
use crate::problem::Problem;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProjectionStatus)]
pub(super) struct StatusView {
    /// The newest event that is folded in.
    sequence: i64,
    /// The newest event that there is.
    last_sequence: i64,
    /// Whether its content can be read at all.
    readable: bool,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RebuiltProjection)]
pub(super) struct RebuiltView {
    #[serde(flatten)]
    status: StatusView,
    /// Whether it was another one before.
    changed: bool,
}

impl From<ProjectionStatus> for StatusView {
    fn from(status: ProjectionStatus) -> Self {
        let ProjectionStatus { sequence, last_sequence, readable, updated_at } = status;
        Self { sequence, last_sequence, readable, updated_at }
    }
}

impl From<RebuildError> for Problem {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::NoSuchSession => Self::not_found("session"),
            RebuildError::Busy => {
                Self::conflict("a worker is at the session, and writes its projection; ask again when it is idle")
            }
            RebuildError::Damaged(damaged) => Self::conflict(format!(
                "the session's events don't add up to what happened: {damaged}; restore them first"
            )),
            RebuildError::Store(error) => error.into(),
        }
    }
}

/// How far a session's projection is.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}/projection",
    operation_id = "projection_status",
    tag = "sessions",
    responses((status = 200, description = "As it is now.", body = StatusView)),
    security(("token" = ["sessions.read"])),
)]
pub(super) async fn status(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
) -> Result<Json<StatusView>, Problem> {
    let found = app.store.projection_status(caller.org, session).await?;
    Ok(Json(found.ok_or_else(|| Problem::not_found("session"))?.into()))
}

/// Makes a session's projection anew from its events. Takes as long as there are events, and nothing happens in the session
/// meanwhile.
#[utoipa::path(
    post,
    path = "/api/sessions/{session_id}/projection/rebuild",
    operation_id = "projection_rebuild",
    tag = "sessions",
    responses((status = 200, description = "It is what the events add up to.", body = RebuiltView), (status = 409, description = "A worker is at the session, or an event is missing; `detail` says which.")),
    security(("token" = ["sessions.write"])),
)]
pub(super) async fn rebuild(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
) -> Result<Json<RebuiltView>, Problem> {
    let Rebuilt { status, changed } = app.store.projection_rebuild(caller.org, session, &caller.actor()).await?;
    Ok(Json(RebuiltView { status: status.into(), changed }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_projection_is_looked_at_and_made_anew() {
        let world = World::new().await;
        let created = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
        let path = format!("/api/sessions/{}/projection", created["session_id"].as_str().unwrap());
        let status = world.get(&path).await.expect(200);
        assert_eq!((&status["sequence"], &status["last_sequence"]), (&json!(1), &json!(1)));
        assert_eq!(status["readable"], true);
        let rebuilt = world.post(&format!("{path}/rebuild"), json!({})).await.expect(200);
        assert_eq!((&rebuilt["changed"], &rebuilt["sequence"]), (&json!(false), &json!(1)));
    }
}
