use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// Relative to this crate.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");

fn json() -> Value {
    serde_json::to_value(document()).unwrap()
}

/// Every value below, with its name.
fn walk<'a>(value: &'a Value, seen: &mut impl FnMut(&'a str, &'a Value)) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            seen(name, value);
            walk(value, seen);
        }),
        Value::Array(items) => items.iter().for_each(|item| walk(item, seen)),
        _ => {}
    }
}

/// Writes the new document, so that its difference can be looked at and committed.
#[test]
fn the_committed_document_is_that_of_this_build() {
    if std::fs::read_to_string(COMMITTED).unwrap_or_default() != text() {
        std::fs::write(COMMITTED, text()).unwrap();
        panic!("the API has changed, and docs/reference/openapi.json with it: look at the difference and commit it");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = json();
    let mut named = BTreeSet::new();
    walk(&document, &mut |name, value| {
        if name == "$ref" {
            named.insert(value.as_str().unwrap().trim_start_matches("#/components/schemas/").to_owned());
        }
    });
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let lost: Vec<_> = named.iter().filter(|name| !schemas.contains_key(*name)).collect();
    assert!(lost.is_empty() && named.len() > 50, "{lost:?} of {}", named.len());
}

/// A sentence beside a field whose schema stands inline makes an object of its own, which no text is.
#[test]
fn no_value_has_to_be_a_text_and_an_object_at_once() {
    let document = json();
    let mut seen = 0;
    walk(&document, &mut |name, value| {
        if name == "allOf" {
            let parts = value.as_array().unwrap();
            let objects = parts.iter().all(|part| part.get("$ref").is_some() || part["type"] == "object");
            assert!(objects, "{value}");
            seen += 1;
        }
    });
    assert!(seen > 5, "{seen}");
}

#[test]
fn no_operation_takes_a_parameter_twice() {
    let document = json();
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let mut names = BTreeSet::new();
            for parameter in operation["parameters"].as_array().unwrap() {
                assert!(names.insert((parameter["in"].as_str(), parameter["name"].as_str())), "{method} {path}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn no_part_of_a_body_takes_fields_that_are_not_described() {
    let document = json();
    let schemas = &document["components"]["schemas"];
    for variant in ["Wish", "TriggerSpec"].iter().flat_map(|name| schemas[name]["oneOf"].as_array().unwrap()) {
        assert_eq!(variant["additionalProperties"], false, "{variant}");
    }
    assert_eq!(schemas["Wish"]["oneOf"][0]["properties"]["payload"]["additionalProperties"], false);
}

/// Lists that no code holds to a length: others decide it.
const AS_LONG_AS_OTHERS_SAY: [&str; 8] = [
    // What workers name.
    "Agents.items",
    // What an operator configures.
    "Diagnostics.key_versions",
    "Diagnostics.secrets",
    "PlanList.items",
    // What stands in a report, which is bounded in bytes.
    "DrillCheck.findings",
    "DrillDetails.checks",
    "DrillDetails.stages",
    // What providers call their models.
    "Usage.models",
];

/// Adds the places of all lists below that do not say how long they may be.
fn endless(place: &str, value: &Value, found: &mut BTreeSet<String>) {
    if value["type"].as_str().or(value["type"][0].as_str()) == Some("array") && value.get("maxItems").is_none() {
        found.insert(place.to_owned());
    }
    match value {
        Value::Object(parts) => {
            for (name, part) in parts {
                match part.as_object().filter(|_| name == "properties") {
                    Some(fields) => {
                        fields.iter().for_each(|(field, schema)| endless(&format!("{place}.{field}"), schema, found));
                    }
                    None => endless(place, part, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| endless(place, item, found)),
        _ => {}
    }
}

#[test]
fn every_list_says_how_long_it_may_be_but_for_those_whose_length_others_decide() {
    let document = json();
    let mut found = BTreeSet::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        endless(name, schema, &mut found);
    }
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, BTreeSet::from(AS_LONG_AS_OTHERS_SAY));
    let max = |schema: &str, field: &str| &document["components"]["schemas"][schema]["properties"][field]["maxItems"];
    let pages = ["Page_Run", "Page_Artifact", "Page_Event"].map(|page| max(page, "items"));
    assert_eq!(pages, [200, 1_000, 1_000]);
    assert_eq!([max("Session", "tags"), max("Policy", "agents"), max("Upload", "parts")], [20, 100, 256]);
}

#[test]
fn every_operation_says_what_it_is_for_and_has_a_name_of_its_own() {
    let document = json();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{place}");
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{place}: its name is taken");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{place}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{place}");
            if !path.starts_with("/api/") {
                continue;
            }
            assert!(operation["security"][0][TOKEN].is_array(), "{place}: it does not say what it takes");
            let taken = |scheme: &str| {
                let alternatives = operation["security"].as_array().unwrap().iter();
                alternatives.filter_map(|one| one.get(scheme)).collect::<Vec<_>>()
            };
            assert_eq!(taken(SESSION), taken(TOKEN), "{place}: a browser session takes the same permissions");
            for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
                let content = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(content, "#/components/schemas/Problem", "{place} {status}");
            }
        }
    }
}

#[test]
fn what_stands_beside_the_api_says_what_it_takes_instead_of_a_token_and_its_limit() {
    let document = json();
    let mut beside = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| !path.starts_with("/api/")) {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert_eq!(operation["security"], serde_json::json!([]), "{place}: nobody has a token for it");
            let said = operation["description"].as_str().unwrap_or_default();
            assert!(said.contains("Authentication: ") && said.contains("Limit: "), "{place}: {said}");
            let tag = operation["tags"][0].as_str().unwrap();
            assert!(["sign-in", "webhooks", "probes"].contains(&tag), "{place}: {tag} is a tag of the API");
            beside.insert(place);
        }
    }
    let expect = [
        "get /auth/callback",
        "get /auth/sign-in",
        "get /auth/signed-in",
        "get /healthz",
        "get /livez",
        "get /metrics",
        "get /readyz",
        "post /webhooks/billing",
    ];
    assert_eq!(beside.iter().map(String::as_str).collect::<Vec<_>>(), expect);
}
