//! What an answer says that it took, read while it passes: Anthropic's messages, OpenAI's chat completions and responses, whole or
//! as streams of events.
//!
//! Only what stands where those APIs put it counts, whatever the model's own words say. A stream is never held back for it; of it,
//! one event is kept at a time, and one that is too long is passed over.
//!
//! Not promised: that what is told is true. Not here: who is billed (`meter`).

use memchr::{memchr, memmem};
use serde::Deserialize;
use serde_json::Value;

/// Of an answer that is no stream, or of one event of one that is. A larger one says nothing.
const HELD_MAX: usize = 4 << 20;
/// Larger numbers of tokens are nonsense.
const TOKENS_MAX: i64 = 1 << 40;
/// Of the name of a model, in bytes.
const NAME_MAX: usize = 128;

/// What was read of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// `None`: it did not say.
    pub(super) model: Option<String>,
    /// Cached ones included.
    pub(super) input_tokens: i64,
    pub(super) output_tokens: i64,
    /// Of the input tokens.
    pub(super) cached_tokens: i64,
    /// Whether that is all that it took. Else it is what had been told when the answer broke off, or nothing.
    pub(super) whole: bool,
}

/// Reads an answer, piece by piece.
#[derive(Debug)]
pub(super) struct Reader {
    form: Form,
    /// Of the answer, or of the event that has not ended yet.
    held: Vec<u8>,
    /// More came than is held.
    overlong: bool,
    /// Bytes of the line that has not ended yet, without carriage returns.
    line: usize,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Events,
    /// Nothing that can be read, or packed.
    Other,
}

/// The latest that was said of each number.
#[derive(Debug, Default)]
struct Told {
    model: Option<String>,
    input: Option<i64>,
    output: Option<i64>,
    /// Of the input: read again from what the provider had kept.
    cached: Option<i64>,
    /// As Anthropic tells them, which stand beside the input and are no part of it.
    read_beside: Option<i64>,
    written_beside: Option<i64>,
    whole: bool,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    model: Value,
    #[serde(default)]
    usage: Value,
    /// Where a stream of Anthropic's begins.
    #[serde(default)]
    message: Option<Inner>,
    /// In a stream of OpenAI's responses.
    #[serde(default)]
    response: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    model: Value,
    #[serde(default)]
    usage: Value,
}

impl Reader {
    /// By what the answer's head says of it.
    pub(super) fn of(content_type: Option<&str>, encoding: Option<&str>) -> Self {
        let kind = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
        let form = match &kind[..] {
            _ if encoding.is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity")) => Form::Other,
            "application/json" => Form::Whole,
            "text/event-stream" => Form::Events,
            _ => Form::Other,
        };
        Self { form, held: Vec::new(), overlong: false, line: 0, told: Told::default() }
    }

    pub(super) fn take(&mut self, piece: &[u8]) {
        match self.form {
            Form::Whole => self.hold(piece),
            Form::Events => self.events(piece),
            Form::Other => {}
        }
    }

    /// There is no more, or nobody waits for it.
    pub(super) fn end(mut self) -> Taken {
        match self.form {
            Form::Whole if !self.overlong => self.told.read(&self.held, true),
            Form::Events => self.event(),
            Form::Whole | Form::Other => {}
        }
        self.told.taken()
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.overlong || self.held.len() + piece.len() > HELD_MAX {
            self.overlong = true;
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(piece);
        }
    }

    /// An event ends with an empty line.
    fn events(&mut self, mut piece: &[u8]) {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end + 1);
            self.hold(line);
            self.line += line.iter().filter(|byte| !b"\r\n".contains(byte)).count();
            if self.line == 0 {
                self.event();
            }
            self.line = 0;
            piece = rest;
        }
        self.hold(piece);
        self.line += piece.iter().filter(|byte| **byte != b'\r').count();
    }

    fn event(&mut self) {
        let held = std::mem::take(&mut self.held);
        if !std::mem::take(&mut self.overlong) && memmem::find(&held, b"\"usage\"").is_some() {
            self.told.read(&data(&held), false);
        }
        // The room of a long event is given back, that of others is used again.
        if held.capacity() <= 64 << 10 {
            self.held = held;
            self.held.clear();
        }
    }
}

/// What an event carries: its lines of data, put together.
fn data(event: &[u8]) -> Vec<u8> {
    let lines = event.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    lines.flat_map(|line| line.iter().copied().filter(|byte| *byte != b'\r').chain([b'\n'])).collect()
}

impl Told {
    /// `alone`: it is all of the answer, so what it does not say is nothing.
    fn read(&mut self, text: &[u8], alone: bool) {
        let Ok(said) = serde_json::from_slice::<Said>(text) else { return };
        let beginning = said.kind == "message_start";
        let inner = said.message.into_iter().chain(said.response).map(|inner| (inner.model, inner.usage));
        for (model, usage) in std::iter::once((said.model, said.usage)).chain(inner) {
            let model = model.as_str().map(str::trim).filter(|name| !name.is_empty());
            if let Some(model) = model {
                self.model = Some(name(model));
            }
            if usage.is_object() {
                self.usage(&usage, alone, beginning);
            }
        }
    }

    fn usage(&mut self, usage: &Value, alone: bool, beginning: bool) {
        let count = |value: Option<&Value>| value?.as_i64().filter(|count| (0..=TOKENS_MAX).contains(count));
        let of = |name: &str| count(usage.get(name));
        let cached = |name: &str| count(usage.get(name).and_then(|details| details.get("cached_tokens")));
        let latest = |field: &mut Option<i64>, value: Option<i64>| *field = value.or(*field);
        let output = of("output_tokens").or_else(|| of("completion_tokens"));
        latest(&mut self.input, of("input_tokens").or_else(|| of("prompt_tokens")));
        latest(&mut self.output, output);
        latest(&mut self.cached, cached("input_tokens_details").or_else(|| cached("prompt_tokens_details")));
        latest(&mut self.read_beside, of("cache_read_input_tokens"));
        latest(&mut self.written_beside, of("cache_creation_input_tokens"));
        self.whole = !beginning && self.input.is_some() && (alone || output.is_some());
    }

    fn taken(self) -> Taken {
        let read = self.read_beside.unwrap_or(0);
        let input_tokens = self.input.unwrap_or(0) + read + self.written_beside.unwrap_or(0);
        Taken {
            model: self.model,
            input_tokens,
            output_tokens: self.output.unwrap_or(0),
            cached_tokens: (self.cached.unwrap_or(0) + read).min(input_tokens),
            whole: self.whole,
        }
    }
}

/// The beginning of it, without what can't be shown.
fn name(model: &str) -> String {
    let mut name: String = model.chars().filter(|letter| !letter.is_control()).collect();
    let end = (0..=NAME_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.truncate(end);
    name
}

#[cfg(test)]
mod tests;
