//! What was seen, for programs: a piece of evidence, the data of an entry of the journal.
//!
//! Not here: storing it (`attest`).

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use ids::{CommandId, DrillId, OrgId, SessionId, SystemId, WorkflowId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::heard::{Heard, WITHHELD};
use super::name::{Key, Keyed, Name};
use super::{Sayable as _, Sentence};
use crate::report::{CheckId, DeliveriesSeen, ObjectCount, Objectives, Outcome, SlotsSeen, TableCount, Verdict};

/// How far what others say is followed, and how many entries of each list or object are kept.
const DEPTH_MAX: usize = 6;
const ENTRIES_MAX: usize = 1_000;

/// Numbers, ids, instants, names, digests and sentences, in lists and with names: nothing that can hold a row's text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Fact(Value);

/// What may be a part of a [`Fact`]. Types of this crate that consist of such parts are listed below.
pub(crate) trait Factual {
    fn fact(&self) -> Fact;
}

impl Fact {
    pub(crate) fn map(parts: Vec<(&'static str, Self)>) -> Self {
        Self(Value::Object(parts.into_iter().map(|(name, part)| (name.to_owned(), part.0)).collect()))
    }
}

/// In JSON, on one line.
impl fmt::Display for Fact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What another program says in JSON: its numbers, its ids and instants, its words as [`Heard`].
pub(crate) fn others(value: &Value) -> Fact {
    Fact(bounded(value, DEPTH_MAX))
}

fn bounded(value: &Value, depth: usize) -> Value {
    match value {
        _ if depth == 0 => Value::Null,
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) if Uuid::try_parse(text).is_ok() || DateTime::parse_from_rfc3339(text).is_ok() => {
            value.clone()
        }
        Value::String(text) => Value::String(Heard::of(text).to_string()),
        Value::Array(items) => items.iter().take(ENTRIES_MAX).map(|item| bounded(item, depth - 1)).collect(),
        Value::Object(entries) => {
            let entry = |(name, value): (&String, &Value)| (key(name), bounded(value, depth - 1));
            Value::Object(entries.iter().take(ENTRIES_MAX).map(entry).collect::<Map<_, _>>())
        }
    }
}

/// Names of fields are a program's own.
fn key(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.len() <= 64 && name.bytes().all(plain) { name.to_owned() } else { WITHHELD.to_owned() }
}

macro_rules! factual {
    (values: $($value:ty),* $(,)?; said: $($said:ty),* $(,)?) => {
        $( impl Factual for $value {
            fn fact(&self) -> Fact {
                Fact(json!(self))
            }
        } )*
        $( impl Factual for $said {
            fn fact(&self) -> Fact {
                let mut text = String::new();
                self.say(&mut text);
                Fact(Value::String(text))
            }
        } )*
    };
}

factual! {
    values: bool, u16, u32, u64, usize, i32, i64, f64, DateTime<Utc>, Uuid,
        CommandId, DrillId, OrgId, SessionId, SystemId, WorkflowId,
        CheckId, Verdict, Outcome, Objectives, TableCount, ObjectCount, DeliveriesSeen, SlotsSeen;
    said: &'static str, Sentence, Name, Key, Keyed, Heard,
}

impl Factual for Fact {
    fn fact(&self) -> Fact {
        self.clone()
    }
}

impl<T: Factual> Factual for Option<T> {
    fn fact(&self) -> Fact {
        self.as_ref().map_or(Fact(Value::Null), Factual::fact)
    }
}

impl<T: Factual> Factual for [T] {
    fn fact(&self) -> Fact {
        Fact(self.iter().map(|one| one.fact().0).collect())
    }
}

impl<T: Factual> Factual for Vec<T> {
    fn fact(&self) -> Fact {
        self.as_slice().fact()
    }
}

impl<T: Factual> Factual for BTreeMap<Name, T> {
    fn fact(&self) -> Fact {
        Fact(Value::Object(self.iter().map(|(name, one)| (name.to_string(), one.fact().0)).collect()))
    }
}

impl<T: Factual, U: Factual> Factual for (T, U) {
    fn fact(&self) -> Fact {
        Fact(Value::Array(vec![self.0.fact().0, self.1.fact().0]))
    }
}

impl<T: Factual> Factual for &T {
    fn fact(&self) -> Fact {
        (**self).fact()
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts;
    use super::*;

    #[test]
    fn facts_are_named_parts() {
        let seen = facts!({"tables": 3_usize, "missing": vec![Name::catalogued("events")], "status": None::<u16>});
        assert_eq!(serde_json::to_value(&seen).unwrap(), json!({"tables": 3, "missing": ["events"], "status": null}));
    }

    #[test]
    fn of_what_others_say_no_text_is_kept() {
        let id = Uuid::from_u128(7);
        let said = json!({"id": id, "rows": 7, "at": "2026-11-23T09:00:00Z", "state": "pending",
            "title": "Dear Ada", "Dear Ada": 1, "deep": [[[[[["Ada"]]]]]]});
        let expect = json!({"id": id, "rows": 7, "at": "2026-11-23T09:00:00Z", "state": "pending",
            "title": "…", "…": 1, "deep": [[[[[null]]]]]});
        assert_eq!(serde_json::to_value(others(&said)).unwrap(), expect);
    }
}
