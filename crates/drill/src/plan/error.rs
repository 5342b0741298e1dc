//! Why a text is no plan: what, the detail, what to do; and the line, where it has one.

/// The first thing that is wrong with a plan's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", place(*.line))]
pub struct PlanError {
    /// From 1.
    pub line: Option<usize>,
    pub detail: String,
    /// What the operator can do about it.
    pub advice: &'static str,
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}

const READ_THE_MANUAL: &str = "compare with what `cowork drill plan init` writes, which explains every key";

impl PlanError {
    pub(super) fn new(detail: impl Into<String>, advice: &'static str) -> Self {
        Self { line: None, detail: detail.into(), advice }
    }

    /// At the place that byte `offset` of `text` is in.
    pub(super) fn at(mut self, text: &str, offset: usize) -> Self {
        self.line = Some(line_of(text, offset));
        self
    }

    /// What the TOML reader complains about. Its message quotes names of keys, and never a value that is a string.
    pub(super) fn unreadable(text: &str, error: &toml::de::Error) -> Self {
        let error_at = Self::new(error.message().replace('\n', ", "), READ_THE_MANUAL);
        match error.span() {
            Some(span) => error_at.at(text, span.start),
            None => error_at,
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
