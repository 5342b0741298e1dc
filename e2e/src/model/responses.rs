//! `POST /v1/responses`.

use serde_json::{Value, json};

use super::{Answer, Asked};

pub(super) fn read(asked: &Value) -> Asked {
    let items: Vec<&Value> = asked["input"].as_array().into_iter().flatten().collect();
    let users = items.iter().filter(|item| item["type"] == "message" && item["role"] == "user");
    let texts = users.filter_map(|item| item["content"][0]["text"].as_str()).map(str::to_owned).collect();
    Asked { texts, last: items.last().is_some_and(|item| item["type"] == "message"), tools: true }
}

pub(super) fn written(answer: Answer) -> String {
    let events = match answer {
        Answer::Run(command) => call(&command),
        Answer::Say(text) => message(&text),
    };
    let usage = json!({ "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 });
    let first = json!({ "type": "response.created", "response": { "id": "r1" } });
    let last = json!({ "type": "response.completed", "response": { "id": "r1", "model": "gpt-5", "usage": usage } });
    let events = std::iter::once(first).chain(events).chain([last]);
    events.map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())).collect()
}

fn call(command: &str) -> Vec<Value> {
    let arguments = json!({ "cmd": command }).to_string();
    let call = json!({
        "type": "function_call", "id": "f1", "call_id": "c1", "name": "exec_command", "arguments": arguments,
    });
    vec![json!({ "type": "response.output_item.done", "item": call })]
}

fn message(text: &str) -> Vec<Value> {
    let item = |content| json!({ "type": "message", "role": "assistant", "id": "m1", "content": content });
    vec![
        json!({ "type": "response.output_item.added", "item": item(json!([])) }),
        json!({ "type": "response.output_text.delta", "delta": text }),
        json!({ "type": "response.output_item.done", "item": item(json!([{ "type": "output_text", "text": text }])) }),
    ]
}
