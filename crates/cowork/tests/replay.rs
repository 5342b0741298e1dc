//! Restores and the recovery ledger, from outside: what is replayed, what is refused, who is fenced.
//!
//! Not here: each kind of effect (`store::replay`), the ledger's own damage (crate `ledger`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ids::{OrgId, SystemId, TokenId};
use ledger::{Identity, Ledger, LedgerError, Record, Settings};
use objects::Objects;
use serde_json::Value;
use tempfile::TempDir;
use testkit::TestDatabase;

/// A database and a folder to work in.
struct Place {
    folder: TempDir,
    database: TestDatabase,
}

impl Place {
    async fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: TestDatabase::create().await }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cowork"));
        command.current_dir(self.folder.path()).env_clear().env("DATABASE_URL", self.database.url()).args(arguments);
        command
    }

    #[track_caller]
    fn answer(&self, arguments: &[&str]) -> Value {
        answer(&self.command(arguments).output().unwrap())
    }
}

#[track_caller]
fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Exit code 2, with this in what it says.
#[track_caller]
fn refused(output: &Output, says: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(says), "{said}");
}

const COOKIE_HASH: [u8; 32] = [7; 32];

/// As if the owner had signed in with a browser: the account.
async fn signed_in(place: &Place) -> uuid::Uuid {
    let sql =
        "INSERT INTO browser_sessions (org_id, browser_session_id, account_id, session_hash, sign_in_hash, user_agent,
            created_at, last_used_at, expires_at)
        SELECT org_id, account_id, account_id, $1, $1, '', now(), now(), now() + interval '1 day' FROM memberships
        RETURNING account_id";
    sqlx::query_scalar(sql).bind(&COOKIE_HASH[..]).fetch_one(&place.database.pool()).await.unwrap()
}

/// A system with a backup that lives on after it: its owner's token is revoked and their browser session ended, and the ledger
/// knows.
struct Lost {
    place: Place,
    ledger: Ledger,
    token: TokenId,
}

impl Lost {
    async fn new() -> Self {
        let place = Place::new().await;
        let made = place.answer(&["admin", "init", "--org", "Acme", "--email", "ada@example.org", "--json"]);
        let account = signed_in(&place).await;
        let archive = place.path("archive").display().to_string();
        place.answer(&["backup", "--archive", &archive, "--json"]);
        let token: uuid::Uuid =
            sqlx::query_scalar("SELECT token_id FROM api_tokens").fetch_one(&place.database.pool()).await.unwrap();
        let system: SystemId = made["system_id"].as_str().unwrap().parse().unwrap();
        let objects = Objects::open_folder(&place.path("cowork-data/ledger")).unwrap();
        let (identity, sources) = (Identity { system, generation: 1, supersedes: None }, testkit::system_sources());
        let ledger = Ledger::open(objects, identity, sources.id(), sources, Settings::default());
        let org: OrgId = made["org_id"].as_str().unwrap().parse().unwrap();
        let ended = Record::SessionRevoked { account: account.into(), session: COOKIE_HASH };
        ledger.record(vec![Record::TokenRevoked { org, token: token.into() }, ended]).await.unwrap();
        Self { place, ledger, token: token.into() }
    }

    fn ledger_folder(&self) -> PathBuf {
        self.place.path("cowork-data/ledger")
    }

    fn archive(&self) -> String {
        self.place.path("archive").display().to_string()
    }
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { BTreeSet::from([path]) }).collect()
}

async fn revoked(place: &Place, token: TokenId) -> bool {
    let sql = "SELECT api_tokens.revoked_at IS NOT NULL AND browser_sessions.revoked_at IS NOT NULL
        FROM api_tokens JOIN browser_sessions USING (account_id) WHERE token_id = $1";
    sqlx::query_scalar(sql).bind(uuid::Uuid::from(token)).fetch_one(&place.database.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_in_production_replays_the_ledger_and_fences_the_lost_system() {
    let (lost, target) = (Lost::new().await, Place::new().await);
    let archive = lost.archive();
    let restore = ["restore", "--archive", &archive, "--backup", "latest", "--environment", "production", "--json"];
    let restored =
        answer(&target.command(&restore).env("COWORK_LEDGER__FOLDER", lost.ledger_folder()).output().unwrap());
    let replay = &restored["replay"];
    assert_eq!((&replay["ledger"], &replay["tokens_revoked"]), (&"read".into(), &1.into()), "{replay}");
    assert_eq!(replay["browser_sessions_revoked"], 1, "{replay}");
    assert_eq!((&restored["generation"], &replay["findings"]), (&2.into(), &serde_json::json!([])));
    assert!(revoked(&target, lost.token).await);
    let late =
        lost.ledger.record(vec![Record::TokenRevoked { org: testkit::system_sources().id(), token: lost.token }]);
    assert!(matches!(late.await, Err(LedgerError::Fenced { generation: 2 })));
    let report = target.answer(&["admin", "generation", "report", "--json"]);
    assert_eq!((&report["generation"], &report["replay"]), (&2.into(), replay));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_restore_without_a_ledger_takes_a_word_for_it() {
    let (lost, target) = (Lost::new().await, Place::new().await);
    let archive = lost.archive();
    let restore = ["restore", "--archive", &archive, "--backup", "latest", "--environment", "production", "--json"];
    refused(&target.command(&restore).output().unwrap(), "--without-ledger");
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        .fetch_one(&target.database.pool())
        .await
        .unwrap();
    assert_eq!(tables, 0, "it says so before it begins");
    let restored = answer(&target.command(&restore).arg("--without-ledger").output().unwrap());
    assert_eq!(restored["replay"]["ledger"], "declined");
    assert!(!revoked(&target, lost.token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_reads_the_ledger_of_the_lost_system_and_leaves_it_as_it_is() {
    let (lost, target) = (Lost::new().await, Place::new().await);
    let (archive, before) = (lost.archive(), files(&lost.ledger_folder()));
    let restore = ["restore", "--archive", &archive, "--backup", "latest", "--environment", "drill"];
    let restored = answer(&target.command(&restore).args(["--no-start-generation", "--json"]).output().unwrap());
    assert_eq!(restored["replay"], Value::Null);
    let backup = restored["backup_id"].as_str().unwrap();
    let folder = lost.ledger_folder().display().to_string();
    let start = ["admin", "generation", "start", "--environment", "drill", "--backup", backup, "--json"];
    let into_the_living = target.command(&start).env("COWORK_LEDGER__FOLDER", &folder).output().unwrap();
    refused(&into_the_living, "would write into the recovery ledger of a living system");
    let begun = answer(&target.command(&start).args(["--replay-from", &folder]).output().unwrap());
    assert_eq!((&begun["generation"], &begun["replay"]["tokens_revoked"]), (&2.into(), &1.into()), "{begun}");
    assert!(begun["replay"]["from"].is_string(), "it knows when the backup was taken: {begun}");
    assert_eq!(files(&lost.ledger_folder()), before);
    assert!(lost.ledger.check().await.is_ok(), "a drill fences nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_of_another_system_is_refused() {
    let (lost, other, target) = (Lost::new().await, Lost::new().await, Place::new().await);
    let (archive, folder) = (lost.archive(), other.ledger_folder().display().to_string());
    let restore = ["restore", "--archive", &archive, "--backup", "latest", "--environment", "drill", "--replay-from"];
    refused(&target.command(&restore).arg(&folder).output().unwrap(), "belongs to the system");
    let nowhere = target.path("nowhere").display().to_string();
    refused(&target.command(&restore).arg(&nowhere).output().unwrap(), "is not a folder");
}
