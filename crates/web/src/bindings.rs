//! Bindings: channel threads tied to sessions, each with its delivery cursor.
//!
//! A new binding's cursor stands at the session's newest event: what was said before is not told in the thread. An unbound
//! thread is told nothing more.
//!
//! Not here: rendering and moving the cursor (`gateway`).

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::channel::THREAD_CHARS;
use ids::{BindingId, ChannelId, SessionId};
use serde::{Deserialize, Serialize};
use store::{Binding, BindingError, NewBinding};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::Text;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(view, remove))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Binding)]
struct BindingView {
    binding_id: BindingId,
    channel_id: ChannelId,
    thread: String,
    session_id: SessionId,
    cursor_sequence: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Binding> for BindingView {
    fn from(binding: Binding) -> Self {
        let Binding { binding_id, channel_id, thread, session_id, cursor_sequence, created_at } = binding;
        Self { binding_id, channel_id, thread, session_id, cursor_sequence, created_at }
    }
}

impl From<BindingError> for Problem {
    fn from(error: BindingError) -> Self {
        match error {
            BindingError::NoSuchChannel => Self::not_found("channel"),
            BindingError::NoSuchSession => Self::not_found("session"),
            BindingError::ThreadTaken => Self::conflict("this thread of the channel is bound to a session already"),
            BindingError::Database(_) => Self::internal(error),
        }
    }
}

type Thread = Text<1, THREAD_CHARS>;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewBinding)]
#[serde(deny_unknown_fields)]
struct Create {
    channel_id: ChannelId,
    #[schema(inline)]
    thread: Thread,
    session_id: SessionId,
}

/// Ties a channel's thread to a session: what is said there goes to the session, and its turns are told there.
#[utoipa::path(
    post,
    path = "/api/bindings",
    operation_id = "binding_create",
    tag = "channels",
    request_body = Create,
    responses((status = 201, description = "It is bound.", body = BindingView), (status = 409, description = "The thread is bound already.")),
    security(("token" = ["channels.write"])),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<BindingView>), Problem> {
    let thread = new.thread.trimmed();
    let new = NewBinding { org: caller.org, channel: new.channel_id, thread, session: new.session_id };
    let binding = app.store.binding_create(&new, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(binding.into())))
}

/// The bindings of the org that are in force, oldest first.
#[utoipa::path(
    get,
    path = "/api/bindings",
    operation_id = "binding_list",
    tag = "channels",
    params(Paging<BindingId>),
    responses((status = 200, description = "A page of them.", body = Page<BindingView>)),
    security(("token" = ["channels.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<BindingId>>,
) -> Result<Json<Page<BindingView>>, Problem> {
    let bindings = app.store.binding_list(caller.org, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(bindings, paging.limit(), |binding| binding.binding_id).map(BindingView::from)))
}

/// A binding that is in force.
#[utoipa::path(
    get,
    path = "/api/bindings/{binding_id}",
    operation_id = "binding_view",
    tag = "channels",
    responses((status = 200, description = "As it is now.", body = BindingView)),
    security(("token" = ["channels.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(binding): Path<BindingId>,
) -> Result<Json<BindingView>, Problem> {
    let found = app.store.binding_get(caller.org, binding).await?;
    found.map(|binding| Json(binding.into())).ok_or_else(|| Problem::not_found("binding"))
}

/// Leads a thread nowhere any more. Its session stays, and the next message in the thread begins another one.
///
/// What its turns said and the thread was not told yet, it is not told: deliveries that wait become dead letters, which can be
/// sent all the same (`retry`); one that is being sent at this moment is sent, with its attempts, and again or not at all as any other
/// if its gateway is lost meanwhile. Unbinding twice changes nothing.
#[utoipa::path(
    delete,
    path = "/api/bindings/{binding_id}",
    operation_id = "binding_remove",
    tag = "channels",
    responses((status = 204, description = "It leads nowhere any more.")),
    security(("token" = ["channels.write"])),
)]
async fn remove(State(app): State<App>, caller: Caller, Path(binding): Path<BindingId>) -> Result<StatusCode, Problem> {
    let found = app.store.binding_remove(caller.org, binding, &caller.actor()).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("binding")) }
}

#[cfg(test)]
mod tests {
    use ids::{OrgId, SessionId};
    use serde_json::{Value, json};
    use store::NewSession;

    use crate::testing::World;

    async fn session(world: &World, org: OrgId) -> SessionId {
        let new = NewSession { org, created_by: None, title: "t".into(), agent: "scripted".into() };
        world.app.store.session_create(1, &new).await.unwrap()
    }

    async fn channel(world: &World) -> Value {
        let new = json!({"kind": "webhook", "name": "ops", "destination": "https://chat.example/hook"});
        world.post("/api/channels", new).await.expect(201)["channel_id"].clone()
    }

    #[tokio::test]
    async fn a_thread_follows_one_session_from_its_newest_event_on() {
        let world = World::new().await;
        let (channel, session) = (channel(&world).await, session(&world, world.org).await);
        let new = json!({"channel_id": channel, "thread": "general", "session_id": session});
        let bound = world.post("/api/bindings", new.clone()).await.expect(201);
        assert_eq!(bound["cursor_sequence"], 1);
        world.post("/api/bindings", new).await.expect_problem(409, "conflict");
        assert_eq!(world.get("/api/bindings").await.expect(200)["items"], json!([bound]));
    }

    #[tokio::test]
    async fn an_unbound_thread_can_be_bound_to_another_session() {
        let world = World::new().await;
        let (channel, session, next) =
            (channel(&world).await, session(&world, world.org).await, session(&world, world.org).await);
        let new = |session| json!({"channel_id": channel, "thread": "general", "session_id": session});
        let bound = world.post("/api/bindings", new(session)).await.expect(201);
        let path = format!("/api/bindings/{}", bound["binding_id"].as_str().unwrap());
        let (_, stranger) = world.other_org().await;
        world.delete_as(&stranger, &path).await.expect_problem(404, "not_found");
        world.get_as(&stranger, &path).await.expect_problem(404, "not_found");
        assert_eq!(world.get(&path).await.expect(200), bound);
        for _ in 0..2 {
            world.delete(&path).await.expect(204);
        }
        world.get(&path).await.expect_problem(404, "not_found");
        assert_eq!(world.get("/api/bindings").await.expect(200)["items"], json!([]));
        let again = world.post("/api/bindings", new(next)).await.expect(201);
        assert_eq!(world.get("/api/bindings").await.expect(200)["items"], json!([again]));

        let audit = world.get("/api/audit?limit=200").await.expect(200);
        let removed = audit["items"].as_array().unwrap().iter().filter(|one| one["action"] == "binding.remove");
        let removed: Vec<_> = removed.map(|one| &one["detail"]).collect();
        assert_eq!(removed, [&json!({"channel_id": channel, "session_id": session, "set_aside": 0})]);
    }

    #[tokio::test]
    async fn a_session_of_another_org_is_not_there() {
        let world = World::new().await;
        let (other, token) = world.other_org().await;
        let (channel, theirs) = (channel(&world).await, session(&world, other).await);
        let new = json!({"channel_id": channel, "thread": "general", "session_id": theirs});
        world.post("/api/bindings", new.clone()).await.expect_problem(404, "not_found");
        world.post_as(&token, "/api/bindings", new).await.expect_problem(404, "not_found");
    }
}
