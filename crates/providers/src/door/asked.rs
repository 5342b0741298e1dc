//! What is asked: whether an answer to it takes tokens, and that a stream tells how many.
//!
//! OpenAI's chat completions leave that out of a stream unless they are asked for it (`stream_options.include_usage`), so they are
//! asked here. The agent's stream has one event more then, before its end, with no choices.
//!
//! Not here: sending it (`door`).

use std::collections::BTreeMap;

use axum::http::Method;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Where chat completions are asked for.
pub(super) const CHAT: &str = "/v1/chat/completions";
/// Where a request of Anthropic's is measured without being made.
const MEASURED: &str = "/count_tokens";

const OPTIONS: &str = "stream_options";
const TELL: &str = "include_usage";

/// What is looked at of a request.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    include_usage: Option<bool>,
}

type Members = BTreeMap<String, Box<RawValue>>;

pub(super) fn costs(method: &Method, path: &str) -> bool {
    method == Method::POST && !path.ends_with(MEASURED)
}

/// The request, which asks to be told. As it was, if it does already, asks for no stream, or can't be read.
pub(super) fn telling(body: Bytes) -> Bytes {
    match serde_json::from_slice::<Asked>(&body) {
        Ok(Asked { stream: Some(true), stream_options })
            if stream_options.as_ref().is_none_or(|options| options.include_usage != Some(true)) =>
        {
            told(&body).unwrap_or(body)
        }
        _ => body,
    }
}

/// All that is not looked at stays as it was written.
fn told(body: &[u8]) -> Option<Bytes> {
    let mut members: Members = serde_json::from_slice(body).ok()?;
    let options = members.get(OPTIONS).and_then(|options| serde_json::from_str::<Members>(options.get()).ok());
    let mut options = options.unwrap_or_default();
    options.insert(TELL.into(), RawValue::from_string("true".into()).ok()?);
    members.insert(OPTIONS.into(), serde_json::value::to_raw_value(&options).ok()?);
    serde_json::to_vec(&members).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_a_chat_is_asked_what_it_takes_and_nothing_else_of_the_request_changes() {
        let check = |asked: &'static str, expect: &str| {
            assert_eq!(String::from_utf8_lossy(&telling(Bytes::from_static(asked.as_bytes()))), expect);
        };
        for same in [
            r#"{"stream": false}"#,
            r#"{"model": "m"}"#,
            r#"{"stream": true, "stream_options": {"include_usage": true}}"#,
            r#"{"stream": true, "stream": true}"#,
            r#"[{"stream": true}]"#,
            "no json",
        ] {
            check(same, same);
        }
        check(
            r#"{"stream": true, "seed": 18446744073709551616, "temperature": 1.10, "a": {"z": 1,  "b": "é"}}"#,
            r#"{"a":{"z": 1,  "b": "é"},"seed":18446744073709551616,"stream":true,"stream_options":{"include_usage":true},"temperature":1.10}"#,
        );
        check(
            r#"{"stream": true, "stream_options": {"include_usage": false, "x": 1}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
        );
        check(
            r#"{"stream": true, "stream_options": null}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        );
    }

    #[test]
    fn looking_costs_nothing() {
        assert!(costs(&Method::POST, "/v1/messages"));
        assert!(!costs(&Method::POST, "/v1/messages/count_tokens"));
        assert!(!costs(&Method::GET, "/v1/models"));
    }
}
