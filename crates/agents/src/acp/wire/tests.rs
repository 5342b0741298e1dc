use super::*;

fn said(text: &str) -> Option<Said> {
    read(text.as_bytes())
}

fn updated(update: &Value) -> Update {
    let line = json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s", "update": update}});
    match said(&line.to_string()) {
        Some(Said::Update { update, .. }) => update,
        _ => Update::Other,
    }
}

#[test]
fn updates_are_read_and_unknown_ones_are_nothing() {
    let text = json!({"type": "text", "text": "hi"});
    assert_eq!(updated(&json!({"sessionUpdate": "agent_message_chunk", "content": text})), Update::Text("hi".into()));
    assert_eq!(updated(&json!({"sessionUpdate": "agent_thought_chunk", "content": text})), Update::Other);
    assert_eq!(updated(&json!({"sessionUpdate": "from_the_future", "x": 1})), Update::Other);
    let call = json!({"sessionUpdate": "tool_call", "toolCallId": "c", "title": "Write a"});
    let expect =
        Call { id: "c".into(), title: Some("Write a".into()), status: Some(ToolCallStatus::Pending), output: None };
    assert_eq!(updated(&call), Update::Call(expect));
    let call = json!({"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "completed",
        "content": [{"type": "content", "content": text}]});
    let expect =
        Call { id: "c".into(), title: None, status: Some(ToolCallStatus::Completed), output: Some("hi".into()) };
    assert_eq!(updated(&call), Update::Call(expect));
    let entry = |content, status| json!({"content": content, "priority": "low", "status": status});
    let plan = json!({"sessionUpdate": "plan", "entries": [entry("a", "completed"), entry("b", "pending")]});
    assert_eq!(updated(&plan), Update::Plan { text: "[x] a\n[ ] b".into(), done: false });
}

#[test]
fn what_is_no_message_is_told_from_one_that_says_nothing() {
    assert_eq!(said("loading..."), None);
    assert_eq!(said("[]"), None);
    assert_eq!(said("{}"), None);
    assert_eq!(said(r#"{"jsonrpc":"2.0","method":"session/other"}"#), Some(Said::Other));
    let method = "fs/read_text_file".to_owned();
    assert_eq!(said(r#"{"id":"a","method":"fs/read_text_file"}"#), Some(Said::Request { id: json!("a"), method }));
    let failed = Said::Answer { id: 3, result: Err("no: login".into()) };
    assert_eq!(said(r#"{"id":3,"error":{"code":1,"message":"no","data":"login"}}"#), Some(failed));
}

#[test]
fn a_permission_is_given_once_rather_than_for_ever_and_asked_for_again_is_the_same() {
    let ask = |call: &str, options: Value| {
        let call = json!({"toolCallId": call, "title": "Run x", "rawInput": {"command": "x"}});
        let params = json!({"sessionId": "s", "toolCall": call, "options": options});
        let line = json!({"id": 7, "method": "session/request_permission", "params": params}).to_string();
        let Some(Said::Permission { id, asked }) = said(&line) else { panic!("it is read") };
        (id, asked)
    };
    let option = |id: &str, kind: &str| json!({"optionId": id, "name": id, "kind": kind});
    let all = json!([option("always", "allow_always"), option("once", "allow_once"), option("no", "reject_once")]);
    let (id, asked) = ask("c1", all.clone());
    assert_eq!(permission(&id, &asked, true)["result"]["outcome"]["optionId"], "once");
    assert_eq!(permission(&id, &asked, false)["result"]["outcome"]["optionId"], "no");
    assert_eq!(asked.digest, ask("c2", all).1.digest);
    let (id, asked) = ask("c1", json!([option("once", "allow_once")]));
    assert_eq!(permission(&id, &asked, false)["result"]["outcome"]["outcome"], "cancelled");
}

#[test]
fn a_prompt_ends_with_a_reason_and_with_tokens_if_they_are_told() {
    let end = |answer| ended(&answer);
    assert_eq!(end(json!({"stopReason": "end_turn"})), Ok(Ended { why: End::Done, tokens: None }));
    let usage = json!({"stopReason": "cancelled", "usage": {"inputTokens": 3, "outputTokens": 4}});
    assert_eq!(end(usage), Ok(Ended { why: End::Cancelled, tokens: Some((3, 4)) }));
    assert!(end(json!(null)).is_err());
}
