//! Why a configuration can't be used: what happened, the detail, what to do.
//!
//! No value is repeated: the one that is wrong may be a secret in the wrong place.

use figment::error::{Actual, Kind};

use crate::environment::{ENVIRONMENT, variable_of};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {detail}; {advice}")]
pub struct ConfigError {
    /// Names the file or variable, and the key.
    pub what: String,
    pub detail: String,
    pub advice: String,
}

impl ConfigError {
    pub(crate) fn new(what: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), detail: detail.into(), advice: advice.into() }
    }

    /// `file` is what the configuration file is called, for an error that says not where it comes from.
    pub(crate) fn from_figment(error: &figment::Error, file: Option<&str>) -> Self {
        let path = whole_path(error);
        let key = path.join(".");
        let source = error.metadata.as_ref().map(|metadata| metadata.name.to_string());
        let what = match source {
            Some(source) if source == ENVIRONMENT => format!("variable {} cannot be used", variable_of(&path)),
            Some(source) => format!("{key} of {source} cannot be used"),
            None => format!("{key} of {} cannot be used", file.unwrap_or("the configuration")),
        };
        let (detail, advice) = explain(&error.kind);
        Self::new(what, detail, advice)
    }
}

/// The path of the key in question: for an unknown or missing one figment names the table only.
fn whole_path(error: &figment::Error) -> Vec<String> {
    let mut path = error.path.clone();
    let last = match &error.kind {
        Kind::UnknownField(field, _) => Some(field.clone()),
        Kind::MissingField(field) => Some(field.to_string()),
        _ => None,
    };
    if let Some(last) = last
        && path.last() != Some(&last)
    {
        path.push(last);
    }
    path
}

fn explain(kind: &Kind) -> (String, String) {
    match kind {
        Kind::UnknownField(_, known) => ("there is no such key".into(), format!("use one of {}", known.join(", "))),
        Kind::MissingField(_) => ("it is missing".into(), "set it".into()),
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            (format!("it is {}", kind_of(found)), format!("give it {}", in_words(expected)))
        }
        Kind::Message(message) => (message.clone(), "correct it".into()),
        _ => ("its value is out of range or of the wrong kind".into(), "correct it".into()),
    }
}

fn kind_of(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number that does not fit",
        Actual::Float(_) => "a fraction",
        Actual::Char(_) | Actual::Str(_) => "a text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "of the wrong kind",
    }
}

/// Rust's names of number types are not an operator's business.
fn in_words(expected: &str) -> &str {
    match expected {
        "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "a whole number, zero or more",
        other => other,
    }
}
