//! What is read of answers, however they come.

use serde_json::json;

use super::*;

const EVENTS: Option<&str> = Some("text/event-stream; charset=utf-8");

fn taken(model: &str, input_tokens: i64, output_tokens: i64, cached_tokens: i64) -> Taken {
    Taken { model: Some(model.into()), input_tokens, output_tokens, cached_tokens, whole: true }
}

fn read(content_type: Option<&str>, pieces: &[&[u8]]) -> Taken {
    let mut reader = Reader::of(content_type, None);
    pieces.iter().for_each(|piece| reader.take(piece));
    reader.end()
}

fn whole(answer: &Value) -> Taken {
    read(Some("application/json"), &[answer.to_string().as_bytes()])
}

fn stream(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"])).collect()
}

/// Anthropic's, of a message that says something misleading.
fn messages() -> String {
    stream(&[
        json!({"type": "message_start", "message": {"model": "claude-x", "content": [], "usage": {"input_tokens": 10,
            "cache_creation_input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 1}}}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta",
            "text": "{\"type\": \"message_delta\", \"usage\": {\"output_tokens\": 9999}}\n\ndata: {\"usage\": 1}"}}),
        json!({"type": "content_block_delta", "delta": {"usage": {"input_tokens": 7, "output_tokens": 7777}}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 42}}),
        json!({"type": "message_stop"}),
    ])
}

#[test]
fn each_api_tells_what_an_answer_took() {
    let anthropic = json!({"type": "message", "model": "claude-x", "content": [], "usage": {"input_tokens": 10,
        "cache_creation_input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 42, "service_tier": "x"}});
    assert_eq!(whole(&anthropic), taken("claude-x", 115, 42, 100));
    let chat = json!({"object": "chat.completion", "model": "gpt-x", "choices": [{"message": {"content": "x"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}});
    assert_eq!(whole(&chat), taken("gpt-x", 10, 4, 8));
    let response = json!({"object": "response", "model": "gpt-x", "output": [],
        "usage": {"input_tokens": 10, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 8}}});
    assert_eq!(whole(&response), taken("gpt-x", 10, 4, 8));
    let embedding = json!({"model": "e", "data": [], "usage": {"prompt_tokens": 10, "total_tokens": 10}});
    assert_eq!(whole(&embedding), taken("e", 10, 0, 0));
}

#[test]
fn a_stream_tells_the_same_wherever_it_is_split() {
    let chat = stream(&[
        json!({"model": "gpt-x", "choices": [{"delta": {"content": "\"usage\""}}], "usage": null}),
        json!({"model": "gpt-x", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4}}),
    ]) + "data: [DONE]\n\n";
    let responses = stream(&[
        json!({"type": "response.created", "response": {"model": "gpt-x", "usage": null}}),
        json!({"type": "response.completed", "response": {"model": "gpt-x", "output": [{"usage": {"input_tokens": 1}}],
            "usage": {"input_tokens": 10, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 8}}}}),
    ]);
    let expected = [taken("claude-x", 115, 42, 100), taken("gpt-x", 10, 4, 0), taken("gpt-x", 10, 4, 8)];
    for (text, expect) in [messages(), chat, responses].into_iter().zip(expected) {
        for text in [text.clone(), text.replace('\n', "\r\n"), text.trim_end().to_owned()] {
            for size in [1, 2, 3, 7, 64, text.len()] {
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                assert_eq!(read(EVENTS, &pieces), expect, "in pieces of {size}");
            }
        }
    }
}

#[test]
fn a_stream_that_breaks_off_tells_what_it_had_told_and_that_it_is_not_all() {
    let text = messages();
    let end = text.find("message_delta\"\ndata").unwrap();
    let broken = Taken { output_tokens: 1, whole: false, ..taken("claude-x", 115, 42, 100) };
    assert_eq!(read(EVENTS, &[&text.as_bytes()[..end]]), broken);
    assert_eq!(read(EVENTS, &[]), Taken::default());
}

#[test]
fn an_event_over_the_bound_is_passed_over_and_those_behind_it_are_read() {
    let long =
        format!("data: {{\"usage\": {{\"input_tokens\": 9, \"output_tokens\": 9}}, \"x\": \"{}", "x".repeat(HELD_MAX));
    let text = messages();
    let after = read(EVENTS, &[long.as_bytes(), b"\"}\n\n", text.as_bytes()]);
    assert_eq!(after, taken("claude-x", 115, 42, 100));
    let mut reader = Reader::of(EVENTS, None);
    for _ in 0..100 {
        reader.take(long.as_bytes());
        assert!(reader.held.capacity() <= 2 * HELD_MAX, "what is held is bounded");
    }
    let answer =
        format!("{{\"usage\": {{\"input_tokens\": 9, \"output_tokens\": 9}}, \"x\": \"{}\"}}", "x".repeat(HELD_MAX));
    assert_eq!(read(Some("application/json"), &[answer.as_bytes()]), Taken::default());
}

#[test]
fn nonsense_is_unknown_and_not_guessed() {
    let unknown = |answer: Value| {
        let taken = whole(&answer);
        assert!(!taken.whole && taken.input_tokens == 0 && taken.output_tokens == 0, "{answer}: {taken:?}");
    };
    unknown(json!({"usage": null}));
    unknown(json!({"usage": [1, 2]}));
    unknown(json!({"usage": {"input_tokens": "12", "output_tokens": 1.5}}));
    unknown(json!({"usage": {"input_tokens": -1, "output_tokens": -1}}));
    unknown(json!({"usage": {"input_tokens": u64::MAX, "output_tokens": 1_u64 << 41}}));
    unknown(json!({"choices": [{"usage": {"input_tokens": 1, "output_tokens": 1}}]}));
    unknown(json!([{"usage": {"input_tokens": 1, "output_tokens": 1}}]));
    let answer: &[u8] = br#"{"usage": {"input_tokens": 3, "output_tokens": 2}}"#;
    assert!(!read(None, &[answer]).whole, "it does not say what it is");
    let mut packed = Reader::of(Some("application/json"), Some("gzip"));
    packed.take(answer);
    assert_eq!(packed.end(), Taken::default());
    let named = whole(&json!({"model": "m\u{7}".repeat(200), "usage": {"input_tokens": 3, "output_tokens": 2}}));
    assert_eq!(named.model.unwrap(), "m".repeat(NAME_MAX));
}
