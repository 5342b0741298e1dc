//! The judge's own reading of a session's events.
//!
//! Written from the vocabulary's description (`ARCHITECTURE.md`, "Projection"), apart from the system's own fold: a
//! judge that shares the defendant's code shares its bugs. It works on JSON as it stands in the database, and its
//! result is compared with the stored projection, field for field.
//!
//! Not here: reading the rows (`checks::parity`), what a base says (`base`).

mod base;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(crate) use self::base::BASE;
use crate::said::Name;

const KEPT: usize = 20;
const EXCERPT_CHARS: usize = 500;

/// A projection in the making.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    title: String,
    agent: String,
    state: &'static str,
    messages: Newest<Message>,
    tool_calls: Newest<ToolCall>,
    artifacts: Newest<Value>,
    waiting_for: Option<(String, String, &'static str)>,
    completed: u64,
    failed: u64,
    aborted: u64,
    dead: u64,
    input_tokens: i64,
    output_tokens: i64,
    last_error: Option<String>,
}

/// The newest few of a growing list, and how many there ever were.
#[derive(Debug)]
struct Newest<T> {
    kept: Vec<T>,
    count: u64,
}

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), count: 0 }
    }
}

impl<T> Newest<T> {
    fn push(&mut self, item: T) {
        self.count += 1;
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        self.kept.push(item);
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    #[serde(rename = "message_id")]
    id: String,
    role: String,
    excerpt: String,
    chars: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolCall {
    #[serde(rename = "tool_call_id")]
    id: String,
    title: String,
    status: String,
    output: String,
}

/// The payload fields of every kind, all optional: which must be there is decided per kind.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload<'a> {
    #[serde(borrow)]
    title: Option<Cow<'a, str>>,
    #[serde(borrow)]
    agent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_call_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    output: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    question: Option<Cow<'a, str>>,
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    artifact_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sha256: Option<Cow<'a, str>>,
    size: Option<i64>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
}

/// An event that can't be read: damage, or a vocabulary newer than this judge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("its payload is not an object of known fields")]
    Payload(#[source] serde_json::Error),
    #[error("its kind {0:?} is unknown")]
    Kind(String),
    #[error("the field {0:?} is missing")]
    Missing(&'static str),
}

fn need<'a>(field: Option<Cow<'a, str>>, name: &'static str) -> Result<Cow<'a, str>, Unreadable> {
    field.ok_or(Unreadable::Missing(name))
}

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).collect()
}

impl Fold {
    /// Adds the next event: its `kind` and `payload` (JSON text) as stored.
    pub(crate) fn apply(&mut self, kind: &str, payload: &str) -> Result<(), Unreadable> {
        if kind == BASE {
            *self = Self::of_base(payload)?;
            return Ok(());
        }
        let fields: Payload<'_> = serde_json::from_str(payload).map_err(Unreadable::Payload)?;
        match kind {
            "session_created" => {
                self.title = need(fields.title, "title")?.into_owned();
                self.agent = need(fields.agent, "agent")?.into_owned();
            }
            "history_imported" => {}
            "turn_started" => self.state = "running",
            "message_appended" => self.message(fields)?,
            "tool_call_upserted" => self.tool_call(fields)?,
            "approval_requested" => {
                let (id, title) = (need(fields.request_id, "request_id")?, need(fields.title, "title")?);
                self.waiting_for = Some((id.into_owned(), excerpt(&title), "approval"));
            }
            "question_asked" => {
                let (id, question) = (need(fields.request_id, "request_id")?, need(fields.question, "question")?);
                self.waiting_for = Some((id.into_owned(), excerpt(&question), "answer"));
            }
            "approval_resolved" | "question_answered" => {
                let id = need(fields.request_id, "request_id")?;
                self.waiting_for.take_if(|waiting| waiting.0 == id);
            }
            "artifact_created" => self.artifact(fields)?,
            "usage_recorded" => {
                self.input_tokens += fields.input_tokens.ok_or(Unreadable::Missing("input_tokens"))?;
                self.output_tokens += fields.output_tokens.ok_or(Unreadable::Missing("output_tokens"))?;
            }
            "turn_ended" => self.turn_ended(&need(fields.outcome, "outcome")?, fields.error.as_deref())?,
            other => return Err(Unreadable::Kind(other.to_owned())),
        }
        Ok(())
    }

    fn message(&mut self, fields: Payload<'_>) -> Result<(), Unreadable> {
        let id = need(fields.message_id, "message_id")?;
        let (role, text) = (need(fields.role, "role")?, need(fields.text, "text")?);
        if !self.messages.kept.iter().any(|message| message.id == id) {
            let fresh = Message { id: id.to_string(), role: role.into_owned(), excerpt: String::new(), chars: 0 };
            self.messages.push(fresh);
        }
        let message = self.messages.kept.iter_mut().rfind(|message| message.id == id).expect("it was just added");
        if message.chars < EXCERPT_CHARS {
            message.excerpt.extend(text.chars().take(EXCERPT_CHARS - message.chars));
        }
        message.chars += text.chars().count();
        Ok(())
    }

    fn tool_call(&mut self, fields: Payload<'_>) -> Result<(), Unreadable> {
        let id = need(fields.tool_call_id, "tool_call_id")?;
        let status = need(fields.status, "status")?;
        if !self.tool_calls.kept.iter().any(|call| call.id == id) {
            let (title, output) = (String::new(), String::new());
            self.tool_calls.push(ToolCall { id: id.to_string(), title, status: String::new(), output });
        }
        let call = self.tool_calls.kept.iter_mut().rfind(|call| call.id == id).expect("it was just added");
        call.status = status.into_owned();
        if let Some(title) = fields.title {
            call.title = excerpt(&title);
        }
        if let Some(output) = fields.output {
            call.output = excerpt(&output);
        }
        Ok(())
    }

    fn artifact(&mut self, fields: Payload<'_>) -> Result<(), Unreadable> {
        self.artifacts.push(json!({
            "artifact_id": need(fields.artifact_id, "artifact_id")?,
            "name": need(fields.name, "name")?,
            "size": fields.size.ok_or(Unreadable::Missing("size"))?,
            "sha256": need(fields.sha256, "sha256")?,
        }));
        Ok(())
    }

    fn turn_ended(&mut self, outcome: &str, error: Option<&str>) -> Result<(), Unreadable> {
        (self.state, self.last_error) = match outcome {
            "completed" => {
                self.completed += 1;
                ("idle", None)
            }
            "aborted" => {
                self.aborted += 1;
                ("idle", self.last_error.take())
            }
            "failed" => {
                self.failed += 1;
                ("failed", error.map(excerpt))
            }
            "dead" => {
                self.dead += 1;
                ("failed", error.map(excerpt))
            }
            "awaiting_approval" => ("awaiting_approval", self.last_error.take()),
            "awaiting_answer" => ("awaiting_answer", self.last_error.take()),
            other => return Err(Unreadable::Kind(format!("turn_ended: {other}"))),
        };
        if !outcome.starts_with("awaiting") {
            self.waiting_for = None;
        }
        Ok(())
    }

    /// The projection that these events give, in the form in which it is stored.
    pub(crate) fn content(&self) -> Value {
        let messages = self.messages.kept.iter().map(|message| {
            json!({"message_id": message.id, "role": message.role, "excerpt": message.excerpt, "chars": message.chars})
        });
        let tool_calls = self.tool_calls.kept.iter().map(
            |call| json!({"tool_call_id": call.id, "title": call.title, "status": call.status, "output": call.output}),
        );
        let waiting_for =
            self.waiting_for.as_ref().map(|(id, text, kind)| json!({"request_id": id, "text": text, "kind": kind}));
        json!({
            "title": self.title,
            "agent": self.agent,
            "state": if self.state.is_empty() { "idle" } else { self.state },
            "messages": messages.collect::<Vec<_>>(),
            "message_count": self.messages.count,
            "tool_calls": tool_calls.collect::<Vec<_>>(),
            "tool_call_count": self.tool_calls.count,
            "artifacts": self.artifacts.kept,
            "artifact_count": self.artifacts.count,
            "waiting_for": waiting_for,
            "turns": {
                "completed": self.completed, "failed": self.failed, "aborted": self.aborted, "dead": self.dead,
            },
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "last_error": self.last_error,
        })
    }
}

/// The names of the fields in which `stored` differs from `expected`; for a sentence, never the values.
pub(crate) fn differing_fields(stored: &Value, expected: &Value) -> Vec<Name> {
    let empty = Map::new();
    let (stored, expected) = (stored.as_object().unwrap_or(&empty), expected.as_object().unwrap_or(&empty));
    let differs = expected.iter().filter(|(name, value)| stored.get(*name) != Some(value));
    let mut names: Vec<Name> = differs.map(|(name, _)| Name::catalogued(name)).collect();
    // What the stored one has besides is a row's own word.
    if stored.keys().any(|name| !expected.contains_key(name)) {
        names.push("a field that no projection has".into());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(events: &[(&str, Value)]) -> Fold {
        let mut fold = Fold::default();
        for (kind, payload) in events {
            fold.apply(kind, &payload.to_string()).unwrap();
        }
        fold
    }

    #[test]
    fn a_turn_reads_as_a_person_would_see_it() {
        let content = fold(&[
            ("session_created", json!({"title": "t", "agent": "scripted"})),
            ("turn_started", json!({"command_id": "c", "attempt": 1})),
            ("message_appended", json!({"message_id": "m", "role": "agent", "text": "hel"})),
            ("message_appended", json!({"message_id": "m", "role": "agent", "text": "lo"})),
            ("approval_requested", json!({"request_id": "r", "title": "go?"})),
            ("turn_ended", json!({"command_id": "c", "outcome": "awaiting_approval"})),
        ])
        .content();
        assert_eq!(content["messages"][0]["excerpt"], "hello");
        assert_eq!(content["state"], "awaiting_approval");
        assert_eq!(content["waiting_for"]["kind"], "approval");
    }

    #[test]
    fn a_base_is_as_good_as_the_events_that_it_stands_for() {
        let said = |text: &str| ("message_appended", json!({"message_id": "m", "role": "agent", "text": text}));
        let ended = ("turn_ended", json!({"command_id": "c", "outcome": "failed", "error": "no disk"}));
        let asked = ("question_asked", json!({"request_id": "q", "question": "which?"}));
        let events = [("session_created", json!({"title": "t", "agent": "scripted"})), said("hel"), ended, asked];
        let base = ("compacted", json!({"projection": fold(&events).content()}));
        let whole = fold(&[&events[..], &[said("lo")]].concat());
        assert_eq!(fold(&[base, said("lo")]).content(), whole.content());
    }

    #[test]
    fn a_base_that_is_not_a_projection_is_unreadable() {
        let check = |change: &dyn Fn(&mut Value)| {
            let mut base = json!({"projection": Fold::default().content()});
            change(&mut base["projection"]);
            Fold::default().apply("compacted", &base.to_string())
        };
        assert!(check(&|_| ()).is_ok());
        assert!(check(&|projection| projection["more"] = json!(1)).is_err());
        assert!(check(&|projection| projection["message_count"] = Value::Null).is_err());
        assert!(check(&|projection| projection["state"] = json!("asleep")).is_err());
    }

    #[test]
    fn an_unknown_kind_is_not_passed_over() {
        assert!(matches!(Fold::default().apply("sang", "{}"), Err(Unreadable::Kind(_))));
    }

    #[test]
    fn a_difference_is_named_by_its_field() {
        let expected = Fold::default().content();
        let mut stored = expected.clone();
        stored["title"] = json!("another");
        stored["added"] = json!(1);
        assert_eq!(differing_fields(&stored, &expected), ["title", "a field that no projection has"]);
    }
}
