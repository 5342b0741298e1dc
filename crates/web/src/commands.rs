//! Commands: wishes addressed to a session. Taking one down is not carrying it out: the answer is 202.
//!
//! Not here: carrying them out (`worker`), in which order they are carried out (`store::command`).

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use clock::Timestamp;
use domain::command::{CommandState, WhileRunning, Wish};
use domain::permission::Permission;
use domain::policy::RefusedByPolicy;
use ids::{CommandId, SessionId};
use serde::{Deserialize, Serialize};
use store::{Command, EnqueueError, NewCommand};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::idempotency;
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::Text;

/// Characters of a prompt or an answer.
const TEXT_MAX: usize = 200_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, enqueue)).routes(routes!(view))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Acknowledged)]
struct EnqueuedView {
    command_id: CommandId,
    ordinal: i64,
    state: CommandState,
    /// `false`: this is what an earlier request with the same key got.
    created: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Command)]
struct CommandView {
    command_id: CommandId,
    ordinal: i64,
    kind: String,
    state: CommandState,
    /// Of a prompt; an abort that makes way for one has its `interrupt`.
    while_running: WhileRunning,
    attempt: i32,
    outcome: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl From<Command> for CommandView {
    fn from(command: Command) -> Self {
        let Command { command_id, ordinal, kind, state, while_running, attempt, outcome, created_at, finished_at } =
            command;
        Self { command_id, ordinal, kind, state, while_running, attempt, outcome, created_at, finished_at }
    }
}

/// Asks something of a session.
///
/// A prompt says what becomes of it while a turn runs or waits for a person, or commands wait (`while_running`): it waits for
/// its turn (`queue`), is refused (`reject`), aborts the turn and goes before what waits (`interrupt`), or is heard by the agent
/// that is at work (`steer`). With `interrupt` an abort is taken down before the prompt, at once with it; a command that was about
/// to begin hears it, too. A prompt that steers ends with the turn that heard it. If no turn does, since none runs, it ends first, or
/// its agent can't be steered, the prompt is carried out by itself, before what waits.
#[utoipa::path(
    post,
    path = "/api/sessions/{session_id}/commands",
    operation_id = "command_enqueue",
    tag = "sessions",
    request_body = Asked,
    responses((status = 202, description = "It is taken down, and will be carried out in its turn.", body = EnqueuedView), (status = 409, description = "The session is archived and takes no prompts (`archived`), is at work and the prompt was to be refused then (`busy`), or the present state does not allow it otherwise."), (status = 402, description = "The org's subscription has ended or is not paid (`subscription_ended`)."), (status = 429, description = "A quota of the org is used up (`over_quota`); `Retry-After` says when it begins anew.")),
    security(("token" = ["sessions.write"]), ("token" = ["sessions.approve"])),
)]
async fn enqueue(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
    headers: HeaderMap,
    Json(asked): Json<Asked>,
) -> Result<(StatusCode, Json<EnqueuedView>), Problem> {
    let while_running = asked.while_running();
    let wish = Wish::from(asked);
    let permission = if spoken_to(&wish).is_some() { Permission::SessionsApprove } else { Permission::SessionsWrite };
    if !caller.may(permission) {
        return Err(Problem::forbidden(format!("this takes the permission {}", permission.as_str())));
    }
    let idempotency_key = idempotency_key(&app, &headers)?;
    let (org, created_by) = (caller.org, Some(caller.account));
    let new = NewCommand { org, session, wish, idempotency_key, created_by };
    let interaction = spoken_to(&new.wish).map(|request| app.effects.interaction(session, request));
    let enqueued = app.store.command_speak(&new, while_running, interaction).await.map_err(|error| match error {
        EnqueueError::NoSuchSession => Problem::not_found("session"),
        EnqueueError::Archived => Problem::archived(),
        EnqueueError::Busy => Problem::busy(),
        EnqueueError::OverQuota(used_up) => Problem::over_quota(&used_up),
        EnqueueError::AgentRefused => RefusedByPolicy::Agent.into(),
        EnqueueError::SpokenTo => Problem::conflict(
            "somebody spoke to this request before the system was restored; abort the turn or send a new prompt",
        ),
        EnqueueError::OtherWish => Problem::key_reused(),
        error @ EnqueueError::Database(_) => Problem::internal(error),
    })?;
    let (command_id, created) = (enqueued.command, enqueued.created);
    if interaction.is_some() {
        app.remember().await?;
    }
    let view = EnqueuedView { command_id, ordinal: enqueued.ordinal, state: enqueued.state, created };
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// The request of an agent that the wish is about. A person speaks to it once.
fn spoken_to(wish: &Wish) -> Option<&str> {
    match wish {
        Wish::Answer { request_id, .. } | Wish::Approve { request_id } | Wish::Reject { request_id } => {
            Some(request_id)
        }
        Wish::Prompt { .. } | Wish::Abort {} => None,
    }
}

/// The request's own, or one that no other has.
fn idempotency_key(app: &App, headers: &HeaderMap) -> Result<String, Problem> {
    Ok(idempotency::key(headers)?.unwrap_or_else(|| app.store.sources().id::<Uuid>().to_string()))
}

/// As the agent made it.
type RequestId = Text<1, 200>;
type Prompt = Text<1, TEXT_MAX>;
type Answer = Text<0, TEXT_MAX>;

/// A [`Wish`] with its bounds. What agents are told is told as it came, with the space around it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Wish, example = json!({"kind": "prompt", "payload": {"text": "say good morning"}}))]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    Prompt {
        #[schema(inline)]
        text: Prompt,
        /// What becomes of it while the session is at work.
        #[serde(default)]
        while_running: WhileRunning,
    },
    Abort {},
    Answer {
        #[schema(inline)]
        request_id: RequestId,
        #[schema(inline)]
        answer: Answer,
    },
    Approve {
        #[schema(inline)]
        request_id: RequestId,
    },
    Reject {
        #[schema(inline)]
        request_id: RequestId,
    },
}

impl Asked {
    fn while_running(&self) -> WhileRunning {
        if let Self::Prompt { while_running, .. } = self { *while_running } else { WhileRunning::Queue }
    }
}

impl From<Asked> for Wish {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Prompt { text, .. } => Self::Prompt { text: text.whole() },
            Asked::Abort {} => Self::Abort {},
            Asked::Answer { request_id, answer } => {
                Self::Answer { request_id: request_id.whole(), answer: answer.whole() }
            }
            Asked::Approve { request_id } => Self::Approve { request_id: request_id.whole() },
            Asked::Reject { request_id } => Self::Reject { request_id: request_id.whole() },
        }
    }
}

/// The commands of a session, in the order in which they run.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}/commands",
    operation_id = "command_list",
    tag = "sessions",
    params(Paging<i64>),
    responses((status = 200, description = "A page of them.", body = Page<CommandView>)),
    security(("token" = ["sessions.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
    Query(paging): Query<Paging<i64>>,
) -> Result<Json<Page<CommandView>>, Problem> {
    let last = app.store.session_last_sequence(caller.org, session).await?;
    last.ok_or_else(|| Problem::not_found("session"))?;
    let after = paging.cursor.unwrap_or(0);
    let commands = app.store.commands_list(caller.org, session, after, paging.limit()).await?;
    Ok(Json(Page::of(commands, paging.limit(), |command| command.ordinal).map(CommandView::from)))
}

/// A command.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}/commands/{command_id}",
    operation_id = "command_view",
    tag = "sessions",
    responses((status = 200, description = "How it fares.", body = CommandView)),
    security(("token" = ["sessions.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path((session, command)): Path<(SessionId, CommandId)>,
) -> Result<Json<CommandView>, Problem> {
    let found = app.store.command_by_id(caller.org, session, command).await?;
    Ok(Json(found.ok_or_else(|| Problem::not_found("command"))?.into()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::{Value, json};

    use crate::testing::{Answer, World, request};

    async fn prompt(world: &World, session: &str, key: &str) -> Answer {
        let path = format!("/api/sessions/{session}/commands");
        let body = json!({"kind": "prompt", "payload": {"text": "say hi"}});
        let request = request("POST", &path, &world.operator).header("content-type", "application/json");
        world.send(request.header("idempotency-key", key).body(Body::from(body.to_string())).unwrap()).await
    }

    async fn session(world: &World) -> String {
        let created = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
        created["session_id"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_repeated_key_gets_the_first_command() {
        let world = World::new().await;
        let session = session(&world).await;
        let first = prompt(&world, &session, "k1").await.expect(202);
        let mut again = prompt(&world, &session, "k1").await.expect(202);
        assert_eq!((&first["created"], &again["created"]), (&json!(true), &json!(false)));
        again["created"] = json!(true);
        assert_eq!(first, again);
        assert_eq!(prompt(&world, &session, "k2").await.expect(202)["ordinal"], 2);
        let path = format!("/api/sessions/{session}/commands");
        let listed = world.get(&path).await.expect(200);
        assert_eq!(listed["items"].as_array().unwrap().len(), 2);
        let seen = world.get(&format!("{path}/{}", first["command_id"].as_str().unwrap())).await.expect(200);
        assert_eq!((&seen["state"], &seen["attempt"]), (&json!("pending"), &json!(0)));
        assert_eq!(seen, listed["items"][0]);
    }

    #[tokio::test]
    async fn what_is_asked_of_a_session_is_in_the_audit_trail_once_and_what_is_said_is_not() {
        let world = World::new().await;
        let session = session(&world).await;
        for _ in 0..2 {
            prompt(&world, &session, "k1").await.expect(202);
        }
        prompt_while(&world, &session, "k2", "reject").await.expect_problem(409, "busy");
        let path = format!("/api/sessions/{session}/commands");
        world.post(&path, json!({"kind": "abort", "payload": {}})).await.expect(202);
        let answer = json!({"kind": "answer", "payload": {"request_id": "r1", "answer": "say bye"}});
        world.post(&path, answer).await.expect(202);
        let trail = world.get(&format!("/api/audit?target=session%3A{session}")).await.expect(200);
        let told = trail["items"].as_array().unwrap();
        let actions: Vec<_> = told.iter().map(|one| one["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["session.create", "session.prompt", "session.abort", "session.answer"]);
        let by = json!(format!("account:{}", world.owner));
        assert!(told.iter().all(|one| one["actor"] == by), "{trail}");
        assert!(!trail.to_string().contains("say"), "{trail}");
    }

    #[tokio::test]
    async fn a_key_of_a_command_stands_for_one_wish() {
        let world = World::new().await;
        let session = session(&world).await;
        prompt(&world, &session, "k1").await.expect(202);
        let body = json!({"kind": "prompt", "payload": {"text": "say bye"}}).to_string();
        let path = format!("/api/sessions/{session}/commands");
        let request = request("POST", &path, &world.operator).header("content-type", "application/json");
        let other = world.send(request.header("idempotency-key", "k1").body(Body::from(body)).unwrap()).await;
        other.expect_problem(422, "idempotency_key_reused");
    }

    async fn prompt_while(world: &World, session: &str, key: &str, while_running: &str) -> Answer {
        let path = format!("/api/sessions/{session}/commands");
        let body = json!({"kind": "prompt", "payload": {"text": "say hi", "while_running": while_running}});
        let request = request("POST", &path, &world.operator).header("content-type", "application/json");
        world.send(request.header("idempotency-key", key).body(Body::from(body.to_string())).unwrap()).await
    }

    /// Kind, what it was to do while the session is at work, and state of each command.
    async fn listed(world: &World, session: &str) -> Vec<String> {
        let listed = world.get(&format!("/api/sessions/{session}/commands")).await.expect(200);
        let told = |one: &Value| {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            format!("{} {} {}", text("kind"), text("while_running"), text("state"))
        };
        listed["items"].as_array().unwrap().iter().map(told).collect()
    }

    #[tokio::test]
    async fn a_prompt_can_be_refused_while_another_waits() {
        let world = World::new().await;
        let session = session(&world).await;
        let first = prompt_while(&world, &session, "k1", "reject").await.expect(202);
        prompt_while(&world, &session, "k2", "reject").await.expect_problem(409, "busy");
        assert_eq!(prompt_while(&world, &session, "k1", "reject").await.expect(202)["command_id"], first["command_id"]);
        prompt_while(&world, &session, "k1", "queue").await.expect_problem(422, "idempotency_key_reused");
        prompt(&world, &session, "k1").await.expect_problem(422, "idempotency_key_reused");
        prompt(&world, &session, "k3").await.expect(202);
        assert_eq!(listed(&world, &session).await, ["prompt reject pending", "prompt queue pending"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_prompts_that_come_at_once_and_are_to_be_refused_then_one_is_taken() {
        let world = World::new().await;
        for _ in 0..5 {
            let session = session(&world).await;
            let keys: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
            let answers = keys.iter().map(|key| prompt_while(&world, &session, key, "reject"));
            let answers = futures::future::join_all(answers).await;
            let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 202);
            assert_eq!(taken.len(), 1);
            refused.iter().for_each(|answer| drop(answer.expect_problem(409, "busy")));
            assert_eq!(listed(&world, &session).await, ["prompt reject pending"]);
        }
    }

    #[tokio::test]
    async fn a_prompt_that_interrupts_is_taken_down_with_an_abort_if_there_is_something_to_abort() {
        let world = World::new().await;
        let session = session(&world).await;
        assert_eq!(prompt_while(&world, &session, "k1", "interrupt").await.expect(202)["ordinal"], 1);
        let second = prompt_while(&world, &session, "k2", "interrupt").await.expect(202);
        assert_eq!(second["ordinal"], 3);
        assert_eq!(
            prompt_while(&world, &session, "k2", "interrupt").await.expect(202)["command_id"],
            second["command_id"]
        );
        prompt(&world, &session, "k2").await.expect_problem(422, "idempotency_key_reused");
        let expected = ["prompt interrupt pending", "abort interrupt pending", "prompt interrupt pending"];
        assert_eq!(listed(&world, &session).await, expected);
    }

    #[tokio::test]
    async fn a_prompt_that_steers_is_taken_down_as_it_is() {
        let world = World::new().await;
        let session = session(&world).await;
        prompt(&world, &session, "k1").await.expect(202);
        assert_eq!(prompt_while(&world, &session, "k2", "steer").await.expect(202)["ordinal"], 2);
        prompt(&world, &session, "k2").await.expect_problem(422, "idempotency_key_reused");
        assert_eq!(listed(&world, &session).await, ["prompt queue pending", "prompt steer pending"]);
    }

    #[tokio::test]
    async fn a_wish_that_can_not_be_read_is_refused() {
        let world = World::new().await;
        let path = format!("/api/sessions/{}/commands", session(&world).await);
        let wishes: [Value; 7] = [
            json!({"kind": "prompt", "payload": {}}),
            json!({"kind": "dance", "payload": {}}),
            json!({"kind": "prompt", "payload": {"text": ""}}),
            json!({"kind": "prompt", "payload": {"text": "a\u{0}b"}}),
            json!({"kind": "prompt", "payload": {"text": "a", "while_running": "dance"}}),
            json!({"kind": "abort", "payload": {"while_running": "queue"}}),
            json!({"kind": "approve", "payload": {"request_id": "", "extra": 1}}),
        ];
        for wish in wishes {
            world.post(&path, wish).await.expect_problem(422, "invalid");
        }
        assert_eq!(world.get(&path).await.expect(200)["items"], json!([]));
    }
}
