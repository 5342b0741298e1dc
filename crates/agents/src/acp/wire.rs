//! The Agent Client Protocol as it is on the wire, version 1: the one place that knows its types.
//!
//! What is not understood is no error: agents are ahead of this and behind it, and what they tell besides (thoughts, modes, commands)
//! changes nothing here.
//!
//! Not here: lines and processes (`process`), what follows from what is said (`talk`).

use std::path::Path;

use agent_client_protocol_schema::ProtocolVersion;
use agent_client_protocol_schema::v1::{
    CancelNotification, ContentBlock, Implementation, InitializeRequest, InitializeResponse, LoadSessionRequest,
    NewSessionRequest, NewSessionResponse, PermissionOptionKind, PlanEntryStatus, PromptRequest,
    RequestPermissionOutcome, RequestPermissionRequest, RequestPermissionResponse, SelectedPermissionOutcome,
    SessionNotification, SessionUpdate, StopReason, TextContent, ToolCallContent, ToolCallStatus as Status,
    ToolCallUpdate,
};
use domain::event::ToolCallStatus;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

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

fn update(params: Value) -> Said {
    let Ok(told) = serde_json::from_value::<SessionNotification>(params) else { return Said::Other };
    let update = match told.update {
        SessionUpdate::AgentMessageChunk(chunk) => Update::Text(text_of(&chunk.content)),
        SessionUpdate::ToolCall(call) => {
            let (status, output) = (Some(status(call.status)), output(&call.content));
            Update::Call(Call { id: call.tool_call_id.to_string(), title: Some(call.title), status, output })
        }
        SessionUpdate::ToolCallUpdate(update) => Update::Call(call(&update)),
        SessionUpdate::Plan(plan) => {
            let line = |status, text: &str| format!("{} {text}", mark(status));
            let text: Vec<String> = plan.entries.iter().map(|one| line(&one.status, &one.content)).collect();
            let done = plan.entries.iter().all(|one| matches!(one.status, PlanEntryStatus::Completed));
            Update::Plan { text: text.join("\n"), done }
        }
        _ => Update::Other,
    };
    Said::Update { session: told.session_id.to_string(), update }
}

fn mark(status: &PlanEntryStatus) -> &'static str {
    match status {
        PlanEntryStatus::Completed => "[x]",
        PlanEntryStatus::InProgress => "[>]",
        _ => "[ ]",
    }
}

fn call(update: &ToolCallUpdate) -> Call {
    let fields = &update.fields;
    Call {
        id: update.tool_call_id.to_string(),
        title: fields.title.clone(),
        status: fields.status.map(status),
        output: fields.content.as_deref().and_then(output),
    }
}

fn status(status: Status) -> ToolCallStatus {
    match status {
        Status::InProgress => ToolCallStatus::InProgress,
        Status::Completed => ToolCallStatus::Completed,
        Status::Failed => ToolCallStatus::Failed,
        _ => ToolCallStatus::Pending,
    }
}

/// `None`: there is nothing to read.
fn output(content: &[ToolCallContent]) -> Option<String> {
    let texts = content.iter().filter_map(|content| match content {
        ToolCallContent::Content(content) => Some(text_of(&content.content)),
        ToolCallContent::Diff(diff) => Some(format!("{} is changed", diff.path.display())),
        _ => None,
    });
    let text = texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
    (!text.is_empty()).then_some(text)
}

fn text_of(content: &ContentBlock) -> String {
    match content {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::ResourceLink(link) => link.uri.to_string(),
        _ => String::new(),
    }
}

fn asked(request: &RequestPermissionRequest) -> Asked {
    let option = |kinds: [PermissionOptionKind; 2]| {
        let of = |kind| request.options.iter().find(|option| option.kind == kind);
        kinds.into_iter().find_map(of).map(|option| option.option_id.to_string())
    };
    let fields = &request.tool_call.fields;
    let told = json!([fields.title, fields.kind, fields.raw_input, fields.content, fields.locations]);
    Asked {
        call: call(&request.tool_call),
        digest: hex::encode(Sha256::digest(told.to_string())),
        allow: option([PermissionOptionKind::AllowOnce, PermissionOptionKind::AllowAlways]),
        reject: option([PermissionOptionKind::RejectOnce, PermissionOptionKind::RejectAlways]),
    }
}

pub(super) fn initialize(id: u64) -> Value {
    let client = Implementation::new("open-cowork", env!("CARGO_PKG_VERSION"));
    request(id, "initialize", &InitializeRequest::new(ProtocolVersion::V1).client_info(client))
}

/// What it said when it was greeted.
///
/// # Errors
/// If it speaks no version that this does.
pub(super) fn greeting(answer: Value) -> Result<Greeting, String> {
    let answer: InitializeResponse =
        serde_json::from_value(answer).map_err(|error| format!("its greeting can't be read: {error}"))?;
    if answer.protocol_version != ProtocolVersion::V1 {
        return Err("it does not speak version 1 of the protocol".into());
    }
    let name = answer.agent_info.map(|info| format!("{} {}", info.name, info.version));
    Ok(Greeting { loads: answer.agent_capabilities.load_session, name })
}

pub(super) fn new_session(id: u64, folder: &Path) -> Value {
    request(id, "session/new", &NewSessionRequest::new(folder))
}

pub(super) fn session_of(answer: Value) -> Result<String, String> {
    let answer: NewSessionResponse =
        serde_json::from_value(answer).map_err(|error| format!("its new session can't be read: {error}"))?;
    Ok(answer.session_id.to_string())
}

pub(super) fn load_session(id: u64, session: &str, folder: &Path) -> Value {
    request(id, "session/load", &LoadSessionRequest::new(session.to_owned(), folder))
}

pub(super) fn prompt(id: u64, session: &str, text: &str) -> Value {
    let text = ContentBlock::Text(TextContent::new(text));
    request(id, "session/prompt", &PromptRequest::new(session.to_owned(), vec![text]))
}

pub(super) fn ended(answer: &Value) -> Result<Ended, String> {
    let reason = answer.get("stopReason").cloned().unwrap_or_default();
    let reason: StopReason = serde_json::from_value(reason).map_err(|_| "it did not say why it stopped".to_owned())?;
    let why = match reason {
        StopReason::EndTurn => End::Done,
        StopReason::Cancelled => End::Cancelled,
        StopReason::MaxTokens => End::TooLong,
        StopReason::MaxTurnRequests => End::TooManyRequests,
        _ => End::Refused,
    };
    let count = |name: &str| answer.get("usage")?.get(name)?.as_i64().filter(|count| *count >= 0);
    Ok(Ended { why, tokens: count("inputTokens").zip(count("outputTokens")) })
}

pub(super) fn cancel(session: &str) -> Value {
    let params = CancelNotification::new(session.to_owned());
    json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": params })
}

/// What a person said to what it asked. An agent that offers no such choice is told that the question is off.
pub(super) fn permission(id: &Value, asked: &Asked, approved: bool) -> Value {
    match if approved { &asked.allow } else { &asked.reject } {
        Some(option) => {
            let selected = SelectedPermissionOutcome::new(option.clone());
            answer(id, &RequestPermissionResponse::new(RequestPermissionOutcome::Selected(selected)))
        }
        None => permission_cancelled(id),
    }
}

pub(super) fn permission_cancelled(id: &Value) -> Value {
    answer(id, &RequestPermissionResponse::new(RequestPermissionOutcome::Cancelled))
}

pub(super) fn unknown_method(id: &Value, method: &str) -> Value {
    let error = json!({ "code": -32601, "message": format!("nobody here does {method}") });
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

fn request(id: u64, method: &str, params: &impl Serialize) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn answer(id: &Value, result: &impl Serialize) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

#[cfg(test)]
mod tests;
