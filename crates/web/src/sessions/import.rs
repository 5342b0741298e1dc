//! A session that begins with a conversation that took place elsewhere.
//!
//! Not here: what the messages become (`domain::import`); files, which come as uploads.

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::details::Tags;
use domain::event::MessageRole;
use domain::import::{History, SOURCE_CHARS, Said};
use serde::Deserialize;
use store::{NewImport, NewSession};
use utoipa::ToSchema;

use super::{SessionView, find, scripted};
use crate::agents;
use crate::app::App;
use crate::auth::Caller;
use crate::extract::Json;
use crate::problem::Problem;
use crate::text::{Line, Name, Text, Word};

/// Characters of one message.
const TEXT_MAX: usize = 200_000;

type Source = Line<SOURCE_CHARS>;
type Message = Text<1, TEXT_MAX>;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ImportSession, example = json!({
    "title": "Plan the week",
    "source": "export of another system",
    "messages": [
        {"role": "user", "text": "what is on Monday?", "at": "2024-05-02T09:00:00Z"},
        {"role": "assistant", "text": "the report is due", "at": "2024-05-02T09:00:07Z"}
    ]
}))]
#[serde(deny_unknown_fields)]
pub(super) struct Import {
    #[schema(inline)]
    title: Name,
    #[serde(default = "scripted")]
    #[schema(inline)]
    agent: Word,
    /// Letters, digits and `. _ : / -`; kept in lower case.
    #[serde(default)]
    #[schema(max_items = 20, example = json!(["ops"]))]
    tags: Vec<String>,
    // Where the messages come from, for people.
    #[schema(inline)]
    source: Source,
    /// In the order in which they were said; 500,000 characters at most, all together.
    #[schema(min_items = 1, max_items = 1000)]
    messages: Vec<Imported>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ImportedMessage)]
#[serde(deny_unknown_fields)]
struct Imported {
    role: Role,
    #[schema(inline)]
    text: Message,
    /// When it was said. Of all messages, or of none; not before the message before it, not before 1970, not in the future. Without
    /// it the message has the time of the import.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

/// Who said it. What an assistant said is an agent's, as everywhere here.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[schema(as = ImportedRole)]
#[serde(rename_all = "snake_case")]
enum Role {
    User,
    Assistant,
}

impl From<Imported> for Said {
    fn from(message: Imported) -> Self {
        let role = match message.role {
            Role::User => MessageRole::User,
            Role::Assistant => MessageRole::Agent,
        };
        Self { role, text: message.text.whole(), at: message.at }
    }
}

/// Begins a session with what was said elsewhere.
///
/// It is there whole, and idle: an event `session_created`, one `history_imported`, which says where they come from (`source`), then the messages. Nothing of it is metered, and
/// no channel is told. It is prompted as any other; the agent begins with an empty workspace and no state of its own. Files come
/// as uploads.
#[utoipa::path(
    post,
    path = "/api/sessions/import",
    operation_id = "session_import",
    tag = "sessions",
    request_body = Import,
    responses((status = 201, description = "It is there, and idle.", body = SessionView), (status = 422, description = "No worker has this agent (`unknown_agent`), or the request can't be carried out as it is written otherwise; `detail` says what to change.")),
    security(("token" = ["sessions.write"])),
)]
pub(super) async fn import(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<Import>,
) -> Result<(StatusCode, Json<SessionView>), Problem> {
    let tags = Tags::new(new.tags).map_err(|error| Problem::invalid(error.to_string()))?;
    let messages = new.messages.into_iter().map(Said::from).collect();
    let history = History::new(new.source.trimmed(), messages, app.store.sources().now());
    let history = history.map_err(|error| Problem::invalid(error.to_string()))?;
    let (title, agent) = (new.title.trimmed(), new.agent.trimmed());
    agents::must_be_usable(&app, caller.org, &agent).await?;
    let session = NewSession { org: caller.org, created_by: Some(caller.account), title, agent };
    let new = NewImport { session, tags, history };
    let session = app.store.session_import(app.generation.generation, &new, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(find(&app, caller.org, session).await?.into())))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    fn conversation() -> Value {
        json!({
            "title": "Groceries",
            "tags": ["Home"],
            "source": "export of another system",
            "messages": [
                {"role": "user", "text": "what do we need?", "at": "2024-05-02T09:00:00Z"},
                {"role": "assistant", "text": "milk", "at": "2024-05-02T09:00:07Z"},
            ],
        })
    }

    #[tokio::test]
    async fn an_imported_session_begins_with_what_was_said_elsewhere() {
        let world = World::new().await;
        let made = world.post("/api/sessions/import", conversation()).await.expect(201);
        assert_eq!(
            (&made["state"], &made["last_sequence"], &made["tags"]),
            (&json!("idle"), &json!(4), &json!(["home"]))
        );
        let path = format!("/api/sessions/{}", made["session_id"].as_str().unwrap());
        let events = world.get(&format!("{path}/events")).await.expect(200)["items"].clone();
        let told = |event: &Value| (event["sequence"].as_i64().unwrap(), event["kind"].as_str().unwrap().to_owned());
        let told: Vec<_> = events.as_array().unwrap().iter().map(told).collect();
        let kinds = ["session_created", "history_imported", "message_appended", "message_appended"];
        assert_eq!(told, (1..).zip(kinds.map(str::to_owned)).collect::<Vec<_>>());
        assert_eq!(events[1]["payload"], json!({"source": "export of another system", "messages": 2}));
        assert_eq!(events[3]["payload"], json!({"message_id": "imported-2", "role": "agent", "text": "milk"}));
        assert_eq!(events[3]["created_at"], "2024-05-02T09:00:07Z");

        let rebuilt = world.post(&format!("{path}/projection/rebuild"), json!({})).await.expect(200);
        assert_eq!((&rebuilt["sequence"], &rebuilt["changed"]), (&json!(4), &json!(false)));
        assert_eq!(world.get("/api/sessions?q=groceries&tags=home").await.expect(200)["items"], json!([made]));
        // Whatever goes on in this server holds feeds back.
        let fed = async || world.get("/api/events").await.expect(200)["items"].as_array().unwrap().len() == 4;
        testkit::wait_until("the feed has it", fed).await;
        assert_eq!(world.get("/api/usage").await.expect(200)["items"], json!([]));
        let prompt = json!({"kind": "prompt", "payload": {"text": "and on Tuesday?"}});
        assert_eq!(world.post(&format!("{path}/commands"), prompt).await.expect(202)["ordinal"], 1);

        let audit = world.get("/api/audit?limit=200").await.expect(200);
        let imported = audit["items"].as_array().unwrap().iter().find(|one| one["action"] == "session.import").unwrap();
        assert_eq!(imported["detail"], json!({"title": "Groceries", "agent": "scripted", "messages": 2}));
    }

    #[tokio::test]
    async fn an_import_out_of_bounds_leaves_nothing() {
        let world = World::new().await;
        let with = |name: &str, value: Value| {
            let mut body = conversation();
            body[name] = value;
            body
        };
        let hi = |role: &str, text: &str| json!({"role": role, "text": text});
        let late = json!([{"role": "user", "text": "hi", "at": "2999-01-01T00:00:00Z"}]);
        for body in [
            with("messages", json!([])),
            with("messages", json!(vec![hi("user", "hi"); 1_001])),
            with("messages", json!(vec![hi("user", &"x".repeat(200_000)); 3])),
            with("messages", json!([hi("user", &"x".repeat(200_001))])),
            with("messages", json!([hi("system", "hi")])),
            with("messages", json!([hi("user", " ")])),
            with("messages", late),
            with("tags", json!(["a b"])),
            with("source", json!("")),
            with("usage", json!(1)),
        ] {
            world.post("/api/sessions/import", body).await.expect_problem(422, "invalid");
        }
        let much = with("messages", json!(vec![hi("user", &"x".repeat(150_000)); 8]));
        world.post("/api/sessions/import", much).await.expect_problem(413, "too_large");
        assert_eq!(world.get("/api/sessions").await.expect(200)["items"], json!([]));
    }
}
