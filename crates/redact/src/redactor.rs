//! Takes secrets out of text: known values in all their forms, then whatever looks like a secret.
//!
//! What is taken out leaves a marker that says of which kind it was: `[redacted:email]`. A marker is safe inside a JSON
//! string.
//!
//! It drives the scanner's engine, and like the scanner it keeps no value: what was registered is known by fingerprints.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use crate::MIN_LENGTH;
use crate::engine::{Engine, Limits};
use crate::findings::Reason;
use crate::patterns;

/// The marker of a known value.
const MARKER: &str = "[redacted:secret]";
/// What is left of a text that can't be redacted otherwise.
const WITHHELD: &str = "[redacted:text]";

/// Redacts. Clones share what they know, so a value registered with one is taken out by all.
#[derive(Clone, Default)]
pub struct Redactor {
    /// `None`: nothing was registered yet.
    shared: Arc<RwLock<Option<Arc<Engine>>>>,
}

/// What is redacted is lines and reports: nothing in them is worth more work than this.
const LIMITS: Limits = Limits { depth: 6, ratio: 1_100, ratio_from: 1 << 20, work: 16 << 20, work_per_byte: 64 };

impl Redactor {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `value` out from now on, in every form. False if it is too short ([`MIN_LENGTH`]) or part of a marker: such
    /// a value would tear other text apart, and stays.
    #[must_use]
    pub fn register(&self, value: &[u8]) -> bool {
        let own = |marker: &str| !Engine::new(&[value], LIMITS).scan(marker.as_bytes()).hits.is_empty();
        if value.len() < MIN_LENGTH || value.iter().all(|byte| *byte == b'*') || own(MARKER) || own(WITHHELD) {
            return false;
        }
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        match shared.as_deref() {
            None => *shared = Some(Arc::new(Engine::new(&[value], LIMITS))),
            Some(engine) if engine.known.has(value) => {}
            Some(engine) => *shared = Some(Arc::new(engine.with(value))),
        }
        true
    }

    /// `text` without secrets.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redact_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A known value may be bytes that cut a character in two.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).unwrap_or_else(lossy)),
        }
    }

    /// `text` without secrets, but with its host paths: for the person who typed the command, and nobody else.
    #[must_use]
    pub fn redact_for_operator(&self, text: &str) -> String {
        String::from_utf8(self.without_secrets(text.as_bytes(), true).into_owned()).unwrap_or_else(lossy)
    }

    /// `bytes` without secrets.
    #[must_use]
    pub fn redact_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        self.without_secrets(bytes, false)
    }

    fn without_secrets<'a>(&self, bytes: &'a [u8], keep_paths: bool) -> Cow<'a, [u8]> {
        let engine = self.engine();
        let without_known = engine.as_deref().map_or(Cow::Borrowed(bytes), |engine| without(engine, bytes));
        let redacted = match patterns::redact(&without_known, keep_paths) {
            Cow::Borrowed(_) => without_known,
            Cow::Owned(redacted) => Cow::Owned(redacted),
        };
        match (redacted, engine) {
            (Cow::Owned(redacted), Some(engine)) => Cow::Owned(certain(&engine, redacted)),
            (redacted, _) => redacted,
        }
    }

    /// Redacts every string of `value`, names of fields too. Better than redacting JSON text: no escape is in the way,
    /// and what comes out is always JSON.
    pub fn redact_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.redact(text) {
                    *text = redacted;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_json(item)),
            Value::Object(fields) => {
                for (name, mut field) in std::mem::take(fields) {
                    match &mut field {
                        Value::String(text) if patterns::field_is_secret(&name) => MARKER.clone_into(text),
                        field => self.redact_json(field),
                    }
                    fields.insert(self.redact(&name).into_owned(), field);
                }
            }
            Value::Number(number) => {
                if let Cow::Owned(redacted) = self.redact(&number.to_string()) {
                    *value = Value::String(redacted);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Redactor")
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of `unwrap_or_else`")]
fn lossy(error: std::string::FromUtf8Error) -> String {
    String::from_utf8_lossy(error.as_bytes()).into_owned()
}

/// Where in `bytes` known values are, joined where they touch. `None`: not all of `bytes` could be looked into.
fn places(engine: &Engine, bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let told = engine.scan(bytes);
    let limit = |reason: &Reason| matches!(reason, Reason::TooDeep | Reason::TooLarge | Reason::TooMuchWork);
    if told.is_full() || told.unseen.iter().any(|(_, _, reason)| limit(reason)) {
        return None;
    }
    let within = |at: u64| usize::try_from(at).unwrap_or(bytes.len()).min(bytes.len());
    let mut ranges: Vec<_> = told.hits.iter().map(|hit| within(hit.outer.start)..within(hit.outer.end)).collect();
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    Some(joined)
}

/// `bytes` with something else at `places`.
fn replaced(bytes: &[u8], places: &[Range<usize>], by: impl Fn(&mut Vec<u8>, usize)) -> Vec<u8> {
    let (mut out, mut from) = (Vec::with_capacity(bytes.len()), 0);
    for place in places {
        out.extend_from_slice(&bytes[from..place.start]);
        by(&mut out, place.len());
        from = place.end;
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

fn without<'a>(engine: &Engine, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    match places(engine, bytes) {
        // Owned, for a borrowed answer means that nothing was changed.
        None => Cow::Owned(WITHHELD.as_bytes().to_vec()),
        Some(places) if places.is_empty() => Cow::Borrowed(bytes),
        Some(places) => Cow::Owned(replaced(bytes, &places, |out, _| out.extend_from_slice(MARKER.as_bytes()))),
    }
}

/// Makes sure: a value may have come about where a marker met its neighbours. Blotting it out could make another, so
/// this ends by withholding the whole text.
fn certain(engine: &Engine, mut redacted: Vec<u8>) -> Vec<u8> {
    for _ in 0..4 {
        match places(engine, &redacted) {
            Some(places) if places.is_empty() => return redacted,
            Some(places) => redacted = replaced(&redacted, &places, |out, length| out.resize(out.len() + length, b'*')),
            None => break,
        }
    }
    WITHHELD.as_bytes().to_vec()
}

#[cfg(test)]
mod tests;
