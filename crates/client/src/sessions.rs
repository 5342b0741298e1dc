//! Sessions: create, list, view, command, follow.

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _};
use ids::{CheckpointId, CommandId, SessionId};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::etag::{ETag, Tagged, made_for, tagged};
use crate::{Client, Error, Page, accepted};

/// A session, as a list shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Session {
    pub session_id: SessionId,
    pub title: String,
    pub agent: String,
    /// `idle`, `running`, `awaiting_approval`, `awaiting_answer`, `failed`. `None`: its projection is damaged.
    pub state: Option<String>,
    pub last_sequence: i64,
    pub checkpoint_id: Option<CheckpointId>,
    #[serde(default)]
    pub tags: Vec<String>,
    /// Since when it takes no prompts. `None`: it does.
    #[serde(default)]
    pub archived_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

/// How far a projection is.
#[derive(Debug, Clone, Deserialize)]
pub struct ProjectionStatus {
    /// The newest event that is folded in.
    pub sequence: i64,
    /// The newest event that there is.
    pub last_sequence: i64,
    /// Whether its content can be read at all.
    pub readable: bool,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct RebuiltProjection {
    #[serde(flatten)]
    pub status: ProjectionStatus,
    /// Whether it was another one before.
    pub changed: bool,
}

/// What people say of a session.
#[derive(Debug, Clone, Deserialize)]
pub struct SessionDetails {
    pub session_id: SessionId,
    pub title: String,
    pub tags: Vec<String>,
    pub archived_at: Option<DateTime<Utc>>,
}

/// What changes of a session; `None` stays as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
}

/// What a session must be to be found: all of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionSearch {
    /// Words that its title must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// With commas between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// A session with its projection.
#[derive(Debug, Clone, Deserialize)]
pub struct SessionView {
    #[serde(flatten)]
    pub session: Session,
    pub projection: Projection,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Projection {
    pub sequence: i64,
    pub content: Value,
}

/// A conversation that took place elsewhere, to begin a session with.
#[derive(Debug, Clone, Serialize)]
pub struct ImportSession {
    pub title: String,
    pub agent: String,
    pub tags: Vec<String>,
    /// Where it comes from, for people.
    pub source: String,
    /// In their order.
    pub messages: Vec<ImportedMessage>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ImportedMessage {
    /// `user` or `assistant`.
    pub role: String,
    pub text: String,
    /// When it was said: of all messages, or of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

/// What is asked of a session.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case")]
pub enum Wish {
    Prompt { text: String },
    Abort {},
    Answer { request_id: String, answer: String },
    Approve { request_id: String },
    Reject { request_id: String },
}

/// What becomes of a prompt while its session is at work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhileRunning {
    /// It waits.
    #[default]
    Queue,
    /// It is refused: the problem `busy`.
    Reject,
    /// The turn is aborted, and it goes before what waits.
    Interrupt,
    /// The agent that is at work hears it, and the turn goes on. If it does not, it goes before what waits.
    Steer,
}

/// The answer to a command that was taken.
#[derive(Debug, Clone, Deserialize)]
pub struct Acknowledged {
    pub command_id: CommandId,
    pub ordinal: i64,
    /// `false`: a repeat of an earlier one with the same idempotency key.
    pub created: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Command {
    pub command_id: CommandId,
    pub ordinal: i64,
    pub kind: String,
    /// `pending`, `done`, `failed`, `refused`, `dead`.
    pub state: String,
    /// Of a prompt: `queue`, `reject`, `interrupt`, `steer`; an abort that makes way for one has its `interrupt`.
    pub while_running: String,
    pub attempt: i32,
    pub outcome: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    pub sequence: i64,
    pub kind: String,
    pub payload: Value,
    pub created_at: DateTime<Utc>,
}

/// Something that happened in a session of the org.
#[derive(Debug, Clone, Deserialize)]
pub struct FeedEvent {
    /// Where it stands in the feed of the org.
    pub place: String,
    pub session_id: SessionId,
    #[serde(flatten)]
    pub event: Event,
}

impl Client {
    pub async fn session_create(&self, title: &str, agent: &str) -> Result<Session, Error> {
        self.post("/api/sessions", &json!({"title": title, "agent": agent})).await
    }

    /// Begins a session with what was said elsewhere.
    pub async fn session_import(&self, import: &ImportSession) -> Result<Session, Error> {
        self.post("/api/sessions/import", import).await
    }

    /// One page of the org's sessions; at most `limit` (1 to 200).
    pub async fn session_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Session>, Error> {
        self.get_page("/api/sessions", cursor, limit).await
    }

    /// One page of the sessions that match. It may be short, or empty, though there are more: go on until `next_cursor` is
    /// `None`.
    pub async fn session_search(
        &self,
        search: &SessionSearch,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Session>, Error> {
        self.get_matching("/api/sessions", search, cursor, limit).await
    }

    /// What people say of a session, with the state that a change can be made for.
    pub async fn session_details(&self, session: SessionId) -> Result<Tagged<SessionDetails>, Error> {
        tagged(self.request(Method::GET, &format!("/api/sessions/{session}/details"))).await
    }

    /// Renames, tags or archives a session. With `seen`, only if nobody has changed it since; else the problem
    /// `precondition_failed`.
    pub async fn session_change(
        &self,
        session: SessionId,
        change: &SessionChange,
        seen: Option<&ETag>,
    ) -> Result<Tagged<SessionDetails>, Error> {
        let request = self.request(Method::PATCH, &format!("/api/sessions/{session}/details")).json(change);
        tagged(made_for(request, seen)).await
    }

    /// How far a session's projection is.
    pub async fn projection_status(&self, session: SessionId) -> Result<ProjectionStatus, Error> {
        self.get(&format!("/api/sessions/{session}/projection")).await
    }

    /// Makes a session's projection anew from its events. Takes a session that no worker is at.
    pub async fn projection_rebuild(&self, session: SessionId) -> Result<RebuiltProjection, Error> {
        self.post(&format!("/api/sessions/{session}/projection/rebuild"), &json!({})).await
    }

    pub async fn session_get(&self, session: SessionId) -> Result<SessionView, Error> {
        self.get(&format!("/api/sessions/{session}")).await
    }

    /// Asks for something. A repeat with the same key changes nothing and gets the first one's answer.
    pub async fn command_submit(
        &self,
        session: SessionId,
        idempotency_key: &str,
        wish: &Wish,
    ) -> Result<Acknowledged, Error> {
        self.post_once(&format!("/api/sessions/{session}/commands"), idempotency_key, wish).await
    }

    /// Prompts, and says what becomes of it while the session is at work. Another `while_running` is another request: it takes
    /// another key.
    pub async fn prompt_submit(
        &self,
        session: SessionId,
        idempotency_key: &str,
        text: &str,
        while_running: WhileRunning,
    ) -> Result<Acknowledged, Error> {
        let prompt = json!({"kind": "prompt", "payload": {"text": text, "while_running": while_running}});
        self.post_once(&format!("/api/sessions/{session}/commands"), idempotency_key, &prompt).await
    }

    /// The commands of a session, in the order in which they run; at most `limit` (1 to 200).
    pub async fn command_list(
        &self,
        session: SessionId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Command>, Error> {
        self.get_page(&format!("/api/sessions/{session}/commands"), cursor, limit).await
    }

    pub async fn command_get(&self, session: SessionId, command: CommandId) -> Result<Command, Error> {
        self.get(&format!("/api/sessions/{session}/commands/{command}")).await
    }

    /// Events after `after` (0: from the first that there is), at most `limit` (1 to 1,000). The problem `snapshot_required`: those
    /// after `after` were compacted.
    pub async fn event_list(&self, session: SessionId, after: i64, limit: u32) -> Result<Page<Event>, Error> {
        self.get_with(&format!("/api/sessions/{session}/events"), &[("after", after), ("limit", i64::from(limit))])
            .await
    }

    /// Follows a session from the event after `after` on, until the server ends the stream. The problem `snapshot_required`: it has no
    /// such event (any more), so begin anew. `too_many_streams`: this caller has as many open as it may.
    pub async fn event_stream(
        &self,
        session: SessionId,
        after: i64,
    ) -> Result<impl Stream<Item = Result<Event, Error>> + use<>, Error> {
        let request = self
            .request(Method::GET, &format!("/api/sessions/{session}/events"))
            .header("accept", "text/event-stream")
            .header("last-event-id", after);
        messages(request).await
    }

    /// Events of all sessions of the org after the place `after` (from the first on without it), at most `limit` (1 to 200).
    pub async fn feed_list(&self, after: Option<&str>, limit: u32) -> Result<Page<FeedEvent>, Error> {
        self.get_page("/api/events", after, limit).await
    }

    /// Follows all sessions of the org from the place `after` on, from the present without it, until the server ends the stream.
    pub async fn feed_stream(
        &self,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<FeedEvent, Error>> + use<>, Error> {
        let request = self.request(Method::GET, "/api/events").header("accept", "text/event-stream");
        let request = match after {
            Some(place) => request.header("last-event-id", place),
            None => request,
        };
        messages(request).await
    }
}

/// The events of a stream. A message without data only tells where the stream is.
async fn messages<T: DeserializeOwned>(
    request: reqwest::RequestBuilder,
) -> Result<impl Stream<Item = Result<T, Error>> + use<T>, Error> {
    let bytes = accepted(request).await?.bytes_stream();
    let messages = eventsource_stream::EventStream::new(bytes);
    Ok(messages.filter_map(async |message| match message {
        Ok(message) if message.data.is_empty() => None,
        Ok(message) => Some(serde_json::from_str(&message.data).map_err(|error| Error::Stream(error.to_string()))),
        Err(error) => Some(Err(Error::Stream(error.to_string()))),
    }))
}
