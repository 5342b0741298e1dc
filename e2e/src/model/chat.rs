//! `POST /v1/chat/completions`.

use serde_json::{Value, json};

use super::{Answer, Asked};

/// A question without tools is for something beside the conversation, such as its title.
pub(super) fn read(asked: &Value) -> Asked {
    let messages: Vec<&Value> = asked["messages"].as_array().into_iter().flatten().collect();
    let users = messages.iter().filter(|message| message["role"] == "user");
    let texts = users.filter_map(|message| text(&message["content"])).map(str::to_owned).collect();
    let last = messages.last().is_some_and(|message| message["role"] == "user");
    Asked { texts, last, tools: asked["tools"].as_array().is_some_and(|tools| !tools.is_empty()) }
}

/// A text, or the first of several parts.
fn text(content: &Value) -> Option<&str> {
    content.as_str().or_else(|| content[0]["text"].as_str())
}

pub(super) fn written(answer: Answer) -> String {
    let (said, reason) = match answer {
        Answer::Run(command) => (call(&command), "tool_calls"),
        Answer::Say(text) => (json!({ "role": "assistant", "content": text }), "stop"),
    };
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 });
    let chunk = |delta: Value, reason: Option<&str>, usage: Value| {
        let choices = json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
        json!({
            "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5", "choices": choices,
            "usage": usage,
        })
    };
    format!(
        "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
        chunk(said, None, Value::Null),
        chunk(json!({}), Some(reason), usage)
    )
}

fn call(command: &str) -> Value {
    let arguments = json!({ "command": command, "description": "as it was told" }).to_string();
    let function = json!({ "name": "bash", "arguments": arguments });
    let calls = json!([{ "index": 0, "id": "call-1", "type": "function", "function": function }]);
    json!({ "role": "assistant", "tool_calls": calls })
}
