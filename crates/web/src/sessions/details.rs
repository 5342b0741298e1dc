//! What people say of a session: title, tags, whether it is archived. A resource of its own, since it has a version of its
//! own: its ETag stays when the agent goes on.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clock::Timestamp;
use domain::details::Tags;
use domain::version::RowVersion;
use ids::{ProjectSourceId, SessionId};
use serde::{Deserialize, Serialize};
use store::{SessionChange, SessionDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Path};
use crate::problem::Problem;
use crate::text::Name;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionDetails)]
pub(super) struct DetailsView {
    session_id: SessionId,
    title: String,
    /// In lower case, sorted.
    tags: Vec<String>,
    /// Since when it takes no prompts. `null`: it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    archived_at: Option<Timestamp>,
    /// What its workspace began with. `null`: an empty folder.
    project_source_id: Option<ProjectSourceId>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeSession, example = json!({"title": "Plan the week", "tags": ["ops"]}))]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[schema(inline)]
    title: Option<Name>,
    /// All that it has from now on. Letters, digits and `. _ : / -`; kept in lower case.
    #[schema(max_items = 20, example = json!(["ops"]))]
    tags: Option<Vec<String>>,
    archived: Option<bool>,
}

fn shown(details: SessionDetails) -> (RowVersion, DetailsView) {
    let SessionDetails { session_id, title, tags, archived_at, project_source_id, version } = details;
    (version, DetailsView { session_id, title, tags, archived_at, project_source_id })
}

/// What people say of a session.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}/details",
    operation_id = "session_details",
    tag = "sessions",
    responses((status = 200, description = "As it is now.", body = DetailsView, headers(("ETag" = String, description = "Strong; of title, tags and archive, whatever the agent does."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["sessions.read"])),
)]
pub(super) async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let found = app.store.session_details(caller.org, session).await?;
    let (version, view) = shown(found.ok_or_else(|| Problem::not_found("session"))?);
    etag::tagged_unless_known(&app, version, &request, view)
}

/// Renames a session, tags it, archives it or brings it back. What is not named stays as it is.
///
/// An archived session takes no prompts; what was asked of it before is carried out. A message from a channel brings it back.
#[utoipa::path(
    patch,
    path = "/api/sessions/{session_id}/details",
    operation_id = "session_change",
    tag = "sessions",
    request_body = Change,
    responses((status = 200, description = "As it is now.", body = DetailsView, headers(("ETag" = String, description = "Of the new state."))), (status = 412, description = "It is not in the state that `If-Match` names.")),
    security(("token" = ["sessions.write"])),
)]
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
    request: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    let title = change.title.map(|title| title.trimmed());
    let tags = change.tags.map(Tags::new).transpose().map_err(|error| Problem::invalid(error.to_string()))?;
    let change = SessionChange { title, tags, archived: change.archived };
    let changed = app.store.session_change(caller.org, session, &change, &expected, &caller.actor()).await?;
    let (version, view) = shown(changed);
    Ok(etag::tagged(&app, version, view))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::json;

    use crate::testing::{World, request};

    async fn session(world: &World) -> String {
        let created = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
        format!("/api/sessions/{}", created["session_id"].as_str().unwrap())
    }

    #[tokio::test]
    async fn a_session_is_renamed_tagged_archived_and_brought_back() {
        let world = World::new().await;
        let path = session(&world).await;
        let details = format!("{path}/details");
        let change = json!({"title": "Groceries", "tags": ["Food", "home", "food"]});
        let changed = world.patch(&details, change).await.expect(200);
        assert_eq!((&changed["title"], &changed["tags"]), (&json!("Groceries"), &json!(["food", "home"])));
        world.patch(&details, json!({"archived": true})).await.expect(200);
        let seen = world.get(&path).await.expect(200);
        assert_eq!((&seen["title"], &seen["tags"]), (&json!("Groceries"), &json!(["food", "home"])));
        assert!(seen["archived_at"].is_string(), "{seen}");
        assert_eq!(seen["projection"]["content"]["title"], "Plan", "events are facts");

        let prompt = json!({"kind": "prompt", "payload": {"text": "hi"}});
        let commands = format!("{path}/commands");
        world.post(&commands, prompt.clone()).await.expect_problem(409, "archived");
        world.patch(&details, json!({"archived": false})).await.expect(200);
        world.post(&commands, prompt).await.expect(202);
    }

    #[tokio::test]
    async fn of_two_who_edit_the_second_is_told() {
        let world = World::new().await;
        let path = session(&world).await;
        let details = format!("{path}/details");
        let tag = world.get(&details).await.headers["etag"].to_str().unwrap().to_owned();
        world.post(&format!("{path}/commands"), json!({"kind": "prompt", "payload": {"text": "hi"}})).await.expect(202);
        let first = world.patch_if(&details, &tag, json!({"title": "A"})).await;
        first.expect(200);
        world.patch_if(&details, &tag, json!({"title": "B"})).await.expect_problem(412, "precondition_failed");
        world
            .patch_if(&details, &format!("W/{tag}"), json!({"title": "B"}))
            .await
            .expect_problem(412, "precondition_failed");
        world.patch_if(&details, "A", json!({"title": "B"})).await.expect_problem(422, "invalid");
        let newest = first.headers["etag"].to_str().unwrap();
        world.patch_if(&details, &format!("{tag}, {newest}"), json!({"title": "B"})).await.expect(200);
        assert_eq!(world.get(&path).await.expect(200)["title"], "B");

        let tag = world.get(&details).await.headers["etag"].clone();
        let again = request("GET", &details, &world.operator).header("if-none-match", tag).body(Body::empty());
        let again = world.send(again.unwrap()).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    }

    #[tokio::test]
    async fn what_is_out_of_bounds_changes_nothing() {
        let world = World::new().await;
        let details = format!("{}/details", session(&world).await);
        let many: Vec<String> = (0..21).map(|n| format!("t{n}")).collect();
        for body in [
            json!({"title": " "}),
            json!({"title": "x".repeat(201)}),
            json!({"tags": ["a b"]}),
            json!({"tags": many}),
            json!({"name": "x"}),
        ] {
            world.patch(&details, body).await.expect_problem(422, "invalid");
        }
        assert_eq!(world.get(&details).await.expect(200)["title"], "Plan");
        let (_, stranger) = world.other_org().await;
        world.patch_as(&stranger, &details, json!({"title": "Mine"})).await.expect_problem(404, "not_found");
    }
}
