//! The binary from outside: making a system, starting it, and what it says when something is missing.
//!
//! Not here: what roles do together (`e2e`), backup and restore, the drill.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use clock::Sources;
use serde_json::Value;
use store::{Environment, Store};
use testkit::{TestDatabase, wait_until};

/// A database and a folder to start the binary in.
struct Place {
    folder: tempfile::TempDir,
    database: TestDatabase,
}

impl Place {
    async fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: TestDatabase::create().await }
    }

    async fn initialised() -> Self {
        let place = Self::new().await;
        let output = place.run(&["admin", "init", "--org", "Acme", "--email", "ada@example.org", "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cowork"));
        command.current_dir(self.folder.path()).env_clear().env("DATABASE_URL", self.database.url());
        for role in ["WEB", "WORKER", "SCHEDULER", "GATEWAY"] {
            command.env(format!("COWORK_{role}__LISTEN"), "127.0.0.1:0");
        }
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    async fn store(&self) -> Store {
        Store::from_pool(self.database.pool(), Sources::system())
    }

    fn secret(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("cowork-data/secrets/{name}.key"))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks that the command could not run and said so in three parts, of which one holds `part`.
#[track_caller]
fn expect_refusal(output: &Output, part: &str) {
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("cowork: ") && told.contains("  detail: ") && told.contains("  what to do: "), "{told}");
    assert!(told.contains(part), "{told}");
}

/// Ended with the test, whatever happens.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_flag_is_a_usage_error() {
    let place = Place::new().await;
    for arguments in [&["serve", "--rolls", "web"][..], &["serve", "--roles", "cook"], &["admin", "init"], &[]] {
        assert_eq!(place.run(arguments).status.code(), Some(64), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_was_never_made_is_not_served() {
    let place = Place::new().await;
    expect_refusal(&place.run(&["serve"]), "This system is not initialised.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_is_made_once_and_its_token_shown_once() {
    let place = Place::new().await;
    let init = ["admin", "init", "--org", "Acme", "--email", "ada@example.org", "--json"];
    let made: Value = serde_json::from_slice(&place.run(&init).stdout).unwrap();
    assert!(made["token"].as_str().unwrap().starts_with("cow_"));
    assert_eq!(made["generation"], 1);

    let again = place.run(&init);
    assert_eq!(again.status.code(), Some(2));
    let told: Value = serde_json::from_slice(&again.stderr).unwrap();
    assert_eq!(told["error"]["what"], "This system is initialised already.");
    assert!(again.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_without_a_value_stops_every_role_and_is_named() {
    let place = Place::initialised().await;
    std::fs::remove_file(place.secret("cookie")).unwrap();
    for role in ["web", "worker", "scheduler", "gateway"] {
        expect_refusal(&place.run(&["serve", "--roles", role]), "secrets.cookie (version 1)");
    }
    let verified = place.run(&["admin", "verify", "--json"]);
    assert_eq!(verified.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let unresolved = report["secrets"].as_array().unwrap().iter().filter(|secret| secret["resolved"] == false);
    assert_eq!(unresolved.map(|secret| &secret["name"]).collect::<Vec<_>>(), ["cookie"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_system_verifies() {
    let place = Place::initialised().await;
    let verified = place.run(&["admin", "verify", "--json"]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_copy_sends_nothing_without_a_recorder() {
    let place = Place::initialised().await;
    let (store, backup) = (place.store().await, Sources::system().id());
    store.generation_start(backup, Environment::Drill).await.unwrap();
    expect_refusal(&place.run(&["serve", "--roles", "gateway"]), "gateway.redirect_to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_told_with_its_role() {
    let place = Place::initialised().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = place.command(&["serve"]).env("COWORK_WEB__LISTEN", &address).output().unwrap();
    expect_refusal(&output, &format!("The web role can't listen on {address}."));
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_say_where_they_listen_and_drain_when_told_to() {
    let place = Place::initialised().await;
    let ready = place.folder.path().join("ready.json");
    let serve = ["serve", "--ready-file", "ready.json"];
    let mut served = Served(place.command(&serve).stderr(Stdio::null()).spawn().unwrap());
    wait_until("the ready file", async || ready.exists()).await;

    let content: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    assert_eq!(content["pid"], served.0.id());
    let roles: Vec<_> = content["roles"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(roles, ["gateway", "scheduler", "web", "worker"]);
    for address in content["roles"].as_object().unwrap().values() {
        assert!(probe(address.as_str().unwrap()).starts_with("HTTP/1.1 200"), "{address}");
    }

    let pid = nix::unistd::Pid::from_raw(served.0.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(served.0.wait().unwrap().code(), Some(0));
    assert!(!ready.exists());
    assert_eq!(place.store().await.instance_counts(1, chrono::DateTime::UNIX_EPOCH).await.unwrap(), []);
}

/// `GET /readyz`, without a client: what a supervisor's simplest probe does.
fn probe(address: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_configuration_that_does_not_exist_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = run_in(folder.path(), &["serve", "--config", "none.toml"]);
    expect_refusal(&output, "none.toml");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cowork"));
    command.current_dir(folder).env_clear().args(arguments).output().unwrap()
}

/// What `cowork doctor` says of each thing, and its exit code.
fn doctor(place: &Place, url: Option<&str>) -> (Option<i32>, Vec<(String, String)>) {
    let mut command = place.command(&["doctor", "--json"]);
    if let Some(url) = url {
        command.env("DATABASE_URL", url);
    }
    let output = command.output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let word = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
    let checks = answer["checks"].as_array().unwrap();
    (output.status.code(), checks.iter().map(|check| (word(check, "name"), word(check, "verdict"))).collect())
}

fn not_passed(checks: &[(String, String)]) -> Vec<(&str, &str)> {
    let told = checks.iter().map(|(name, verdict)| (name.as_str(), verdict.as_str()));
    told.filter(|(_, verdict)| *verdict != "passed").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_says_what_is_wrong_and_passes_nothing_that_it_could_not_look_at() {
    let place = Place::initialised().await;
    std::fs::remove_file(place.secret("cookie")).unwrap();
    let (code, checks) = doctor(&place, None);
    let failed = not_passed(&checks);
    assert_eq!((code, checks.len()), (Some(1), 15));
    assert!(failed.contains(&("secrets", "failed")) && failed.contains(&("roles", "failed")), "{failed:?}");
    assert!(
        !failed
            .iter()
            .any(|(name, _)| ["configuration", "database", "tenants", "clock", "channels", "backlog"].contains(name)),
        "{failed:?}"
    );

    let (code, checks) = doctor(&place, Some("postgres://nobody@127.0.0.1:1/nothing"));
    assert_eq!((code, checks.len()), (Some(1), 15));
    let unknown = ["tenants", "keys", "clock", "ledger", "backups", "channels", "roles", "maintenance", "backlog"];
    let unknown = unknown.map(|name| (name, "could_not_verify"));
    let told = not_passed(&checks);
    assert!(told.contains(&("database", "failed")) && unknown.iter().all(|one| told.contains(one)), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_warns_where_a_folder_of_drills_is_named_and_none_was_run() {
    let place = Place::initialised().await;
    let output = place.command(&["doctor", "--json"]).env("COWORK_DRILLS__FOLDER", "drill-reports").output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let drills = answer["checks"].as_array().unwrap().iter().find(|check| check["name"] == "drills").unwrap();
    assert_eq!(drills["verdict"], "warning");
    assert!(drills["detail"].as_str().unwrap().contains("No drill was run."), "{drills}");
    assert!(drills["advice"].as_str().unwrap().contains("cowork drill run"), "{drills}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_whose_roles_run_is_fit_and_its_audit_trail_holds() {
    let place = Place::initialised().await;
    let _served = Served(place.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until("the doctor finds nothing", || async { doctor(&place, None).0 == Some(0) }).await;
    let store = place.store().await;
    wait_until("the trail is sealed", || async { store.audit_unsealed_orgs(None, 1).await.unwrap().is_empty() }).await;

    let verify = || place.run(&["audit", "verify", "--json"]);
    let intact = verify();
    assert_eq!(intact.status.code(), Some(0), "{}", text(&intact.stderr));
    sqlx::query("UPDATE audit_records SET actor = 'somebody else' WHERE seal_number = 1")
        .execute(&place.database.pool())
        .await
        .unwrap();
    let broken = verify();
    assert_eq!(broken.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert_eq!(told["orgs"][0]["fault"], serde_json::json!({"kind": "changed", "number": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_is_begun_and_ended_by_hand_and_the_doctor_tells_of_it() {
    let place = Place::initialised().await;
    let state = |arguments: &[&str]| -> Value {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let on = state(&["maintenance", "on", "--reason", "the database is moved", "--json"]);
    assert_eq!((&on["on"], &on["reason"]), (&true.into(), &"the database is moved".into()));
    assert_eq!(state(&["maintenance", "status", "--json"]), on);
    assert!(not_passed(&doctor(&place, None).1).contains(&("maintenance", "failed")));
    assert_eq!(place.run(&["maintenance", "on", "--reason", " "]).status.code(), Some(64));

    let off = serde_json::json!({"on": false, "since": null, "reason": null});
    assert_eq!(state(&["maintenance", "off", "--json"]), off);
    assert!(!not_passed(&doctor(&place, None).1).contains(&("maintenance", "failed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_about_subscriptions_where_nobody_is_paid() {
    let place = Place::initialised().await;
    let output = place.run(&["subscriptions", "reconcile"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("The billing provider was not asked."), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_set_and_removed_by_hand() {
    let place = Place::initialised().await;
    let org = place.store().await.org_list(None, 1).await.unwrap()[0].org_id.to_string();
    let quotas = |arguments: &[&str], code| -> Value {
        let output = place.run(&[arguments, &["--org", &org, "--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let set = quotas(&["quotas", "set", "--kind", "turns", "--period", "month", "--max", "100"], 0);
    let quota = &set["items"][0];
    assert_eq!((&quota["kind"], &quota["quantity_max"], &quota["used"]), (&"turns".into(), &100.into(), &0.into()));
    assert_eq!(quotas(&["quotas", "list"], 0), set);
    assert_eq!(quotas(&["quotas", "remove", "--kind", "turns"], 0)["items"], serde_json::json!([]));
    quotas(&["quotas", "remove", "--kind", "turns"], 1);
    quotas(&["quotas", "set", "--kind", "naps", "--period", "month", "--max", "100"], 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_org_used_is_told_by_day_and_added_up() {
    let place = Place::initialised().await;
    let org = place.store().await.org_list(None, 1).await.unwrap()[0].org_id;
    let usage = |arguments: &[&str], code| {
        let output = place.run(&[&["usage", "--org", &org.to_string()][..], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let told = |arguments: &[&str]| -> Value { serde_json::from_str(&usage(arguments, 0)).unwrap() };
    assert!(usage(&[], 0).starts_with("The org used nothing from "), "{}", usage(&[], 0));
    assert_eq!(told(&["--json"])["items"], serde_json::json!([]));

    sqlx::query(
        "INSERT INTO usage_counters (org_id, kind, day, stripe, quantity)
        VALUES ($1, 'turns', '2026-10-01', 0, 2), ($1, 'turns', '2026-10-01', 1, 1), ($1, 'turns', '2026-10-31', 0, 4),
            ($1, 'runs', '2026-10-31', 0, 5), ($1, 'turns', '2026-11-01', 0, 100)",
    )
    .bind(uuid::Uuid::from(org))
    .execute(&place.database.pool())
    .await
    .unwrap();
    let october = ["--from", "2026-10-01", "--to", "2026-11-01"];
    let json = told(&[&october[..], &["--json"]].concat());
    assert_eq!(json["period"], serde_json::json!({"from": "2026-10-01", "to": "2026-11-01"}));
    assert_eq!(json["items"], serde_json::json!([{"kind": "runs", "quantity": 5}, {"kind": "turns", "quantity": 7}]));
    assert_eq!(json["days"][0], serde_json::json!({"day": "2026-10-01", "kind": "turns", "quantity": 3}));
    assert_eq!((json["days"].as_array().unwrap().len(), &json["models"]), (3, &serde_json::json!([])));
    assert_eq!(usage(&october, 0).lines().count(), 5, "three rows of days, two of all");

    for wrong in [
        &["--from", "2026-10-01"][..],
        &["--from", "2026-10-02", "--to", "2026-10-01"],
        &["--from", "2026-10-1", "--to", "2026-10-02"],
        &["--period", "day", "--from", "2026-10-01", "--to", "2026-10-02"],
    ] {
        usage(wrong, 64);
    }
    let stranger = ["usage", "--org", &uuid::Uuid::nil().to_string()];
    assert_eq!(place.run(&stranger).status.code(), Some(1));
}
