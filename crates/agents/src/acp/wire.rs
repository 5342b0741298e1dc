//! The Agent Client Protocol as it is on the wire, version 1: the one place that knows its types.
//!
//! What is not understood is no error: agents are ahead of this and behind it, and what they tell besides (thoughts, modes, commands)
//! changes nothing here.
//!
//! The types are ours, of the fields that are read: the protocol's own crate has `serde_json` keep the order of keys, and so everywhere
//! in a program that it is in.
//!
//! Not here: lines and processes (`process`), what follows from what is said (`talk`).

use std::path::Path;

use domain::event::ToolCallStatus;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Of the protocol.
const VERSION: u16 = 1;

/// What an agent says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// To a request of ours.
    Answer { id: u64, result: Result<Value, String> },
    /// What it does in the agent's session of that name.
    Update { session: String, update: Update },
    /// It wants to be permitted something. `id` is its own.
    Permission { id: Value, asked: Asked },
    /// It wants something that nobody here does.
    Request { id: Value, method: String },
    /// Nothing of interest.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Update {
    Text(String),
    Call(Call),
    /// Its plan, a line for each entry, and whether all of it is done.
    Plan {
        text: String,
        done: bool,
    },
    Other,
}

/// What is known of a tool call. Absent fields leave what was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The agent's.
    pub(super) id: String,
    pub(super) title: Option<String>,
    pub(super) status: Option<ToolCallStatus>,
    pub(super) output: Option<String>,
}

/// What an agent asks a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) call: Call,
    /// Of everything that it says it will do, but for the call's id: the same if it asks the same again.
    pub(super) digest: String,
    allow: Option<String>,
    reject: Option<String>,
}

/// What an agent said when it was greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) loads: bool,
    /// Name and version, as it gave them.
    pub(super) name: Option<String>,
}

/// How a prompt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) why: End,
    /// Input and output, where the agent tells.
    pub(super) tokens: Option<(i64, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Cancelled,
    TooLong,
    TooManyRequests,
    Refused,
}

/// `None`: it is no message.
pub(super) fn read(line: &[u8]) -> Option<Said> {
    let message: Value = serde_json::from_slice(line).ok()?;
    let fields = message.as_object()?;
    let id = fields.get("id").filter(|id| !id.is_null());
    let params = || fields.get("params").cloned().unwrap_or_default();
    Some(match (fields.get("method").and_then(Value::as_str), id) {
        (Some("session/update"), None) => update(params()),
        (Some("session/request_permission"), Some(id)) => match serde_json::from_value(params()) {
            Ok(asked) => Said::Permission { id: id.clone(), asked: self::asked(&asked) },
            Err(_) => Said::Request { id: id.clone(), method: "a permission that can't be read".into() },
        },
        (Some(method), Some(id)) => Said::Request { id: id.clone(), method: method.to_owned() },
        (Some(_), None) => Said::Other,
        (None, Some(id)) => match id.as_u64() {
            Some(id) => Said::Answer { id, result: result(fields) },
            None => Said::Other,
        },
        (None, None) => return None,
    })
}

fn result(fields: &serde_json::Map<String, Value>) -> Result<Value, String> {
    let Some(error) = fields.get("error").filter(|error| !error.is_null()) else {
        return Ok(fields.get("result").cloned().unwrap_or_default());
    };
    let said = error.get("message").and_then(Value::as_str).unwrap_or("it did not say what");
    match error.get("data") {
        Some(Value::String(more)) => Err(format!("{said}: {more}")),
        Some(more @ Value::Object(_)) => Err(format!("{said}: {more}")),
        _ => Err(said.to_owned()),
    }
}

/// What an agent tells of a session.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    session_id: String,
    update: Told,
}

#[derive(Deserialize)]
#[serde(tag = "sessionUpdate", rename_all = "snake_case")]
enum Told {
    AgentMessageChunk {
        content: Block,
    },
    /// Its status is `pending` if none is told.
    ToolCall(ToolCall),
    ToolCallUpdate(ToolCall),
    Plan {
        entries: Vec<Entry>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolCall {
    tool_call_id: String,
    title: Option<String>,
    kind: Option<Value>,
    status: Option<String>,
    content: Option<Vec<Content>>,
    raw_input: Option<Value>,
    locations: Option<Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content {
    #[serde(rename = "content")]
    Told { content: Block },
    Diff {
        path: String,
        #[serde(flatten)]
        rest: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ResourceLink {
        uri: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Entry {
    content: String,
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PermissionRequest {
    tool_call: ToolCall,
    options: Vec<PermissionOption>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PermissionOption {
    option_id: String,
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized {
    protocol_version: u16,
    #[serde(default)]
    agent_capabilities: Capabilities,
    agent_info: Option<Info>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Capabilities {
    load_session: bool,
}

#[derive(Deserialize)]
struct Info {
    name: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    session_id: String,
}

fn update(params: Value) -> Said {
    let Ok(told) = serde_json::from_value::<Notification>(params) else { return Said::Other };
    let update = match told.update {
        Told::AgentMessageChunk { content } => Update::Text(text_of(&content)),
        Told::ToolCall(told) => {
            let call = call(&told);
            Update::Call(Call { status: call.status.or(Some(ToolCallStatus::Pending)), ..call })
        }
        Told::ToolCallUpdate(told) => Update::Call(call(&told)),
        Told::Plan { entries } => {
            let text: Vec<String> =
                entries.iter().map(|entry| format!("{} {}", mark(&entry.status), entry.content)).collect();
            Update::Plan { text: text.join("\n"), done: entries.iter().all(|entry| entry.status == "completed") }
        }
        Told::Other => Update::Other,
    };
    Said::Update { session: told.session_id, update }
}

fn mark(status: &str) -> &'static str {
    match status {
        "completed" => "[x]",
        "in_progress" => "[>]",
        _ => "[ ]",
    }
}

fn call(told: &ToolCall) -> Call {
    Call {
        id: told.tool_call_id.clone(),
        title: told.title.clone(),
        status: told.status.as_deref().map(status),
        output: told.content.as_deref().and_then(output),
    }
}

fn status(status: &str) -> ToolCallStatus {
    match status {
        "in_progress" => ToolCallStatus::InProgress,
        "completed" => ToolCallStatus::Completed,
        "failed" => ToolCallStatus::Failed,
        _ => ToolCallStatus::Pending,
    }
}

/// `None`: there is nothing to read.
fn output(content: &[Content]) -> Option<String> {
    let texts = content.iter().filter_map(|content| match content {
        Content::Told { content } => Some(text_of(content)),
        Content::Diff { path, .. } => Some(format!("{path} is changed")),
        Content::Other => None,
    });
    let text = texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
    (!text.is_empty()).then_some(text)
}

fn text_of(content: &Block) -> String {
    match content {
        Block::Text { text } => text.clone(),
        Block::ResourceLink { uri } => uri.clone(),
        Block::Other => String::new(),
    }
}

fn asked(request: &PermissionRequest) -> Asked {
    let option = |kinds: [&str; 2]| {
        let of = |kind| request.options.iter().find(|option| option.kind == kind);
        kinds.into_iter().find_map(of).map(|option| option.option_id.clone())
    };
    let ToolCall { title, kind, raw_input, content, locations, .. } = &request.tool_call;
    let told = json!([title, kind, raw_input, content, locations]);
    Asked {
        call: call(&request.tool_call),
        digest: hex::encode(Sha256::digest(told.to_string())),
        allow: option(["allow_once", "allow_always"]),
        reject: option(["reject_once", "reject_always"]),
    }
}

pub(super) fn initialize(id: u64) -> Value {
    let client = json!({ "name": "open-cowork", "version": env!("CARGO_PKG_VERSION") });
    let capabilities = json!({ "fs": { "readTextFile": false, "writeTextFile": false }, "terminal": false });
    let params = json!({ "protocolVersion": VERSION, "clientCapabilities": capabilities, "clientInfo": client });
    request(id, "initialize", &params)
}

/// What it said when it was greeted.
///
/// # Errors
/// If it speaks no version that this does.
pub(super) fn greeting(answer: Value) -> Result<Greeting, String> {
    let answer: Initialized =
        serde_json::from_value(answer).map_err(|error| format!("its greeting can't be read: {error}"))?;
    if answer.protocol_version != VERSION {
        return Err("it does not speak version 1 of the protocol".into());
    }
    let name = answer.agent_info.map(|info| format!("{} {}", info.name, info.version));
    Ok(Greeting { loads: answer.agent_capabilities.load_session, name })
}

pub(super) fn new_session(id: u64, folder: &Path) -> Value {
    request(id, "session/new", &json!({ "cwd": folder.to_string_lossy(), "mcpServers": [] }))
}

pub(super) fn session_of(answer: Value) -> Result<String, String> {
    let answer: Session =
        serde_json::from_value(answer).map_err(|error| format!("its new session can't be read: {error}"))?;
    Ok(answer.session_id)
}

pub(super) fn load_session(id: u64, session: &str, folder: &Path) -> Value {
    request(id, "session/load", &json!({ "sessionId": session, "cwd": folder.to_string_lossy(), "mcpServers": [] }))
}

pub(super) fn prompt(id: u64, session: &str, text: &str) -> Value {
    let text = json!({ "type": "text", "text": text });
    request(id, "session/prompt", &json!({ "sessionId": session, "prompt": [text] }))
}

pub(super) fn ended(answer: &Value) -> Result<Ended, String> {
    let why = match answer.get("stopReason").and_then(Value::as_str) {
        Some("end_turn") => End::Done,
        Some("cancelled") => End::Cancelled,
        Some("max_tokens") => End::TooLong,
        Some("max_turn_requests") => End::TooManyRequests,
        Some(_) => End::Refused,
        None => return Err("it did not say why it stopped".into()),
    };
    let count = |name: &str| answer.get("usage")?.get(name)?.as_i64().filter(|count| *count >= 0);
    Ok(Ended { why, tokens: count("inputTokens").zip(count("outputTokens")) })
}

pub(super) fn cancel(session: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": { "sessionId": session } })
}

/// What a person said to what it asked. An agent that offers no such choice is told that the question is off.
pub(super) fn permission(id: &Value, asked: &Asked, approved: bool) -> Value {
    match if approved { &asked.allow } else { &asked.reject } {
        Some(option) => answer(id, &json!({ "outcome": { "outcome": "selected", "optionId": option } })),
        None => permission_cancelled(id),
    }
}

pub(super) fn permission_cancelled(id: &Value) -> Value {
    answer(id, &json!({ "outcome": { "outcome": "cancelled" } }))
}

pub(super) fn unknown_method(id: &Value, method: &str) -> Value {
    let error = json!({ "code": -32601, "message": format!("nobody here does {method}") });
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn answer(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

#[cfg(test)]
mod tests;
