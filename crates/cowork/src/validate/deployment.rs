//! `cowork validate deploy`: the manifests in `deploy/` against the program.
//!
//! A container's, a unit's and a pod's call of the program is parsed as the program would; its variables and its
//! configuration are read as the program reads them; the paths that are asked for health are answered by some role; every
//! role is there. Alerts parse. A plan is read, and what a drill of it would do is worked out.
//!
//! Not here: whether a manifest is good for Docker, systemd or Kubernetes. They have their own validators.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use ::drill::plan::{Plan, examine as examine_plan, explain};
use chrono::NaiveDate;
use config::Config;
use serde::Deserialize as _;
use serde_yaml_ng::Value;

use super::{Findings, Text, alerts, commands, documents, program, texts};

const ROLES: [&str; 4] = ["web", "worker", "scheduler", "gateway"];

pub(crate) fn examine(root: &Path) -> io::Result<Findings> {
    let files = texts(root, "deploy", &["yaml", "yml", "service", "toml", "md"])?;
    let mut found = Findings { files: files.len(), ..Findings::default() };
    let mut served: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in &files {
        match file.name.rsplit('.').next() {
            Some("service") => unit(file, &mut found, &mut served),
            Some("toml") => toml(file, root, &mut found),
            Some("md") => documents::names(file, &mut found),
            _ => yaml(file, root, &mut found, &mut served),
        }
    }
    // One kind of manifest serves all roles or none: a deployment without a scheduler is only found when nothing fires.
    for (kind, roles) in &served {
        for role in ROLES {
            found.expect(roles.contains(role), kind, 1, || format!("nothing here serves the role {role}"));
        }
    }
    Ok(found)
}

/// What somebody calls, and with which environment.
#[derive(Debug, Default)]
struct Called {
    words: Vec<String>,
    variables: Vec<String>,
}

/// Looks at one call. `kind` is the folder, or the file, that the roles it serves are counted for.
fn call(
    called: &Called,
    file: &Text,
    kind: &str,
    found: &mut Findings,
    served: &mut BTreeMap<String, BTreeSet<String>>,
) {
    let line = called.words.first().map_or(1, |word| line_of(&file.text, word));
    for name in called.variables.iter().filter(|name| name.starts_with("COWORK_")) {
        let line = line_of(&file.text, name);
        found.expect(program::is_variable(name), &file.name, line, || format!("the program reads no variable {name}"));
    }
    let Some((program, words)) = called.words.split_first() else { return };
    if program != "cowork" && !program.ends_with("/cowork") {
        return;
    }
    let parsed = commands::parses(words);
    found.expect(parsed.is_ok(), &file.name, line, || format!("`cowork {}`: {}", words.join(" "), parsed.unwrap_err()));
    if words.first().is_some_and(|first| first == "serve") {
        let at = words.iter().position(|word| word == "--roles").and_then(|at| words.get(at + 1));
        let named = words.iter().find_map(|word| word.strip_prefix("--roles=")).or(at.map(String::as_str));
        let roles: Vec<&str> = named.map_or(ROLES.into(), |named| named.split(',').collect());
        served.entry(kind.to_owned()).or_default().extend(roles.into_iter().map(str::to_owned));
    }
}

/// A unit of systemd.
fn unit(file: &Text, found: &mut Findings, served: &mut BTreeMap<String, BTreeSet<String>>) {
    let text = file.text.replace("\\\n", " ");
    let values = |key: &str| {
        let lines = text.lines().filter_map(move |line| line.trim().split_once('=').filter(|(name, _)| *name == key));
        lines.map(|(_, value)| value.trim()).collect::<Vec<_>>()
    };
    let variables = values("Environment").into_iter().flat_map(str::split_whitespace);
    let variables: Vec<String> =
        variables.filter_map(|pair| Some(pair.trim_matches('"').split_once('=')?.0.to_owned())).collect();
    for key in ["ExecStartPre", "ExecStart", "ExecStop", "ExecReload"] {
        for line in values(key) {
            // `%i` is the instance of a template: every role in turn.
            for role in ROLES.iter().take(if line.contains("%i") { ROLES.len() } else { 1 }) {
                let line = line.trim_start_matches(['-', '@', '+', '!', ':']).replace("%i", role);
                let words = line.split_whitespace().map(str::to_owned).collect();
                call(&Called { words, variables: variables.clone() }, file, &folder_of(file), found, served);
            }
        }
    }
    found.expect(
        text.contains("\n[Service]") || text.starts_with("[Service]") || !file.name.ends_with(".service"),
        &file.name,
        1,
        || "it has no section [Service]".to_owned(),
    );
}

fn folder_of(file: &Text) -> String {
    file.name.rsplit_once('/').map_or_else(|| file.name.clone(), |(folder, _)| folder.to_owned())
}

/// A configuration, or a plan.
fn toml(file: &Text, root: &Path, found: &mut Findings) {
    if !file.text.lines().any(|line| line.starts_with("[source.")) {
        return configuration(&file.name, &file.text, &file.name, found);
    }
    let base = root.join(folder_of(file));
    let plan = match Plan::parse(&file.text) {
        Ok(plan) => plan.anchored(&base),
        Err(error) => return found.expect(false, &file.name, 1, || format!("it is no plan: {error}")),
    };
    found.expect(!explain(&plan).is_empty(), &file.name, 1, || "a drill of it would do nothing".to_owned());
    // What is on the machine that drills, its folders and secrets, is not here. Expiry is judged by whoever drills.
    for problem in examine_plan(&plan, NaiveDate::MIN, |_| Ok(())) {
        let of_the_machine = problem.sentence.starts_with("there is no ");
        found.expect(!problem.fatal || of_the_machine, &file.name, 1, || {
            format!("{}; {}", problem.sentence, problem.advice)
        });
    }
}

/// Reads a configuration as the program does. `shown` is the file that it stands in.
fn configuration(name: &str, text: &str, shown: &str, found: &mut Findings) {
    let read = || -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("cowork.toml");
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        Config::load(Some(&path), &BTreeMap::new(), folder.path()).map(drop).map_err(|error| error.to_string())
    };
    let read = read();
    found.expect(read.is_ok(), shown, 1, || format!("the configuration {name}: {}", read.unwrap_err()));
}

/// A file of one kind or the other, known by what is in it.
fn yaml(file: &Text, root: &Path, found: &mut Findings, served: &mut BTreeMap<String, BTreeSet<String>>) {
    for document in serde_yaml_ng::Deserializer::from_str(&file.text) {
        let document = match Value::deserialize(document) {
            Ok(document) => document,
            Err(error) => return found.expect(false, &file.name, 1, || format!("it is no YAML: {error}")),
        };
        if document.get("groups").is_some() {
            match serde_yaml_ng::from_value(document) {
                Ok(rules) => alerts::examine(&rules, file, root, found),
                Err(error) => found.expect(false, &file.name, 1, || format!("these are no rules: {error}")),
            }
        } else if let Some(services) = document.get("services").and_then(Value::as_mapping) {
            for (_, service) in services {
                container(service, "command", "environment", file, &file.name, found, served);
                health(service, file, found);
            }
        } else {
            kubernetes(&document, file, found, served);
        }
    }
}

/// A manifest of Kubernetes: its containers, wherever they are in it, and configuration that it holds.
fn kubernetes(document: &Value, file: &Text, found: &mut Findings, served: &mut BTreeMap<String, BTreeSet<String>>) {
    found.expect(document.get("kind").is_some(), &file.name, 1, || {
        "it has neither kind, services nor groups".to_owned()
    });
    let kind = folder_of(file);
    each(document, &mut |value| {
        for list in ["containers", "initContainers"] {
            for container_of in value.get(list).and_then(Value::as_sequence).into_iter().flatten() {
                container(container_of, "command", "env", file, &kind, found, served);
                health(container_of, file, found);
            }
        }
    });
    if document.get("kind").and_then(Value::as_str) == Some("ConfigMap") {
        for (name, text) in document.get("data").and_then(Value::as_mapping).into_iter().flatten() {
            if let (Some(name), Some(text)) = (name.as_str(), text.as_str())
                && name.ends_with(".toml")
            {
                configuration(name, text, &file.name, found);
            }
        }
    }
}

fn container(
    container: &Value,
    command: &str,
    environment: &str,
    file: &Text,
    kind: &str,
    found: &mut Findings,
    served: &mut BTreeMap<String, BTreeSet<String>>,
) {
    let words = |key: &str| -> Vec<String> {
        match container.get(key) {
            Some(Value::Sequence(words)) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(line)) => line.split_whitespace().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let words: Vec<String> = [command, "args"].into_iter().flat_map(words).collect();
    let variables = match container.get(environment) {
        Some(Value::Mapping(pairs)) => pairs.keys().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Sequence(entries)) => {
            let name = |entry: &Value| match entry {
                Value::String(pair) => Some(pair.split('=').next().unwrap_or_default().to_owned()),
                entry => Some(entry.get("name")?.as_str()?.to_owned()),
            };
            entries.iter().filter_map(name).collect()
        }
        _ => Vec::new(),
    };
    call(&Called { words, variables }, file, kind, found, served);
}

/// The paths that are asked whether a container is well.
fn health(container: &Value, file: &Text, found: &mut Findings) {
    each(container, &mut |value| {
        let path = value.get("httpGet").and_then(|get| get.get("path")).and_then(Value::as_str);
        let test = value.get("healthcheck").and_then(|check| check.get("test"));
        let words = test.and_then(Value::as_sequence).into_iter().flatten().filter_map(Value::as_str);
        let asked =
            words.filter_map(|word| word.split_once("://")?.1.split_once('/')).map(|(_, path)| format!("/{path}"));
        for path in path.map(str::to_owned).into_iter().chain(asked) {
            let line = line_of(&file.text, &path);
            found.expect(program::is_route(&path), &file.name, line, || format!("no role answers {path}"));
        }
    });
}

/// Every value in `value`, itself among them.
fn each(value: &Value, look: &mut impl FnMut(&Value)) {
    look(value);
    match value {
        Value::Sequence(values) => values.iter().for_each(|value| each(value, look)),
        Value::Mapping(pairs) => pairs.values().for_each(|value| each(value, look)),
        _ => {}
    }
}

fn line_of(text: &str, word: &str) -> usize {
    text.lines().position(|line| line.contains(word)).map_or(1, |line| line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join("deploy").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut problems = examine(root.path()).unwrap().problems;
        problems.sort();
        problems.into_iter().map(|problem| format!("{}:{}: {}", problem.file, problem.line, problem.sentence)).collect()
    }

    #[test]
    fn a_service_that_the_program_would_refuse_is_told() {
        let compose = "services:\n  all:\n    command: [\"cowork\", \"serve\"]\n    environment:\n      COWORK_WEB__LISTEN: \"0.0.0.0:1\"\n\
                       \x20   healthcheck: {test: [\"CMD\", \"curl\", \"http://localhost:8080/healthz\"]}\n";
        assert_eq!(told(&[("compose.yaml", compose)]), [""; 0]);
        let wrong = compose.replace("\"serve\"]", "\"serve\", \"--roles\", \"web,cook\"]").replace("LISTEN", "LISTNE");
        let problems = told(&[("compose.yaml", &wrong.replace("healthz", "wellz"))]).join("\n");
        for part in ["cook", "COWORK_WEB__LISTNE", "/wellz", "serves the role worker"] {
            assert!(problems.contains(part), "{part}: {problems}");
        }
    }

    #[test]
    fn units_and_pods_must_serve_every_role() {
        let unit = "[Unit]\n[Service]\nEnvironment=COWORK_DATA_DIR=/srv\nExecStart=/usr/bin/cowork serve --roles %i\n";
        assert_eq!(told(&[("systemd/cowork@.service", unit)]), [""; 0]);
        let pod = "kind: Deployment\nspec:\n  containers:\n  - name: web\n    command: [cowork, serve, --roles, web]\n    \
                   readinessProbe: {httpGet: {path: /readyz}}\n---\nkind: ConfigMap\ndata:\n  cowork.toml: |\n    [web]\n    listne = 1\n";
        let problems = told(&[("kubernetes/web.yaml", pod)]).join("\n");
        assert!(problems.contains("serves the role gateway") && problems.contains("no such key"), "{problems}");
        assert!(!problems.contains("/readyz"), "{problems}");
    }

    #[test]
    fn a_plan_that_can_not_be_carried_out_is_told() {
        let plan = "format = 1\nname = \"n\"\nowner = \"o\"\n[thresholds]\nrto_s = 1\nrpo_s = 1\nbackup_age_s = 1\n\
                    [operator]\ntoken = \"env:T\"\n[source.archive]\nfolder = \"a\"\n";
        assert_eq!(told(&[("drill.toml", plan)]), [""; 0]);
        let without = format!("{plan}[roles.web]\nstart = \"a\"\nstop = \"b\"\nstatus = \"c\"\n");
        assert!(
            told(&[("drill.toml", &without)])[0].contains("no commands for the"),
            "{:?}",
            told(&[("drill.toml", &without)])
        );
        assert!(told(&[("drill.toml", &plan.replace("rto_s", "rto"))])[0].contains("it is no plan"));
    }
}
