//! How a command tells that it did not succeed: what happened, the detail, what to do; and the exit code.
//!
//! 0: it succeeded. 1: it ran, and the answer is no. 2: it could not run. 64: it was called wrongly.

use std::error::Error;
use std::process::ExitCode;

use serde_json::json;

/// The command ran, and what it looked at is not as it should be.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command could not do its work.
pub(crate) const EXIT_COULD_NOT: u8 = 2;
/// Wrong flags.
pub(crate) const EXIT_USAGE: u8 = 64;

/// A failure in three parts, each a sentence or more.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: u8,
    what: String,
    detail: String,
    advice: String,
}

impl Failure {
    /// The command could not do its work. `detail` is told with all its sources.
    pub(crate) fn could_not(
        what: impl Into<String>,
        detail: impl Into<Box<dyn Error + Send + Sync>>,
        advice: impl Into<String>,
    ) -> Self {
        Self { exit: EXIT_COULD_NOT, what: what.into(), detail: chain(detail.into().as_ref()), advice: advice.into() }
    }

    /// The command looked, and what it looked at is not as it should be.
    pub(crate) fn failed(
        what: impl Into<String>,
        detail: impl Into<Box<dyn Error + Send + Sync>>,
        advice: impl Into<String>,
    ) -> Self {
        Self { exit: EXIT_FAILED, ..Self::could_not(what, detail, advice) }
    }

    /// The command was called with what does not fit together.
    pub(crate) fn usage(
        what: impl Into<String>,
        detail: impl Into<Box<dyn Error + Send + Sync>>,
        advice: impl Into<String>,
    ) -> Self {
        Self { exit: EXIT_USAGE, ..Self::could_not(what, detail, advice) }
    }

    /// Whether the command looked, and what it looked at is not as it should be.
    pub(crate) fn is_answer(&self) -> bool {
        self.exit == EXIT_FAILED
    }

    /// What happened, the detail, what to do.
    pub(crate) fn parts(&self) -> (&str, &str, &str) {
        (&self.what, &self.detail, &self.advice)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit)
    }

    /// Tells it on standard error: for people, or as one line of JSON.
    ///
    /// What a role prints is a log, and host paths have no place in it; what a command prints is for whoever typed it.
    pub(crate) fn print(&self, json: bool, role: bool) {
        let (text, redactor) = (self.render(json), telemetry::redactor());
        let told = if role { redactor.redact(&text).into_owned() } else { redactor.redact_for_operator(&text) };
        eprintln!("{told}");
    }

    pub(crate) fn render(&self, json: bool) -> String {
        let Self { what, detail, advice, .. } = self;
        if json {
            return json!({"error": {"what": what, "detail": detail, "advice": advice}}).to_string();
        }
        format!("cowork: {what}\n  detail: {}\n  what to do: {advice}", detail.replace('\n', "\n          "))
    }
}

impl From<config::ConfigError> for Failure {
    fn from(error: config::ConfigError) -> Self {
        Self {
            exit: EXIT_COULD_NOT,
            what: format!("{}.", error.what),
            detail: error.detail,
            advice: format!("{}.", capitalised(&error.advice)),
        }
    }
}

/// What every command can meet once it talks to the database.
impl From<store::StoreError> for Failure {
    fn from(error: store::StoreError) -> Self {
        Self::could_not("The database did not answer as it should.", error, "Look at the database's own log.")
    }
}

/// An error with its sources, on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        // Some libraries repeat their source in their own text.
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        next = source.source();
    }
    text
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_three_parts() {
        let failure = Failure::could_not("The port is taken.", "address in use", "Choose another one.");
        assert_eq!(
            failure.render(false),
            "cowork: The port is taken.\n  detail: address in use\n  what to do: Choose another one."
        );
        let expect = json!({"error": {
            "what": "The port is taken.", "detail": "address in use", "advice": "Choose another one.",
        }});
        assert_eq!(failure.render(true).parse::<serde_json::Value>().unwrap(), expect);
    }
}
