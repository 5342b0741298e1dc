//! A drill's `report.json`, as somebody reads it who knows no type of ours.

use std::path::Path;

use serde_json::Value;

/// The ids of the ten rows, in the order of the report.
pub const CHECKS: [&str; 10] = [
    "postgres-restore",
    "object-store-restore",
    "secret-references",
    "web-only-boot",
    "session-projection-parity",
    "artifact-metadata",
    "worker-recovery",
    "scheduler-recovery",
    "gateway-recovery",
    "redaction",
];

/// A report that was read.
#[derive(Debug, Clone)]
pub struct Report(pub Value);

impl Report {
    /// # Panics
    /// If there is none in `out`.
    #[must_use]
    pub fn read(out: &Path) -> Self {
        let text = std::fs::read(out.join("report.json")).expect("a drill that ends writes a report");
        Self(serde_json::from_slice(&text).expect("the report is JSON"))
    }

    #[must_use]
    pub fn verdict(&self) -> &str {
        self.0["verdict"].as_str().unwrap_or_default()
    }

    /// The ids of the rows, in their order.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.rows().filter_map(|row| row["id"].as_str()).collect()
    }

    /// The verdict of one row.
    #[must_use]
    pub fn verdict_of(&self, id: &str) -> &str {
        self.row(id)["verdict"].as_str().unwrap_or_default()
    }

    /// The rows with this verdict.
    #[must_use]
    pub fn rows_that(&self, verdict: &str) -> Vec<&str> {
        self.ids().into_iter().filter(|id| self.verdict_of(id) == verdict).collect()
    }

    /// That row `id` failed, and that a finding with this code names `what`.
    ///
    /// # Panics
    /// If not; with everything that the row found.
    #[track_caller]
    pub fn assert_found(&self, id: &str, code: &str, what: &str) {
        let row = self.row(id);
        assert_eq!(self.verdict_of(id), "failed", "the row {id}: {}", row["summary"]);
        let findings = row["findings"].as_array().expect("a row has findings");
        let found = findings.iter().any(|finding| {
            finding["code"] == code && finding["sentence"].as_str().is_some_and(|sentence| sentence.contains(what))
        });
        assert!(found, "row {id} has no {code} that names {what}: {findings:#?}");
    }

    fn rows(&self) -> impl Iterator<Item = &Value> {
        self.0["checks"].as_array().into_iter().flatten()
    }

    fn row(&self, id: &str) -> &Value {
        self.rows().find(|row| row["id"] == id).unwrap_or(&Value::Null)
    }
}
