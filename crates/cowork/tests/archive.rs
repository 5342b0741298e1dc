//! Backup, restore and archive from outside: what they answer, what they refuse, which exit code says so.
//!
//! Not here: every way in which an archive can be hurt (crate `archive`), whether what came back is right (`drill`).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{TestDatabase, wait_until};

/// A database, a folder to work in, and an archive beside others'.
struct Place {
    folder: TempDir,
    database: TestDatabase,
}

impl Place {
    async fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: TestDatabase::create().await }
    }

    async fn initialised() -> Self {
        let place = Self::new().await;
        let output = place.run(&["admin", "init", "--org", "Acme", "--email", "ada@example.org"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cowork"));
        command.current_dir(self.folder.path()).env_clear().env("DATABASE_URL", self.database.url()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs what must succeed, and gives its answer.
    #[track_caller]
    fn answer(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn archive(&self) -> String {
        self.folder.path().join("archive").display().to_string()
    }

    fn back_up(&self) -> Value {
        self.answer(&["backup", "--archive", &self.archive(), "--json"])
    }

    fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join(folder));
        entries.map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
    }

    /// Runs a restore of `archive` into this place.
    fn restore(&self, archive: &str) -> Output {
        self.run(&["restore", "--archive", archive, "--backup", "latest", "--environment", "drill", "--json"])
    }

    async fn is_empty(&self) -> bool {
        let relations: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
                .fetch_one(&self.database.pool())
                .await
                .unwrap();
        relations == 0 && self.entries("cowork-data/objects").is_empty()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks the exit code, and that the failure is told in three parts, of which one holds `part`.
#[track_caller]
fn expect_failure(output: &Output, exit_code: i32, part: &str) {
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(exit_code), "{told}");
    // Lines of progress come first.
    let failure = told.lines().last().unwrap_or_default();
    let failure: Value = serde_json::from_str(failure).unwrap_or_else(|error| panic!("{error}: {told}"));
    for key in ["what", "detail", "advice"] {
        assert!(failure["error"][key].as_str().is_some_and(|part| !part.is_empty()), "{told}");
    }
    assert!(told.contains(part), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_is_restored_elsewhere_in_a_new_generation() {
    let (source, target) = (Place::initialised().await, Place::new().await);
    let backup = source.back_up();
    let restored = target.restore(&source.archive());
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let restored: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(restored["backup_id"], backup["backup_id"]);
    assert_eq!(restored["rows"], backup["rows"]);
    assert_eq!((restored["generation"].as_i64(), restored["environment"].as_str()), (Some(2), Some("drill")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_generation_can_be_a_step_of_its_own() {
    let (source, target) = (Place::initialised().await, Place::new().await);
    let backup = source.back_up();
    let id = backup["backup_id"].as_str().unwrap();
    let archive = source.archive();
    let restore = ["restore", "--archive", &archive, "--backup", id, "--environment", "drill", "--no-start-generation"];
    let restored = target.answer(&[&restore[..], &["--json"]].concat());
    assert_eq!(restored["generation"], Value::Null);
    let start = ["admin", "generation", "start", "--environment", "drill", "--backup", id, "--json"];
    assert_eq!(target.answer(&start)["generation"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_tells_what_it_holds() {
    let source = Place::initialised().await;
    let (first, second) = (source.back_up(), source.back_up());
    let archive = source.archive();
    let listed = source.answer(&["archive", "list", "--archive", &archive, "--json"]);
    let ids: Vec<_> = listed["backups"].as_array().unwrap().iter().map(|backup| &backup["backup_id"]).collect();
    assert_eq!(ids, [&first["backup_id"], &second["backup_id"]]);
    let verified = source.answer(&["archive", "verify", "--archive", &archive, "--json"]);
    assert_eq!(verified, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_backs_up_is_told_when_the_ledger_no_longer_reaches_the_oldest_backup() {
    let place = Place::initialised().await;
    let archive = place.archive();
    let back_up = || {
        let mut command = place.command(&["backup", "--archive", &archive, "--json"]);
        command.env("COWORK_LEDGER__RETENTION_DAYS", "30").output().unwrap()
    };
    let doctor = || {
        let output = place.command(&["doctor", "--json"]).env("COWORK_LEDGER__RETENTION_DAYS", "30").output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let backups = answer["checks"].as_array().unwrap().iter().find(|check| check["name"] == "backups").unwrap();
        (backups["verdict"].as_str().unwrap().to_owned(), backups["detail"].as_str().unwrap().to_owned())
    };
    let forgets = "would forget what happened since";
    let first = back_up();
    assert!(first.status.success() && !text(&first.stderr).contains(forgets), "{}", text(&first.stderr));
    let (verdict, detail) = doctor();
    assert!(verdict == "passed" && detail.contains("since the oldest"), "{detail}");

    // Another archive has one that is older than the ledger is kept.
    sqlx::query("INSERT INTO archives SELECT gen_random_uuid(), now() - interval '40 days', now()")
        .execute(&place.database.pool())
        .await
        .unwrap();
    let (verdict, detail) = doctor();
    assert!(verdict == "failed" && detail.contains(forgets), "{detail}");
    let second = back_up();
    assert!(second.status.success() && text(&second.stderr).contains(forgets), "{}", text(&second.stderr));
    assert_eq!(place.entries("archive/backups").len(), 2);

    // Nobody backs up there any more.
    sqlx::query(
        "UPDATE archives SET seen_at = seen_at - interval '31 days' WHERE oldest_backup_at < now() - interval '1 day'",
    )
    .execute(&place.database.pool())
    .await
    .unwrap();
    let third = back_up();
    assert!(third.status.success() && !text(&third.stderr).contains(forgets), "{}", text(&third.stderr));
    assert_eq!(doctor().0, "passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_backup_is_told_and_a_restored_system_is_told_to_take_one() {
    let (source, target) = (Place::initialised().await, Place::new().await);
    let doctor = |place: &Place| {
        let output = place.run(&["doctor", "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let backups = answer["checks"].as_array().unwrap().iter().find(|check| check["name"] == "backups").unwrap();
        (backups["verdict"].as_str().unwrap().to_owned(), backups["detail"].as_str().unwrap().to_owned())
    };
    source.back_up();
    let (verdict, detail) = doctor(&source);
    assert!(verdict == "passed" && detail.contains("the newest is of"), "{detail}");
    sqlx::query("UPDATE archives SET newest_backup_at = newest_backup_at - interval '49 hours'")
        .execute(&source.database.pool())
        .await
        .unwrap();
    let (verdict, detail) = doctor(&source);
    assert!(verdict == "warning" && detail.contains("No backup was taken for too long."), "{detail}");

    source.back_up();
    let restored = target.restore(&source.archive());
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let (verdict, detail) = doctor(&target);
    assert!(verdict == "warning" && detail.contains("No backup of this generation is known."), "{detail}");
    target.back_up();
    assert_eq!(doctor(&target).0, "passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hurt_backup_is_an_answer_that_names_the_file_and_touches_nothing() {
    let (source, target) = (Place::initialised().await, Place::new().await);
    let id = source.back_up()["backup_id"].as_str().unwrap().to_owned();
    let archive = source.archive();
    std::fs::write(Path::new(&archive).join(format!("backups/{id}/database.dump")), "short").unwrap();
    expect_failure(&target.restore(&archive), 1, "database.dump");
    assert!(target.is_empty().await);

    let verified = source.run(&["archive", "verify", "--archive", &archive]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(text(&verified.stdout).contains("database.dump"), "{}", text(&verified.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_restored_is_refused_before_anything_is_touched() {
    let (source, target) = (Place::initialised().await, Place::new().await);
    source.back_up();
    let archive = source.archive();
    expect_failure(&source.restore(&archive), 2, "is the source of the backup");
    expect_failure(&Place::initialised().await.restore(&archive), 2, "is not empty");
    expect_failure(&target.restore("nowhere"), 2, "archive.json");
    let file = Path::new(&archive).join("archive.json");
    let newer = std::fs::read_to_string(&file).unwrap().replace("\"version\": 1", "\"version\": 2");
    std::fs::write(file, newer).unwrap();
    expect_failure(&target.restore(&archive), 2, "format version 2");
    assert!(target.is_empty().await);
    let usage = target.run(&["restore", "--archive", &archive, "--backup", "latest", "--environment", "moon"]);
    assert_eq!(usage.status.code(), Some(64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_a_system_is_not_backed_up() {
    let place = Place::new().await;
    let output = place.run(&["backup", "--archive", &place.archive(), "--json"]);
    expect_failure(&output, 2, "not one of Open Cowork");
    assert!(place.entries("archive").is_empty());
}

/// An installation of Postgres on a search path, whose programs say that they run, and then take their time.
fn slow_tools(place: &Place) -> PathBuf {
    let folder = place.folder.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    for name in ["initdb", "postgres", "createdb", "dropdb", "psql", "pg_dump", "pg_restore"] {
        let program = folder.join(name);
        std::fs::write(&program, "#!/bin/sh\n: > started\nexec /bin/sleep 600\n").unwrap();
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_leaves_no_half_of_one() {
    let place = Place::initialised().await;
    let archive = place.archive();
    let mut command = place.command(&["backup", "--archive", &archive, "--json"]);
    let child = command.env("PATH", slow_tools(&place)).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let started = place.folder.path().join("started");
    wait_until("pg_dump runs", async || started.exists()).await;
    assert_eq!(place.entries("archive/backups").len(), 1);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    expect_failure(&child.wait_with_output().unwrap(), 2, "interrupted");
    assert!(place.entries("archive/backups").is_empty());
}
