//! OSCAL assessment results (NIST, version 1.1.2): each row is an observation, and a finding about the objective that
//! it stands for.
//!
//! A row that could not be verified is "not satisfied" with the reason "other": OSCAL knows no third state, and unknown
//! never counts as passed. The ids of its parts are made of the drill's id, so that the same report gives the same document.
//!
//! Not here: the assessment plan that OSCAL wants to be referred to. The link names the drill's own parameters.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::report::{Check, Report, Verdict};

const OSCAL_VERSION: &str = "1.1.2";

pub(super) fn render(report: &Report) -> String {
    let id = |part: &str| Uuid::new_v5(&report.drill_id.into(), part.as_bytes());
    let instant = |at: clock::Timestamp| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let ids: Vec<Value> = report.checks.iter().map(|check| json!({"control-id": control(check)})).collect();
    let result = json!({
        "uuid": id("result"),
        "title": "Restore drill",
        "description": report.headline(),
        "start": instant(report.started_at),
        "end": instant(report.finished_at),
        "props": [
            prop("drill-id", &report.drill_id.to_string()),
            prop("build", &report.build),
            prop("verdict", report.verdict.word()),
        ],
        "reviewed-controls": {"control-selections": [{"include-controls": ids}]},
        "observations": report.checks.iter().map(|check| observation(check, report, &id)).collect::<Vec<_>>(),
        "findings": report.checks.iter().map(|check| finding(check, &id)).collect::<Vec<_>>(),
    });
    let document = json!({"assessment-results": {
        "uuid": id("document"),
        "metadata": {
            "title": "Restore drill report",
            "last-modified": instant(report.finished_at),
            "version": report.drill_id.to_string(),
            "oscal-version": OSCAL_VERSION,
        },
        "import-ap": {"href": "plan.json", "remarks": "What the drill was asked to do, in the drill's folder."},
        "results": [result],
    }});
    format!("{document:#}\n")
}

fn observation(check: &Check, report: &Report, id: &impl Fn(&str) -> Uuid) -> Value {
    let evidence: Vec<Value> = check
        .evidence
        .iter()
        .map(|evidence| {
            let description = format!("{} bytes, SHA-256 {}", evidence.bytes, evidence.sha256);
            json!({"href": evidence.path, "description": description})
        })
        .collect();
    let mut observation = json!({
        "uuid": id(&format!("observation {}", check.id.as_str())),
        "title": check.title,
        "description": check.summary,
        "methods": ["TEST"],
        "types": ["control-objective"],
        "collected": report.finished_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "props": [prop("comparisons", &check.comparisons.to_string()), prop("findings", &check.findings_total.to_string())],
    });
    // OSCAL allows no empty list.
    if !evidence.is_empty() {
        observation["relevant-evidence"] = evidence.into();
    }
    observation
}

fn finding(check: &Check, id: &impl Fn(&str) -> Uuid) -> Value {
    let (state, reason) = match check.verdict {
        Verdict::Passed => ("satisfied", "pass"),
        Verdict::Failed => ("not-satisfied", "fail"),
        Verdict::CouldNotVerify => ("not-satisfied", "other"),
    };
    json!({
        "uuid": id(&format!("finding {}", check.id.as_str())),
        "title": check.title,
        "description": check.pass_condition,
        "target": {
            "type": "objective-id",
            "target-id": control(check),
            "status": {"state": state, "reason": reason, "remarks": check.summary},
        },
        "related-observations": [{"observation-uuid": id(&format!("observation {}", check.id.as_str()))}],
    })
}

/// The row's id is a token as OSCAL wants it.
fn control(check: &Check) -> &'static str {
    check.id.as_str()
}

fn prop(name: &str, value: &str) -> Value {
    json!({"name": name, "ns": "urn:open-cowork", "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// The part of NIST's schema for assessment results that such a document meets, with its required fields.
    const SCHEMA: &str = include_str!("oscal.schema.json");

    #[test]
    fn every_report_is_as_the_schema_says() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        jsonschema::draft7::meta::validate(&schema).unwrap();
        for report in [sample::passing(), sample::failing(), sample::ended_early()] {
            let document: Value = serde_json::from_str(&render(&report)).unwrap();
            if let Err(error) = jsonschema::validate(&schema, &document) {
                panic!("{error} at {}", error.instance_path());
            }
        }
    }

    #[test]
    fn the_schema_refuses_what_lacks_a_part() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let document: Value = serde_json::from_str(&render(&sample::passing())).unwrap();
        for missing in
            ["/metadata/oscal-version", "/import-ap/href", "/results/0/reviewed-controls", "/results/0/start"]
        {
            let (parent, name) = missing.rsplit_once('/').unwrap();
            let mut spoiled = document.clone();
            let parent = spoiled.pointer_mut(&format!("/assessment-results{parent}")).unwrap();
            parent.as_object_mut().unwrap().remove(name).unwrap();
            assert!(!jsonschema::is_valid(&schema, &spoiled), "{missing}");
        }
    }

    #[test]
    fn only_a_row_that_passed_is_satisfied_and_the_document_is_the_same_each_time() {
        let text = render(&sample::failing());
        let satisfied = text.matches("\"state\": \"satisfied\"").count();
        let passed = sample::failing().checks.iter().filter(|check| check.verdict == Verdict::Passed).count();
        assert_eq!((satisfied, passed), (5, 5));
        assert_eq!(text, render(&sample::failing()));
    }
}
