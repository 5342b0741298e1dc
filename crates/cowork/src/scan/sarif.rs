//! A scan's result as SARIF 2.1.0, which code hosts show beside the code.

use std::collections::BTreeSet;

use ::redact::{Hit, What};
use serde_json::{Value, json};

use super::Looked;

pub(super) fn render(looked: &[Looked]) -> Value {
    let hits = || looked.iter().filter_map(|input| Some((input, input.result.as_ref().ok()?)));
    let results: Vec<Value> =
        hits().flat_map(|(input, found)| found.hits.iter().map(move |hit| result(&input.name, hit))).collect();
    let rules: BTreeSet<&str> = hits().flat_map(|(_, found)| found.hits.iter().map(rule)).collect();
    let rules: Vec<Value> = rules.into_iter().map(|id| json!({"id": id})).collect();
    let notes: Vec<Value> = looked.iter().flat_map(notes).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "cowork scan", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "invocations": [{"executionSuccessful": notes.is_empty(), "toolExecutionNotifications": notes}],
            "results": results,
        }],
    })
}

fn rule(hit: &Hit) -> &str {
    match &hit.what {
        What::Value { .. } => "known_value",
        What::Pattern { rule } => rule,
    }
}

fn result(input: &str, hit: &Hit) -> Value {
    json!({
        "ruleId": rule(hit),
        "level": "error",
        "message": {"text": format!("{}, written as {}", hit.what.label(), hit.written())},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": input},
            "region": {"byteOffset": hit.offset, "byteLength": hit.length},
        }}],
    })
}

/// What could not be looked at.
fn notes(input: &Looked) -> Vec<Value> {
    let note = |text: String| json!({"level": "error", "message": {"text": text}});
    match &input.result {
        Err(error) => vec![note(format!("{} could not be read: {error}", input.name))],
        Ok(found) => {
            let sentence = |unseen: &::redact::Unseen| {
                format!("{}: byte {}: could not look inside: {}", input.name, unseen.offset, unseen.reason.sentence())
            };
            found.unseen.iter().map(|unseen| note(sentence(unseen))).collect()
        }
    }
}
