//! The invariants of ARCHITECTURE.md that can be read off the workspace: who may use whom, where SQL stands, who reads
//! the environment; and that nothing of the API is missing in the client.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use walkdir::WalkDir;

/// A crate, and those of ours that it may use. Each uses only crates that stand above it: arrows go down only.
const MAY_USE: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("clock", &[]),
    ("attest", &[]),
    ("beneath", &[]),
    ("localpg", &[]),
    ("testkit", &["clock", "localpg"]),
    ("model", &[]),
    ("domain", &["clock", "ids"]),
    ("redact", &[]),
    ("egress", &["domain", "redact"]),
    ("projects", &["beneath", "domain"]),
    ("repositories", &["domain", "projects", "redact"]),
    ("measures", &[]),
    ("telemetry", &["clock", "measures", "redact"]),
    ("traces", &[]),
    ("front", &["clock", "domain", "measures", "traces"]),
    ("secrets", &["clock", "ids"]),
    ("config", &["domain", "redact", "secrets"]),
    ("objects", &["beneath", "ids"]),
    ("ledger", &["clock", "ids", "measures", "objects"]),
    ("store", &["clock", "domain", "ids", "traces"]),
    ("agents", &["beneath", "domain", "ids", "redact"]),
    ("channels", &["clock", "domain", "egress", "ids"]),
    ("providers", &["domain", "egress", "measures"]),
    ("billing", &["clock", "domain", "egress", "ids"]),
    ("client", &["ids"]),
    ("effects", &["clock", "ids", "ledger", "store"]),
    ("recovery", &["clock", "ids", "ledger", "objects", "store"]),
    (
        "web",
        &[
            "attest",
            "billing",
            "clock",
            "domain",
            "effects",
            "front",
            "ids",
            "ledger",
            "measures",
            "objects",
            "projects",
            "providers",
            "repositories",
            "secrets",
            "store",
        ],
    ),
    (
        "worker",
        &[
            "agents",
            "beneath",
            "clock",
            "domain",
            "ids",
            "measures",
            "objects",
            "projects",
            "providers",
            "redact",
            "secrets",
            "store",
            "traces",
        ],
    ),
    ("scheduler", &["clock", "domain", "effects", "ids", "ledger", "measures", "objects", "store"]),
    (
        "gateway",
        &["channels", "clock", "domain", "effects", "front", "ids", "ledger", "measures", "secrets", "store", "traces"],
    ),
    ("archive", &["clock", "ids"]),
    ("drill", &["archive", "attest", "client", "clock", "ids", "localpg", "redact"]),
    (
        "cowork",
        &[
            "agents",
            "archive",
            "attest",
            "billing",
            "channels",
            "client",
            "clock",
            "config",
            "domain",
            "drill",
            "effects",
            "front",
            "gateway",
            "ids",
            "ledger",
            "localpg",
            "measures",
            "objects",
            "providers",
            "recovery",
            "redact",
            "repositories",
            "scheduler",
            "secrets",
            "store",
            "telemetry",
            "web",
            "worker",
        ],
    ),
    ("e2e", &["client", "ids", "localpg"]),
    ("bench-chaos", &["client", "clock", "domain", "e2e", "ids", "localpg", "testkit"]),
    ("bench-control-plane", &["clock", "drill", "localpg", "store"]),
    (
        "bench-disasters",
        &[
            "agents",
            "client",
            "clock",
            "domain",
            "e2e",
            "effects",
            "gateway",
            "ids",
            "ledger",
            "objects",
            "recovery",
            "scheduler",
            "secrets",
            "store",
            "testkit",
            "worker",
        ],
    ),
    ("bench-drill", &["localpg"]),
    ("bench-never-twice", &["client", "clock", "e2e", "ids", "localpg"]),
    (
        "bench-ledger",
        &[
            "channels", "clock", "effects", "gateway", "ids", "ledger", "localpg", "objects", "recovery", "secrets",
            "store", "testkit",
        ],
    ),
    ("bench-scan", &["redact"]),
];

/// The defendant. The judge shares none of its code.
const DEFENDANT: [&str; 5] = ["store", "web", "worker", "scheduler", "gateway"];

/// They talk to the database through `store`.
const WITHOUT_SQL: [&str; 5] = ["web", "worker", "scheduler", "gateway", "cowork"];

/// The binary reads it; the test kit is told its server by whoever runs the tests.
const MAY_READ_THE_ENVIRONMENT: [&str; 2] = ["cowork", "testkit"];

/// Operations whose method of the client has another name.
const CALLED_OTHERWISE: &[(&str, &str)] = &[
    ("artifact_view", "artifact_get"),
    ("byok_create", "byok_key_create"),
    ("byok_list", "byok_key_list"),
    ("byok_revoke", "byok_key_revoke"),
    ("byok_rotate", "byok_key_rotate"),
    ("byok_validate", "byok_key_validate"),
    ("byok_view", "byok_key_view"),
    ("command_enqueue", "command_submit"),
    ("command_view", "command_get"),
    ("feed", "feed_list"),
    ("maintenance_view", "maintenance"),
    ("member_view", "member_get"),
    ("policy_view", "policy_get"),
    ("profile_view", "profile_get"),
    ("quota_view", "quota_get"),
    ("role_view", "role_get"),
    ("session_view", "session_get"),
    ("subject_view", "subject_erasure"),
    ("subscription_view", "subscription_get"),
    ("upload_view", "upload_get"),
    ("workflow_archive", "workflow_act"),
    ("workflow_pause", "workflow_act"),
    ("workflow_resume", "workflow_act"),
    ("workflow_run_list", "workflow_runs"),
    ("workflow_view", "workflow_get"),
];

/// How a function of the client says with which method it sends something.
const SENT_BY: [(&str, &[&str]); 5] = [
    (
        "GET",
        &[
            "self.get(",
            "self.get::<",
            "self.get_with(",
            "self.get_page(",
            "self.get_matching(",
            "self.text(",
            "Method::GET",
        ],
    ),
    ("POST", &["self.post(", "self.post::<", "self.post_once(", "Method::POST"]),
    ("PUT", &["Method::PUT"]),
    ("PATCH", &["Method::PATCH"]),
    ("DELETE", &["self.delete(", "self.delete_seen(", "Method::DELETE"]),
];

#[test]
fn the_judge_shares_no_code_with_the_defendant() {
    let uses = normal_dependencies();
    let mut reached = BTreeSet::new();
    let mut ahead = vec!["drill"];
    while let Some(next) = ahead.pop() {
        if reached.insert(next) {
            ahead.extend(uses[next].iter().map(String::as_str));
        }
    }
    assert!(reached.contains("archive"), "the closure is not one: {reached:?}");
    let shared: Vec<_> = DEFENDANT.into_iter().filter(|name| reached.contains(name)).collect();
    assert!(shared.is_empty(), "`drill` depends on {shared:?}");
}

#[test]
fn every_crate_uses_only_those_that_it_may() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    for (name, uses) in normal_dependencies() {
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no place in the table"));
        let too_many: Vec<_> = uses.iter().filter(|other| !may.contains(&other.as_str())).collect();
        assert!(too_many.is_empty(), "{name} may not use {too_many:?}");
    }
}

#[test]
fn the_arrows_of_the_table_go_down_only() {
    let mut above = BTreeSet::new();
    for (name, may) in MAY_USE.iter().copied() {
        let upward: Vec<_> = may.iter().filter(|other| !above.contains(*other)).collect();
        assert!(upward.is_empty(), "{name} would use {upward:?}, which do not stand above it");
        above.insert(name);
    }
}

#[test]
fn sql_about_our_tables_stands_in_store_only() {
    for name in WITHOUT_SQL {
        let found = lines_of(&root().join("crates").join(name).join("src"), |line| {
            ["sqlx::query", "query!(", "query_as!(", "query_scalar!(", "QueryBuilder"]
                .iter()
                .any(|sql| line.contains(sql))
        });
        assert!(found.is_empty(), "statements outside of `store`: {found:#?}");
    }
}

#[test]
fn the_judge_names_no_table_that_the_manifest_could_name_for_it() {
    let statements = lines_of(&root().join("crates/drill/src"), |line| {
        let line = line.to_uppercase();
        ["INSERT INTO ", "UPDATE ", "DELETE FROM ", "TRUNCATE "].iter().any(|verb| line.contains(&format!("\"{verb}")))
    });
    // Whoever breaks worlds for the judge to refuse has to write into them.
    let statements: Vec<String> =
        statements.into_iter().filter(|line| !line.contains("/crates/drill/src/faults/")).collect();
    assert!(statements.is_empty(), "the judge writes: {statements:#?}");
}

#[test]
fn nothing_below_the_binary_reads_the_environment() {
    for (name, _) in MAY_USE.iter().copied() {
        let source = root().join("crates").join(name).join("src");
        if MAY_READ_THE_ENVIRONMENT.contains(&name) || !source.is_dir() {
            continue;
        }
        let found = lines_below(&source, is_program, |line| {
            ["env::var", "env::vars", "env::current_dir", "env::args", "env::temp_dir", "env::home_dir"]
                .iter()
                .any(|call| line.contains(call))
        });
        assert!(found.is_empty(), "{name} reads the environment: {found:#?}");
    }
}

/// What `cowork validate` knows as metrics is what the sources measure.
#[test]
fn every_metric_of_the_sources_is_one_that_documents_are_held_to() {
    let list = std::fs::read_to_string(root().join("crates/cowork/src/validate/program.rs")).expect("it is there");
    let list =
        list.split("METRICS: &[&str] = &[").nth(1).and_then(|rest| rest.split("];").next()).expect("it has a list");
    let listed: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    let mut text = String::new();
    for (name, _) in MAY_USE.iter().copied() {
        // The list itself is beside it in the binary.
        let source = root().join("crates").join(name).join(if name == "cowork" { "src/serve" } else { "src" });
        if source.is_dir() {
            text += &lines_of(&source, |_| true).join("\n");
        }
    }
    let missing: Vec<_> = listed.iter().filter(|name| !text.contains(**name)).collect();
    assert!(missing.is_empty(), "nobody measures {missing:?}");
    let measured =
        ["counter!(\"", "gauge!(\"", "histogram!(\""].into_iter().flat_map(|macro_| text.split(macro_).skip(1));
    let unknown: BTreeSet<&str> =
        measured.filter_map(|rest| rest.split('"').next()).filter(|name| !listed.contains(name)).collect();
    assert!(unknown.is_empty(), "not in the list: {unknown:?}");
}

/// A counter that appears with its first event is one that no alert on `increase()` hears of: who describes it begins it at zero,
/// which only `measures` does. That every one is there, a story looks at (`metrics`).
#[test]
fn nothing_is_described_as_measured_without_being_begun() {
    for (name, _) in MAY_USE.iter().copied().filter(|(name, _)| *name != "measures") {
        let source = root().join("crates").join(name).join("src");
        let describes = |line: &str| {
            ["describe_counter!", "describe_gauge!", "describe_histogram!"].iter().any(|macro_| line.contains(macro_))
        };
        let found = if source.is_dir() { lines_of(&source, describes) } else { Vec::new() };
        assert!(found.is_empty(), "described beside `measures`: {found:#?}");
    }
}

/// What is in a router without a description, nobody holds to anything: the tests of `web` and `gateway` walk over descriptions.
#[test]
fn no_route_goes_into_a_router_without_its_description() {
    for name in ["web", "gateway"] {
        let undescribed =
            |line: &str| [".route(", ".route_service(", ".nest_service("].iter().any(|call| line.contains(call));
        let found = lines_of(&root().join("crates").join(name).join("src"), undescribed);
        assert!(found.is_empty(), "routes that no description has: {found:#?}");
    }
}

#[test]
fn the_client_has_a_method_for_every_operation() {
    let (operations, methods) = (operations(), methods_of_the_client());
    assert!(operations.contains("openapi") && methods.contains("openapi"), "{operations:?} {methods:?}");
    let otherwise: BTreeMap<_, _> = CALLED_OTHERWISE.iter().copied().collect();
    assert_eq!(otherwise.len(), CALLED_OTHERWISE.len(), "an operation stands in the table twice");
    let method = |id: &String| otherwise.get(id.as_str()).map_or_else(|| id.clone(), ToString::to_string);
    let missing: Vec<_> = operations.iter().filter(|id| !methods.contains(&method(id))).collect();
    assert!(missing.is_empty(), "the client has no method for {missing:?}");
    let idle: Vec<_> = otherwise.keys().filter(|id| !operations.contains(**id) || methods.contains(**id)).collect();
    assert!(idle.is_empty(), "the table has no need of {idle:?}");
}

/// As far as the source's text tells: how its function sends, and the addresses that stand in it.
#[test]
fn a_method_of_the_client_sends_what_its_operation_is_described_with() {
    let otherwise: BTreeMap<_, _> = CALLED_OTHERWISE.iter().copied().collect();
    let functions = functions_of_the_client();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (id, method, path) in described() {
        let name = otherwise.get(id.as_str()).copied().unwrap_or(&id);
        let Some(text) = text_of(&functions, name) else { continue };
        let (_, ways) = SENT_BY.iter().find(|(sent, _)| *sent == method).expect("it is one of the five");
        let sends = ways.iter().any(|way| text.contains(way));
        let mut addresses = text.split("\"/").skip(1).filter_map(|rest| rest.split(['"', '?']).next());
        if !(sends && addresses.any(|address| leads_to(address, path.trim_start_matches('/')))) {
            wrong.push(format!("{name}: {method} {path}"));
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "methods of the client that send something else: {wrong:#?}");
    assert!(seen > 100, "{seen}");
}

/// Whether an address of the source is this one of the description. `{}` stands for anything, `{name}` for a parameter.
fn leads_to(address: &str, path: &str) -> bool {
    let (address, path) = (address.split('/'), path.split('/'));
    address.clone().count() == path.clone().count()
        && address.zip(path).all(|(part, described)| match part {
            "{}" => true,
            _ if part.starts_with('{') => described.starts_with('{'),
            _ => part == described,
        })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is below the workspace").to_owned()
}

/// Every crate of ours with those of ours that it is built from. What only its tests use does not count.
fn normal_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let arguments = ["metadata", "--format-version", "1", "--offline", "--no-deps"];
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo speaks JSON");
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    let name = |value: &Value| value["name"].as_str().expect("everything has a name").to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let uses = |package: &Value| {
        let all = package["dependencies"].as_array().into_iter().flatten();
        all.filter(|dependency| dependency["kind"] != "dev").map(name).filter(|other| ours.contains(other)).collect()
    };
    packages.iter().map(|package| (name(package), uses(package))).collect()
}

/// The ids of the operations that the API's own description has.
fn operations() -> BTreeSet<String> {
    described().into_iter().map(|(id, ..)| id).collect()
}

/// The id, the method and the path of each. Not of those beside the API: a browser signs in and no client does, the billing provider
/// alone signs its events, and probes are a supervisor's, who asks every role and not the API.
fn described() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(root().join("docs/reference/openapi.json")).expect("it is there");
    let description: Value = serde_json::from_str(&text).expect("it is JSON");
    let mut described = Vec::new();
    let paths = description["paths"].as_object().expect("it has paths").iter();
    for (path, item) in paths.filter(|(path, _)| path.starts_with("/api/")) {
        for (method, operation) in item.as_object().into_iter().flatten() {
            if let Some(id) = operation["operationId"].as_str() {
                described.push((id.to_owned(), method.to_uppercase(), path.clone()));
            }
        }
    }
    described
}

/// The text of each function of the client by its name, and whether it is private.
fn functions_of_the_client() -> BTreeMap<String, (bool, String)> {
    let mut functions: BTreeMap<String, (bool, String)> = BTreeMap::new();
    let mut name = String::new();
    for line in lines_of(&root().join("crates/client/src"), |_| true) {
        let (_, code) = line.split_once(": ").expect("a line begins with its place");
        let begins = code
            .split_once("fn ")
            .filter(|(before, _)| before.split(' ').all(|word| ["", "pub", "pub(crate)", "async"].contains(&word)));
        if let Some((before, rest)) = begins {
            name = rest.split(['(', '<']).next().unwrap_or_default().to_owned();
            functions.entry(name.clone()).or_default().0 = !before.starts_with("pub");
        }
        functions.entry(name.clone()).or_default().1.push_str(code);
    }
    functions
}

/// The text of a function, with those of the private ones that it calls.
fn text_of(functions: &BTreeMap<String, (bool, String)>, name: &str) -> Option<String> {
    let (_, own) = functions.get(name)?;
    let called =
        |(helper, (private, _)): &(&String, &(bool, String))| *private && own.contains(&format!("self.{helper}("));
    let helpers: String = functions.iter().filter(called).map(|(_, (_, text))| text.as_str()).collect();
    Some(format!("{own}{helpers}"))
}

fn methods_of_the_client() -> BTreeSet<String> {
    let declares = |line: &str| ["pub fn ", "pub async fn "].iter().any(|start| line.contains(start));
    let lines = lines_of(&root().join("crates/client/src"), declares);
    let signatures = lines.iter().filter_map(|line| line.split_once("fn "));
    signatures.filter_map(|(_, rest)| rest.split(['(', '<']).next().map(str::to_owned)).collect()
}

/// `FILE:LINE` of the lines of code below `folder` for which `wanted` holds. Comments and the files of unit tests are
/// not looked at.
fn lines_of(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    lines_below(folder, |_| false, wanted)
}

/// As [`lines_of`], without the files that are `left_out`.
fn lines_below(folder: &Path, left_out: impl Fn(&Path) -> bool, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let files = WalkDir::new(folder).into_iter().map(|entry| entry.expect("sources can be read"));
    let sources = files.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "rs"));
    let mut found = Vec::new();
    for source in sources.filter(|entry| !is_test(entry.path()) && !left_out(entry.path())) {
        let text = std::fs::read_to_string(source.path()).expect("sources are text");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            if !line.trim_start().starts_with("//") && wanted(line) {
                found.push(format!("{}:{}: {}", source.path().display(), number + 1, line.trim()));
            }
        }
    }
    found
}

/// A program beside a library is a binary of its own, such as `attest`.
fn is_program(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("src/bin"))
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "testing.rs")))
}
