//! `report.json`: the report for programs. Its schema is `report.schema.json` beside this crate's manifest.
//!
//! Not here: a reader for formats other than [`SCHEMA_VERSION`]; there are none yet.

use serde_json::Value;

use super::{Check, CheckId, Report, SCHEMA_VERSION, overall};

/// The JSON Schema (2020-12) of `report.json`.
pub const SCHEMA: &str = include_str!("../../report.schema.json");

/// Why a `report.json` can't be relied on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the report has schema version {0}, and this program reads version {SCHEMA_VERSION}")]
    Version(Value),
    #[error("the report is not in its format")]
    Format(#[source] serde_json::Error),
    #[error("the report's verdict does not follow from its rows")]
    Verdict,
    #[error("the row {} does not follow from its numbers", .0.as_str())]
    Row(CheckId),
}

/// The report as JSON, indented, with a line feed at its end.
#[must_use]
pub fn render(report: &Report) -> String {
    let json = serde_json::to_string_pretty(report).expect("a report has string keys and finite numbers only");
    json + "\n"
}

/// Reads a report and holds it to its own numbers: a verdict that does not follow from them is refused.
///
/// # Errors
/// See [`ReadError`].
pub fn read(json: &str) -> Result<Report, ReadError> {
    let value: Value = serde_json::from_str(json).map_err(ReadError::Format)?;
    if value["schema_version"] != SCHEMA_VERSION {
        return Err(ReadError::Version(value["schema_version"].clone()));
    }
    let report: Report = serde_json::from_value(value).map_err(ReadError::Format)?;
    if let Some(row) = report.checks.iter().find(|row| !row.consistent()) {
        return Err(ReadError::Row(row.id));
    }
    let complete = report.checks.iter().map(Check::id).eq(CheckId::ALL);
    if !complete || overall(&report.checks) != report.verdict {
        return Err(ReadError::Verdict);
    }
    Ok(report)
}
