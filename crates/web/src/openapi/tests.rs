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
            assert!(operation["security"][0][TOKEN].is_array(), "{place}: it does not say what it takes");
            let taken = |scheme: &str| {
                let alternatives = operation["security"].as_array().unwrap().iter();
                alternatives.filter_map(|one| one.get(scheme)).collect::<Vec<_>>()
            };
            assert_eq!(taken(SESSION), taken(TOKEN), "{place}: a browser session takes the same permissions");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{place}");
            for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
                let content = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(content, "#/components/schemas/Problem", "{place} {status}");
            }
        }
    }
}
