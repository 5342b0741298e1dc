//! Profiles: presets that an org gives its sessions and workflows.
//!
//! A profile is looked up once, when a session or a workflow is made, which keeps what it said. What a request names itself goes
//! before what its profile says.
//!
//! Not here: which agents there are (`agents`).

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use clock::Timestamp;
use domain::details::Tags;
use domain::profile::ProfileName;
use ids::OrgId;
use serde::{Deserialize, Serialize};
use store::Profile;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::sessions::scripted;
use crate::text::Word;
use crate::{agents, etag};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(view, put, delete))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Profile)]
struct ProfileView {
    name: String,
    agent: String,
    /// In lower case, sorted.
    tags: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Profile> for ProfileView {
    fn from(profile: Profile) -> Self {
        let Profile { name, agent, tags, updated_at, version: _ } = profile;
        Self { name, agent, tags: tags.as_slice().to_vec(), updated_at }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PutProfile, example = json!({"agent": "scripted", "tags": ["research"]}))]
#[serde(deny_unknown_fields)]
struct Put {
    #[schema(inline)]
    agent: Word,
    /// Of sessions that begin with it. Letters, digits and `. _ : / -`; kept in lower case.
    #[serde(default)]
    #[schema(max_items = 20, example = json!(["research"]))]
    tags: Vec<String>,
}

/// The profiles of the org, by name.
#[utoipa::path(
    get,
    path = "/api/profiles",
    operation_id = "profile_list",
    tag = "sessions",
    params(Paging<ProfileName>),
    responses((status = 200, description = "A page of them.", body = Page<ProfileView>)),
    security(("token" = ["sessions.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<ProfileName>>,
) -> Result<Json<Page<ProfileView>>, Problem> {
    let after = paging.cursor.as_ref().map(ProfileName::as_str);
    let profiles = app.store.profile_list(caller.org, after, paging.limit()).await?;
    Ok(Json(Page::of(profiles, paging.limit(), |profile| profile.name.clone()).map(ProfileView::from)))
}

/// A profile.
#[utoipa::path(
    get,
    path = "/api/profiles/{profile}",
    operation_id = "profile_view",
    tag = "sessions",
    responses((status = 200, description = "As it is now.", body = ProfileView, headers(("ETag" = String, description = "Strong; of its present state."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["sessions.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(profile): Path<String>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let name = profile.parse().map_err(|_| Problem::not_found("profile"))?;
    let profile = find(&app, caller.org, &name).await?;
    etag::tagged_unless_known(&app, profile.version, &request, ProfileView::from(profile))
}

/// Makes a profile, or changes what it says. What was made with it before stays as it is. With `If-None-Match: *` it is made only
/// if there is none of this name.
#[utoipa::path(
    put,
    path = "/api/profiles/{profile}",
    operation_id = "profile_put",
    tag = "sessions",
    request_body = Put,
    responses((status = 200, description = "As it is now.", body = ProfileView, headers(("ETag" = String, description = "Of the new state."))), (status = 412, description = "It is not in the state that `If-Match` names, or it is there in spite of `If-None-Match: *`."), (status = 422, description = "No worker has this agent (`unknown_agent`), or the request can't be carried out as it is written otherwise; `detail` says what to change.")),
    security(("token" = ["workflows.write"])),
)]
async fn put(
    State(app): State<App>,
    caller: Caller,
    Path(profile): Path<String>,
    request: HeaderMap,
    Json(new): Json<Put>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    let name: ProfileName = profile.parse().map_err(|_| {
        Problem::invalid("a profile's name has lower-case letters, digits and hyphens, 50 at most, a letter first")
    })?;
    let tags = Tags::new(new.tags).map_err(|error| Problem::invalid(error.to_string()))?;
    let agent = new.agent.trimmed();
    agents::must_be_usable(&app, caller.org, &agent).await?;
    let put = app.store.profile_put(caller.org, &name, &agent, &tags, &expected, &caller.actor()).await?;
    Ok(etag::tagged(&app, put.version, ProfileView::from(put)))
}

/// Takes a profile away. What was made with it stays as it is.
#[utoipa::path(
    delete,
    path = "/api/profiles/{profile}",
    operation_id = "profile_delete",
    tag = "sessions",
    responses((status = 204, description = "It is gone."), (status = 412, description = "It is not in the state that `If-Match` names.")),
    security(("token" = ["workflows.write"])),
)]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(profile): Path<String>,
    request: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = etag::expected(&app, &request)?;
    let name = profile.parse().map_err(|_| Problem::not_found("profile"))?;
    app.store.profile_delete(caller.org, &name, &expected, &caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, org: OrgId, name: &ProfileName) -> Result<Profile, Problem> {
    app.store.profile_get(org, name).await?.ok_or_else(|| Problem::not_found("profile"))
}

/// What something begins with: the agent that its request names, or its profile's, or the one of what names none; and the
/// profile's tags. The agent is one that can be run, as far as that is known.
pub(crate) async fn resolve(
    app: &App,
    org: OrgId,
    agent: Option<&Word>,
    profile: Option<&ProfileName>,
) -> Result<(String, Tags), Problem> {
    let profile = match profile {
        Some(name) => Some(find(app, org, name).await?),
        None => None,
    };
    let (preset, tags) = profile.map(|profile| (profile.agent, profile.tags)).unzip();
    let agent = agent.map(Word::trimmed).or(preset).unwrap_or_else(|| scripted().trimmed());
    agents::must_be_usable(app, org, &agent).await?;
    Ok((agent, tags.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, request};
    use axum::body::Body;

    #[tokio::test]
    async fn a_session_keeps_what_its_profile_said_when_it_began() {
        let world = World::new().await;
        let put = json!({"agent": "painter", "tags": ["Art", "art"]});
        let seen = world.put("/api/profiles/studio", put).await.expect(200);
        assert_eq!((&seen["agent"], &seen["tags"]), (&json!("painter"), &json!(["art"])));
        let begin = |body| world.post("/api/sessions", body);
        let made = begin(json!({"title": "Plan", "profile": "studio"})).await.expect(201);
        assert_eq!((&made["agent"], &made["tags"]), (&json!("painter"), &json!(["art"])));
        assert_eq!(world.get("/api/sessions?tags=art").await.expect(200)["items"], json!([made]));
        let own = begin(json!({"title": "Plan", "agent": "dancer", "profile": "studio"})).await.expect(201);
        assert_eq!((&own["agent"], &own["tags"]), (&json!("dancer"), &json!(["art"])));
        let plain = begin(json!({"title": "Plan"})).await.expect(201);
        assert_eq!((&plain["agent"], &plain["tags"]), (&json!("scripted"), &json!([])));

        let workflow = json!({"name": "n", "prompt": "say hi", "profile": "studio", "triggers": []});
        assert_eq!(world.post("/api/workflows", workflow).await.expect(201)["agent"], "painter");

        world.put("/api/profiles/studio", json!({"agent": "scripted"})).await.expect(200);
        world.delete("/api/profiles/studio").await.expect(204);
        world.delete("/api/profiles/studio").await.expect_problem(404, "not_found");
        let path = format!("/api/sessions/{}", made["session_id"].as_str().unwrap());
        assert_eq!(world.get(&path).await.expect(200)["agent"], "painter");
        begin(json!({"title": "Plan", "profile": "studio"})).await.expect_problem(404, "not_found");

        let audit = world.get("/api/audit?limit=200").await.expect(200);
        let actions = audit["items"].as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap());
        let actions: Vec<_> = actions.filter(|action| action.starts_with("profile.")).collect();
        assert_eq!(actions.len(), 3, "{actions:?}");
    }

    #[tokio::test]
    async fn of_two_who_change_a_profile_the_second_is_told() {
        let world = World::new().await;
        let send = async |method: &str, condition: (&str, &str), agent: &str| {
            let path = "/api/profiles/ours";
            let request = request(method, path, &world.operator).header("content-type", "application/json");
            let body = json!({"agent": agent}).to_string();
            world.send(request.header(condition.0, condition.1).body(Body::from(body)).unwrap()).await
        };
        let made = send("PUT", ("if-none-match", "*"), "a").await;
        made.expect(200);
        send("PUT", ("if-none-match", "*"), "b").await.expect_problem(412, "precondition_failed");
        let first = made.headers["etag"].to_str().unwrap();
        assert_eq!(world.get("/api/profiles/ours").await.headers["etag"], first);
        send("PUT", ("if-match", first), "b").await.expect(200);
        send("PUT", ("if-match", first), "c").await.expect_problem(412, "precondition_failed");
        send("DELETE", ("if-match", first), "c").await.expect_problem(412, "precondition_failed");
        assert_eq!(world.get("/api/profiles").await.expect(200)["items"][0]["agent"], "b");
    }

    #[tokio::test]
    async fn pages_of_profiles_go_on_where_the_last_one_ended() {
        let world = World::new().await;
        for name in ["b", "c", "a"] {
            world.put(&format!("/api/profiles/{name}"), json!({"agent": "scripted"})).await.expect(200);
        }
        let told = async |query: &str| {
            let page = world.get(&format!("/api/profiles{query}")).await.expect(200);
            let items = page["items"].as_array().unwrap().clone();
            let names = items.iter().map(|item| item["name"].as_str().unwrap()).collect::<String>();
            (names, page["next_cursor"].as_str().map(str::to_owned))
        };
        assert_eq!(told("").await, ("abc".to_owned(), None));
        assert_eq!(told("?limit=2").await, ("ab".to_owned(), Some("b".to_owned())));
        assert_eq!(told("?limit=2&cursor=b").await, ("c".to_owned(), None));
    }

    #[tokio::test]
    async fn a_profile_is_its_orgs_and_within_bounds() {
        let world = World::new().await;
        world.put("/api/profiles/ours", json!({"agent": "scripted"})).await.expect(200);
        let (_, stranger) = world.other_org().await;
        world.get_as(&stranger, "/api/profiles/ours").await.expect_problem(404, "not_found");
        world.delete_as(&stranger, "/api/profiles/ours").await.expect_problem(404, "not_found");
        let theirs = json!({"title": "Plan", "profile": "ours"});
        world.post_as(&stranger, "/api/sessions", theirs).await.expect_problem(404, "not_found");
        assert_eq!(world.get_as(&stranger, "/api/profiles").await.expect(200)["items"], json!([]));
        for (name, body) in [
            ("Ours", json!({"agent": "a"})),
            ("1", json!({"agent": "a"})),
            ("a", json!({"agent": ""})),
            ("a", json!({"agent": "a", "tags": ["a b"]})),
            ("a", json!({"agent": "a", "instructions": "dance"})),
        ] {
            world.put(&format!("/api/profiles/{name}"), body).await.expect_problem(422, "invalid");
        }
        let odd = json!({"title": "Plan", "profile": "Ours"});
        world.post("/api/sessions", odd).await.expect_problem(422, "invalid");
    }
}
