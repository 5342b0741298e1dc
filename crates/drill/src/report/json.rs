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
    if !complete || overall(&report.checks, &report.stages) != report.verdict {
        return Err(ReadError::Verdict);
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use serde_json::json;

    type Spoil = fn(&mut Value);

    fn refused(spoil: impl FnOnce(&mut Value)) -> bool {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut report = serde_json::to_value(sample::failing()).unwrap();
        spoil(&mut report);
        !jsonschema::is_valid(&schema, &report)
    }

    #[test]
    fn the_schema_is_one() {
        jsonschema::draft202012::meta::validate(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    }

    #[test]
    fn every_report_is_as_the_schema_says() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        for report in [sample::passing(), sample::failing(), sample::ended_early()] {
            let json: Value = serde_json::from_str(&render(&report)).unwrap();
            jsonschema::validate(&schema, &json).unwrap();
        }
    }

    #[test]
    fn the_schema_refuses_wrong_reports() {
        assert!(!refused(|_| {}));
        let spoils: [(&str, Spoil); 11] = [
            ("a newer version", |report| report["schema_version"] = json!(3)),
            ("an unknown verdict", |report| report["verdict"] = json!("skipped")),
            ("a verdict that does not follow", |report| report["verdict"] = json!("passed")),
            ("a verdict in doubt that failed", |report| report["verdict"] = json!("could_not_verify")),
            ("nine rows", |report| drop(report["checks"].as_array_mut().unwrap().pop())),
            ("two rows that changed places", |report| report["checks"].as_array_mut().unwrap().swap(0, 1)),
            ("a passed row that compared nothing", |report| report["checks"][3]["comparisons"] = json!(0)),
            ("a passed row with findings", |report| report["checks"][3]["findings_total"] = json!(1)),
            ("an unknown key", |report| report["extra"] = json!(1)),
            ("a hash that is none", |report| report["checks"][0]["evidence"][0]["sha256"] = json!("abc")),
            ("a metadata row with another name", |report| report["metadata"][0]["field"] = json!("Type")),
        ];
        for (what, spoil) in spoils {
            assert!(refused(spoil), "{what}");
        }
    }

    #[test]
    fn a_report_reads_back() {
        for report in [sample::passing(), sample::failing(), sample::ended_early()] {
            assert_eq!(read(&render(&report)).unwrap(), report);
        }
    }

    #[test]
    fn a_report_that_contradicts_itself_is_not_read() {
        let spoiled = |from: &str, to: &str| read(&render(&sample::failing()).replacen(from, to, 1));
        let verdict = spoiled("\"verdict\": \"failed\"", "\"verdict\": \"passed\"");
        assert!(matches!(verdict, Err(ReadError::Verdict)), "{verdict:?}");
        let row = spoiled("\"comparisons\": 221", "\"comparisons\": 0");
        assert!(matches!(row, Err(ReadError::Row(CheckId::SecretReferences))), "{row:?}");
        let version = spoiled("\"schema_version\": 2", "\"schema_version\": 3");
        assert!(matches!(version, Err(ReadError::Version(_))), "{version:?}");
    }
}
