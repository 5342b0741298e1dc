//! Takes secrets out of text: known values in all their forms, then whatever looks like a secret.
//!
//! What is taken out leaves a marker that says of which kind it was: `[redacted:email]`. A marker is safe inside a JSON
//! string.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::MatchKind;
use serde_json::Value;

use crate::MIN_LENGTH;
use crate::known::Known;
use crate::patterns;

/// The marker of a known value.
const MARKER: &str = "[redacted:secret]";
/// What is left of a text that can't be redacted otherwise.
const WITHHELD: &str = "[redacted:text]";

/// Redacts. Clones share what they know, so a value registered with one is taken out by all.
#[derive(Clone, Default)]
pub struct Redactor {
    shared: Arc<RwLock<Secrets>>,
}

#[derive(Default)]
struct Secrets {
    values: Vec<Vec<u8>>,
    known: Option<Arc<Known>>,
}

impl Redactor {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `value` out from now on, in every form. False if it is too short ([`MIN_LENGTH`]) or part of a marker: such
    /// a value would tear other text apart, and stays.
    #[must_use]
    pub fn register(&self, value: &[u8]) -> bool {
        let own =
            |marker: &str| crate::encoding::forms(value).iter().any(|(_, form)| contains(marker.as_bytes(), form));
        if value.len() < MIN_LENGTH || value.iter().all(|byte| *byte == b'*') || own(MARKER) || own(WITHHELD) {
            return false;
        }
        let mut secrets = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        if !secrets.values.iter().any(|known| known == value) {
            secrets.values.push(value.to_vec());
            let values = secrets.values.iter().map(Vec::as_slice);
            secrets.known = Some(Arc::new(Known::new(values, MatchKind::LeftmostLongest)));
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
        let known = self.known();
        let without_known = known.as_deref().map_or(Cow::Borrowed(bytes), |known| without(known, bytes));
        let redacted = match patterns::redact(&without_known, keep_paths) {
            Cow::Borrowed(_) => without_known,
            Cow::Owned(redacted) => Cow::Owned(redacted),
        };
        match (redacted, known) {
            (Cow::Owned(redacted), Some(known)) => Cow::Owned(certain(&known, redacted)),
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

    fn known(&self) -> Option<Arc<Known>> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).known.clone()
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

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn without<'a>(known: &Known, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    if !known.automaton.is_match(bytes) {
        return Cow::Borrowed(bytes);
    }
    let mut redacted = Vec::with_capacity(bytes.len());
    known.automaton.replace_all_with_bytes(bytes, &mut redacted, |_, _, out| {
        out.extend_from_slice(MARKER.as_bytes());
        true
    });
    Cow::Owned(redacted)
}

/// Makes sure: a value may have come about where a marker met its neighbours. Blotting it out could make another, so
/// this ends by withholding the whole text.
fn certain(known: &Known, mut redacted: Vec<u8>) -> Vec<u8> {
    for _ in 0..3 {
        if !known.automaton.is_match(&redacted) {
            return redacted;
        }
        let mut blotted = Vec::with_capacity(redacted.len());
        known.automaton.replace_all_with_bytes(&redacted, &mut blotted, |found, _, out| {
            out.resize(out.len() + found.range().len(), b'*');
            true
        });
        redacted = blotted;
    }
    if known.automaton.is_match(&redacted) { WITHHELD.as_bytes().to_vec() } else { redacted }
}

#[cfg(test)]
mod tests;
