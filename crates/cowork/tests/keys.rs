//! The adapter key's versions from outside: rotating, wrapping anew, doing without the older one.
//!
//! Not here: single writes (`store::data_key`, `store::key_rotation`).

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use clock::Sources;
use ids::{ByokKeyId, OrgId};
use secrets::{Envelope, LocalKms};
use serde_json::Value;
use store::{Effect, Instance, NewByokKey, NewByokSecret, Store, byok_aad};
use testkit::{TestDatabase, wait_until};
use worker::OrgKeys;

/// Keys that somebody brought.
const BYOK_KEYS: i64 = 6;

/// An installation with things that are sealed under version 1, and a key for version 2.
struct Place {
    folder: tempfile::TempDir,
    database: TestDatabase,
    store: Store,
    org: OrgId,
}

impl Place {
    async fn new() -> Self {
        let (folder, database) = (tempfile::tempdir().unwrap(), TestDatabase::create().await);
        let store = Store::from_pool(database.pool(), Sources::system());
        let init = command(folder.path(), &database, &["admin", "init", "--org", "Acme", "--email", "ada@example.org"]);
        expect(&{ init }.output().unwrap(), 0);
        secrets::generate(&folder.path().join("next"), store.sources()).unwrap();
        let org = store.org_list(None, 1).await.unwrap()[0].org_id;
        let place = Self { folder, database, store, org };
        place.configure("1", &[]);
        place.seal().await;
        place
    }

    /// Names the versions of the adapter key.
    fn configure(&self, current: &str, previous: &[&str]) {
        let named = |version: &str| {
            let folder = if version == "1" { "cowork-data/secrets" } else { "next" };
            format!("reference = \"file:{folder}/adapter_key.key\"\nversion = \"{version}\"\n")
        };
        let mut text = format!("[secrets.adapter_key]\n{}", named(current));
        for version in previous {
            text += &format!("[[secrets.adapter_key.previous]]\n{}", named(version));
        }
        for name in ["oidc_client", "cookie", "gateway", "channel"] {
            text += &format!("[secrets.{name}]\nreference = \"file:cowork-data/secrets/{name}.key\"\nversion = 1\n");
        }
        std::fs::write(self.folder.path().join("cowork.toml"), text).unwrap();
    }

    /// Keys that somebody brought, and the org's own.
    async fn seal(&self) {
        let value = std::fs::read(self.folder.path().join("cowork-data/secrets/adapter_key.key")).unwrap();
        let kms = LocalKms::new(("1".into(), value.into()), Vec::new(), Sources::system()).unwrap();
        for _ in 0..BYOK_KEYS {
            let byok_key_id: ByokKeyId = self.store.sources().id();
            let aad = byok_aad(self.org, byok_key_id);
            let Envelope { ciphertext, wrapped_key, key_version } =
                secrets::seal(&kms, self.store.sources(), b"what a user brought", &aad).await.unwrap();
            let (provider, label, last_four) = ("anthropic".into(), "team".into(), "1234".into());
            let secret = NewByokSecret { last_four, ciphertext, wrapped_key, key_version };
            let new = NewByokKey { byok_key_id, provider, label, secret };
            self.store.byok_create(self.org, &new, "role:test").await.unwrap();
        }
        OrgKeys::new(self.store.clone(), std::sync::Arc::new(kms)).get(self.org).await.unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        command(self.folder.path(), &self.database, arguments)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Says that a web role lives which has these versions of the key.
    async fn beat(&self, instance: &mut Instance, key_versions: &[&str]) {
        self.store.instance_leave(instance.instance, chrono::DateTime::UNIX_EPOCH).await.unwrap();
        instance.key_versions = key_versions.iter().map(|version| (*version).to_owned()).collect();
        self.store.instance_beat(instance).await.unwrap();
    }

    /// Records under a version.
    async fn under(&self, version: &str) -> i64 {
        let counts = self.store.data_key_counts().await.unwrap();
        counts.iter().filter(|count| count.version == version).map(|count| count.records).sum()
    }

    /// What the doctor says of the keys.
    fn doctor(&self) -> (String, String) {
        let answer: Value = serde_json::from_slice(&self.run(&["doctor", "--json"]).stdout).unwrap();
        let checks = answer["checks"].as_array().unwrap();
        let keys = checks.iter().find(|check| check["name"] == "keys").unwrap();
        (keys["verdict"].as_str().unwrap().to_owned(), keys["detail"].as_str().unwrap().to_owned())
    }
}

fn command(folder: &Path, database: &TestDatabase, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cowork"));
    command.current_dir(folder).env_clear().env("DATABASE_URL", database.url()).args(arguments);
    command
}

#[track_caller]
fn expect(output: &Output, code: i32) -> String {
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{told}");
    told
}

/// Ended with the test, whatever happens.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_is_done_without_and_everything_still_opens() {
    let place = Place::new().await;
    assert!(expect(&place.run(&["keys", "rotate"]), 1).contains("There is nothing to rotate to."));

    place.configure("2", &["1"]);
    assert!(expect(&place.run(&["keys", "rewrap"]), 1).contains("cowork keys rotate"), "nobody decided for it yet");
    expect(&place.run(&["keys", "rotate"]), 0);
    assert!(expect(&place.run(&["keys", "rotate"]), 1).contains("There is nothing to rotate to."));
    let (verdict, detail) = place.doctor();
    assert_eq!(verdict, "passed");
    assert!(detail.contains("still needed: version 1 (7 records)"), "{detail}");

    let done: Value = serde_json::from_slice(&place.run(&["keys", "rewrap", "--json"]).stdout).unwrap();
    assert_eq!(done, serde_json::json!({"version": "2", "rewrapped": 7, "failed": 0, "faults": [], "left": 0}));
    assert!(expect(&place.run(&["keys", "inventory"]), 0).contains("version 1 is needed by nothing here"));
    place.configure("2", &[]);
    expect(&place.run(&["admin", "verify"]), 0);
    assert_eq!(place.doctor().0, "passed");

    let told = place.store.outbox_list(place.store.sources().now(), 10).await.unwrap();
    let effect = Effect::AdapterKeyRotated { version: "2".into() };
    assert_eq!(told.iter().map(|row| &row.effect).collect::<Vec<_>>(), [&effect]);
    place.configure("1", &[]);
    assert_eq!(place.doctor().0, "failed", "what everything needs is not configured any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrap_that_is_killed_goes_on_with_what_is_left() {
    let place = Place::new().await;
    place.configure("2", &["1"]);
    expect(&place.run(&["keys", "rotate"]), 0);
    let keys = place.store.byok_sealed_list(None, 10).await.unwrap();
    let mut held = place.database.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM byok_keys WHERE byok_key_id = $1 FOR UPDATE")
        .bind(uuid::Uuid::from(keys[3].byok_key_id))
        .execute(&mut *held)
        .await
        .unwrap();

    let mut rewrap = place.command(&["keys", "rewrap", "--batch", "1"]);
    let mut killed = Killed(rewrap.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until("it is at the fourth key", async || place.under("2").await == 3).await;
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    held.rollback().await.unwrap();

    assert_eq!(place.under("2").await, 3);
    expect(&place.run(&["admin", "verify"]), 0);
    let done: Value = serde_json::from_slice(&place.run(&["keys", "rewrap", "--json"]).stdout).unwrap();
    assert_eq!((&done["rewrapped"], &done["left"]), (&4.into(), &0.into()));
    place.configure("2", &[]);
    expect(&place.run(&["admin", "verify"]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_follow_holds_a_rotation_up() {
    let place = Place::new().await;
    place.configure("2", &["1"]);
    let sources = place.store.sources();
    let mut web = Instance {
        instance: sources.id(),
        roles: vec!["web".into()],
        generation: 1,
        started_at: sources.now(),
        key_versions: Vec::new(),
        agents: None,
    };
    place.beat(&mut web, &["1"]).await;
    assert!(expect(&place.run(&["keys", "rotate"]), 1).contains("could not open"));
    place.beat(&mut web, &["1", "2"]).await;
    assert!(expect(&place.run(&["keys", "rotate"]), 1).contains("seal under another version"));
    place.beat(&mut web, &["2", "1"]).await;
    expect(&place.run(&["keys", "rotate"]), 0);
    place.beat(&mut web, &["1"]).await;
    assert!(expect(&place.run(&["keys", "rewrap"]), 1).contains("could not open"));
    assert_eq!(place.under("2").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_that_does_not_open_is_told_and_left() {
    let place = Place::new().await;
    place.configure("2", &["1"]);
    expect(&place.run(&["keys", "rotate"]), 0);
    sqlx::query("UPDATE byok_keys SET wrapped_key = 'damaged' WHERE byok_key_id = (SELECT min(byok_key_id::text)::uuid FROM byok_keys)")
        .execute(&place.database.pool())
        .await
        .unwrap();
    let output = place.run(&["keys", "rewrap", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&done["rewrapped"], &done["failed"], &done["left"]), (&6.into(), &1.into(), &1.into()));
    assert_eq!(done["faults"][0]["table"], "byok_keys");
}
