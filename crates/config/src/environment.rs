//! The layers of the environment: variables as keys.

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

pub(crate) const PREFIX: &str = "COWORK_";
pub(crate) const DATABASE_URL: &str = "DATABASE_URL";

/// Names the collector for every program that exports anything.
pub(crate) const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The one key of the top level, and so the one variable without two underscores.
const DATA_DIR: &str = "data_dir";

/// What a layer is called in errors.
pub(crate) const ENVIRONMENT: &str = "the environment";

/// Values with the name of the place they come from.
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The variables that are configuration.
pub(crate) fn variables(environment: &BTreeMap<String, String>) -> Layer {
    let mut values = Dict::new();
    for (name, value) in environment {
        if let Some(key) = key_of(name) {
            let path: Vec<&str> = key.split("__").collect();
            insert(&mut values, &path, typed(value));
        }
    }
    Layer { name: ENVIRONMENT.to_owned(), values }
}

/// The variable that names the database for many tools, ours too.
pub(crate) fn database_url(environment: &BTreeMap<String, String>) -> Option<Layer> {
    common(environment, DATABASE_URL, &["database", "url"])
}

/// The variable that names the collector for many programs, ours too.
pub(crate) fn otlp_endpoint(environment: &BTreeMap<String, String>) -> Option<Layer> {
    common(environment, OTLP_ENDPOINT, &["telemetry", "otlp_endpoint"])
}

/// A variable that is not ours alone, if it says anything.
fn common(environment: &BTreeMap<String, String>, name: &str, key: &[&str]) -> Option<Layer> {
    let value = environment.get(name).filter(|value| !value.is_empty())?;
    let mut values = Dict::new();
    insert(&mut values, key, Value::from(value.as_str()));
    Some(Layer { name: format!("variable {name}"), values })
}

/// `web.listen` for `COWORK_WEB__LISTEN`.
fn key_of(variable: &str) -> Option<String> {
    let key = variable.strip_prefix(PREFIX)?.to_ascii_lowercase();
    (key == DATA_DIR || key.contains("__")).then_some(key)
}

/// `COWORK_WEB__LISTEN` for `["web", "listen"]`.
pub(crate) fn variable_of(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("__").to_ascii_uppercase())
}

fn typed(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) => Value::from(number),
        Err(_) => Value::from(text),
    }
}

/// Of two variables that contradict each other about what is a value and what a table, the longer one wins.
fn insert(values: &mut Dict, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        values.insert((*first).to_owned(), value);
        return;
    }
    let table = values.entry((*first).to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if !matches!(table, Value::Dict(..)) {
        *table = Value::from(Dict::new());
    }
    if let Value::Dict(_, inner) = table {
        insert(inner, rest, value);
    }
}
