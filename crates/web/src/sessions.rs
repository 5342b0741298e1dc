//! Sessions: durable conversations with an agent.
//!
//! Not here: what is asked of them (`commands`), what happens in them (`events`), carrying it out (`worker`).

mod details;
mod import;
mod projection;
mod search;

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::profile::ProfileName;
use domain::projection::SessionState;
use ids::{CheckpointId, OrgId, ProjectSourceId, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{NewSession, Session, SessionStart, StoredProjection};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path};
use crate::instant;
use crate::problem::Problem;
use crate::profiles;
use crate::text::{Name, Word};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search::list, create))
        .routes(routes!(import::import))
        .routes(routes!(view))
        .routes(routes!(details::view, details::change))
        .routes(routes!(projection::status))
        .routes(routes!(projection::rebuild))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionView {
    session_id: SessionId,
    title: String,
    agent: String,
    /// `null`: its projection is damaged, and can be rebuilt.
    state: Option<SessionState>,
    last_sequence: i64,
    checkpoint_id: Option<CheckpointId>,
    /// In lower case, sorted.
    tags: Vec<String>,
    /// Since when it takes no prompts. `null`: it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    archived_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "instant::write")]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "instant::write")]
    updated_at: Timestamp,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        Self {
            session_id: session.session_id,
            title: session.title,
            agent: session.agent,
            state: session.state,
            last_sequence: session.last_sequence,
            checkpoint_id: session.checkpoint_id,
            tags: session.tags,
            archived_at: session.archived_at,
            created_at: session.created_at,
            updated_at: session.updated_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionWithProjection)]
struct WithProjection {
    #[serde(flatten)]
    session: SessionView,
    projection: ProjectionView,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Projection)]
struct ProjectionView {
    sequence: i64,
    /// As it is stored.
    #[schema(value_type = serde_json::Value)]
    content: Box<RawValue>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewSession, example = json!({"title": "Plan the week", "agent": "scripted"}))]
#[serde(deny_unknown_fields)]
struct Create {
    #[schema(inline)]
    title: Name,
    /// Without it that of the profile, or `scripted`.
    #[schema(inline)]
    agent: Option<Word>,
    /// The session takes its agent, if none is named, and its tags.
    #[schema(inline)]
    profile: Option<ProfileName>,
    /// What its workspace begins with. Without one: an empty folder.
    project_source: Option<ProjectSourceId>,
}

/// The agent of what names none.
pub(crate) fn scripted() -> Word {
    Word::literal("scripted")
}

/// Begins a session.
#[utoipa::path(
    post,
    path = "/api/sessions",
    operation_id = "session_create",
    tag = "sessions",
    request_body = Create,
    responses((status = 201, description = "It is there, and idle.", body = SessionView), (status = 422, description = "No worker has this agent (`unknown_agent`), or the request can't be carried out as it is written otherwise; `detail` says what to change.")),
    security(("token" = ["sessions.write"])),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<SessionView>), Problem> {
    let title = new.title.trimmed();
    let (agent, tags) = profiles::resolve(&app, caller.org, new.agent.as_ref(), new.profile.as_ref()).await?;
    let with = SessionStart { tags, source: new.project_source };
    let new = NewSession { org: caller.org, created_by: Some(caller.account), title, agent };
    let begun = app.store.session_begin(app.generation.generation, &new, &with).await?;
    let session = begun.ok_or_else(|| Problem::not_found("project source"))?;
    Ok((StatusCode::CREATED, Json(find(&app, caller.org, session).await?.into())))
}

/// A session with its projection.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}",
    operation_id = "session_view",
    tag = "sessions",
    responses((status = 200, description = "The session and what its events add up to.", body = WithProjection)),
    security(("token" = ["sessions.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
) -> Result<Json<WithProjection>, Problem> {
    let found = app.store.session_view(caller.org, session).await?;
    let (session, StoredProjection { sequence, content }) = found.ok_or_else(|| Problem::not_found("session"))?;
    Ok(Json(WithProjection { session: session.into(), projection: ProjectionView { sequence, content } }))
}

async fn find(app: &App, org: OrgId, session: SessionId) -> Result<Session, Problem> {
    app.store.session_by_id(org, session).await?.ok_or_else(|| Problem::not_found("session"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_session_begins_with_its_first_event_folded() {
        let world = World::new().await;
        let created = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
        assert_eq!((&created["state"], &created["agent"]), (&json!("idle"), &json!("scripted")));
        let path = format!("/api/sessions/{}", created["session_id"].as_str().unwrap());
        let seen = world.get(&path).await.expect(200);
        assert_eq!(seen["projection"]["sequence"], 1);
        assert_eq!(seen["projection"]["content"]["title"], "Plan");
        let listed = world.get("/api/sessions?limit=1").await.expect(200);
        assert_eq!(listed["items"][0], created);
        let next = format!("/api/sessions?cursor={}", listed["next_cursor"].as_str().unwrap());
        assert_eq!(world.get(&next).await.expect(200)["items"], json!([]));
    }

    #[tokio::test]
    async fn another_org_sees_nothing_of_a_session() {
        let world = World::new().await;
        let created = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
        let path = format!("/api/sessions/{}", created["session_id"].as_str().unwrap());
        let (_, token) = world.other_org().await;
        for path in [path.clone(), format!("{path}/events"), format!("{path}/commands"), format!("{path}/artifacts")] {
            world.get_as(&token, &path).await.expect_problem(404, "not_found");
            world.get(&path).await.expect(200);
        }
        assert_eq!(world.get_as(&token, "/api/sessions").await.expect(200)["items"], json!([]));
        let prompt = json!({"kind": "prompt", "payload": {"text": "hi"}});
        world.post_as(&token, &format!("{path}/commands"), prompt).await.expect_problem(404, "not_found");
    }

    #[tokio::test]
    async fn a_session_without_a_title_or_with_an_unknown_field_is_refused() {
        let world = World::new().await;
        for body in [json!({}), json!({"title": " "}), json!({"title": "t", "agnet": "scripted"})] {
            world.post("/api/sessions", body).await.expect_problem(422, "invalid");
        }
    }
}
