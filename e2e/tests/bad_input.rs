//! What is wrong from the start: it is told in three parts, with the right exit code; nothing is left behind and nothing
//! that was there is touched.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use client::Wish;
use e2e::{Drill, Folder, Installation, Report, Told, binary, cowork, living_below, tell, told, wait_for_async};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::TestDatabase;

#[test]
fn an_unknown_flag_is_a_usage_error() {
    for arguments in [["serve", "--rolls"].as_slice(), &["drill", "run", "--scale", "-1"], &["backup"], &["dril"]] {
        let told = tell(arguments);
        assert_eq!(told.code, 64, "{arguments:?}: {}", told.stderr);
        assert!(told.stderr.contains("Usage:") || told.stderr.contains("--help"), "{}", told.stderr);
    }
}

#[test]
fn an_unknown_key_is_named() {
    let folder = Folder::new();
    let installation = Installation::new(folder.path(), "[worker]\nconcurency = 4\n");
    installation.tell(&["serve"]).failed(2, &["concurency", "worker"]);
    assert!(!installation.data().exists());
    std::fs::write(folder.path().join("cowork.toml"), "").unwrap();
    let mut command = cowork(&["serve"]);
    command.env("COWORK_WEB__LISTEM", "127.0.0.1:0").current_dir(folder.path());
    told(command).failed(2, &["COWORK_WEB__LISTEM"]);
    assert!(!installation.data().exists());
}

#[test]
fn a_port_in_use_is_told_and_nothing_goes_on() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let installation = Installation::new(folder.path(), "");
    std::fs::write(folder.path().join("cowork.toml"), format!("[web]\nlisten = \"{address}\"\n")).unwrap();
    installation.tell(&["serve"]).failed(2, &[&address, "web.listen"]);
    assert_eq!(living_below(folder.path()), []);
}

/// In a mount namespace of its own, in which Debian's folder of server programs is empty.
#[test]
fn missing_server_programs_are_told_with_the_package_to_install() {
    if !can_mount() {
        return;
    }
    let folder = Folder::new();
    let (work, out) = (folder.make("work"), folder.path().join("report"));
    let binary = binary().display().to_string();
    let without = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs none /usr/lib/postgresql && PATH=/nowhere exec \"$0\" \"$@\"";
        command.args(["--mount", "sh", "-c", script, &binary]).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir(folder.path());
        told(command)
    };
    without(&["serve"]).failed(2, &["apt-get install postgresql"]);
    let (work_argument, out_argument) = (work.display().to_string(), out.display().to_string());
    let drill = without(&["drill", "run", "--work", &work_argument, "--out", &out_argument]);
    assert_eq!(drill.code, 2, "{}", drill.stderr);
    let report = Report::read(&out);
    assert_eq!(report.verdict(), "could_not_verify");
    assert!(report.0.to_string().contains("apt-get install postgresql"), "{}", report.0);
    assert_left_nothing(&work);
}

#[test]
fn a_full_disk_stops_a_drill_that_works_on_it() {
    let folder = Folder::new();
    // Less than a Postgres cluster takes.
    let Some(disk) = Disk::mount(&folder, "24m") else { return };
    let ended = Drill::start(&disk.0, &folder.path().join("report"), &[]).finish();
    assert_eq!(ended.code, 2, "{}", ended.said);
    assert_eq!(ended.report.verdict(), "could_not_verify");
    assert!(ended.report.0.to_string().contains("No space left"), "{}", ended.report.0["notes"]);
    assert_left_nothing(&disk.0);
}

#[test]
fn a_full_disk_for_the_report_is_told_before_anything_is_built() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder, "8k") else { return };
    let work = folder.make("work");
    // An earlier report takes all of it.
    std::fs::write(disk.0.join("report.md"), [b'x'; 8192]).unwrap();
    let mut command = cowork(&["drill", "run", "--work"]);
    command.arg(&work).arg("--out").arg(&disk.0);
    told(command).failed(2, &["No space left", "--out"]);
    assert_left_nothing(&work);
    let kept = walkdir::WalkDir::new(disk.0.join("earlier"))
        .into_iter()
        .flatten()
        .find(|entry| entry.path().ends_with("report.md"));
    assert!(kept.is_some(), "the earlier report is kept");
}

/// A small system that was backed up, and then stopped.
struct BackedUp {
    archive: PathBuf,
    source: Installation,
    folder: Folder,
}

impl BackedUp {
    async fn new() -> Self {
        let folder = Folder::new();
        let source = Installation::new(&folder.make("source"), "");
        let archive = folder.path().join("archive");
        let served = source.serve();
        let operator = served.operator();
        let session = operator.session_create("Worth keeping", "scripted").await.unwrap().session_id;
        let wish = Wish::Prompt { text: "write a.txt 2048\nwrite b.txt 4096".to_owned() };
        let command = operator.command_submit(session, "once", &wish).await.unwrap().command_id;
        wait_for_async("the prompt is carried out", async || {
            (operator.command_get(session, command).await.unwrap().state == "done").then_some(())
        })
        .await;
        source.tell(&["backup", "--archive", &archive.display().to_string()]).succeeded();
        assert_eq!(served.stop(), 0);
        Self { archive, source, folder }
    }

    /// The folder of the one backup.
    fn backup(archive: &Path) -> PathBuf {
        let mut backups = std::fs::read_dir(archive.join("backups")).unwrap().map(|entry| entry.unwrap().path());
        let backup = backups.find(|path| path.join("manifest.json").is_file());
        backup.expect("there is a backup")
    }

    /// Damages a copy of the archive, restores from it into an empty target, and holds the target to its emptiness.
    async fn restore_after(&self, name: &str, damage: impl FnOnce(&Path)) -> Told {
        let copy = self.folder.path().join(format!("archive-{name}"));
        copy_folder(&self.archive, &copy);
        damage(&copy);
        let database = TestDatabase::create().await;
        let target = self.target(name, &database);
        let told = restore(&target, &copy);
        assert_eq!(tables(&database.pool()).await, [""; 0], "{name}: the target's database was touched");
        assert!(is_empty(&target.data().join("objects")), "{name}: the target's objects were touched");
        told
    }

    fn target(&self, name: &str, database: &TestDatabase) -> Installation {
        let folder = self.folder.make(&format!("target-{name}"));
        Installation::new(&folder, &format!("[database]\nurl = {:?}\n", database.url()))
    }
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_the_target_stays_empty() {
    let backed_up = BackedUp::new().await;
    let manifest = |archive: &Path| BackedUp::backup(archive).join("manifest.json");
    let dump = |archive: &Path| BackedUp::backup(archive).join("database.dump");

    let told = backed_up.restore_after("cut-manifest", |archive| cut(&manifest(archive))).await;
    told.failed(1, &["manifest.json"]);
    let told = backed_up.restore_after("cut-dump", |archive| cut(&dump(archive))).await;
    told.failed(1, &["database.dump"]);
    let told = backed_up.restore_after("missing-blob", |archive| std::fs::remove_file(a_blob(archive)).unwrap()).await;
    told.failed(1, &["missing"]);
    let told = backed_up.restore_after("cut-blob", |archive| cut(&a_blob(archive))).await;
    told.failed(1, &["blob"]);
    let told = backed_up.restore_after("newer-backup", |archive| newer(&manifest(archive))).await;
    told.failed(2, &["version 99", "build"]);
    let told = backed_up.restore_after("newer-archive", |archive| newer(&archive.join("archive.json"))).await;
    told.failed(2, &["version 99", "build"]);
    let told = backed_up
        .restore_after("no-archive", |archive| std::fs::remove_file(archive.join("archive.json")).unwrap())
        .await;
    told.failed(2, &["archive.json"]);
    a_restore_into_its_own_source_is_refused(&backed_up).await;
    a_strangers_database_is_refused(&backed_up).await;
    a_restored_copy_is_not_served_before_its_generation(&backed_up).await;
    a_full_archive_disk_leaves_no_backup(&backed_up);
    a_key_that_is_none_is_told_by_its_name(&backed_up);
}

/// Of the running system: what it holds is the same afterwards.
async fn a_restore_into_its_own_source_is_refused(backed_up: &BackedUp) {
    let served = backed_up.source.serve();
    let before = served.operator().diagnostics().await.unwrap().counts;
    restore(&backed_up.source, &backed_up.archive).failed(2, &["is the source"]);
    assert_eq!(served.operator().diagnostics().await.unwrap().counts, before);
    assert_eq!(served.stop(), 0);
}

async fn a_strangers_database_is_refused(backed_up: &BackedUp) {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    sqlx::raw_sql("CREATE TABLE orchard (tree text); INSERT INTO orchard VALUES ('plum')")
        .execute(&pool)
        .await
        .unwrap();
    let target = backed_up.target("stranger", &database);
    restore(&target, &backed_up.archive).failed(2, &["not empty", "orchard"]);
    target.tell(&["serve"]).failed(2, &["not initialised"]);
    assert_eq!(tables(&pool).await, ["orchard"]);
    let trees: Vec<String> = sqlx::query_scalar("SELECT tree FROM orchard").fetch_all(&pool).await.unwrap();
    assert_eq!(trees, ["plum"]);
    assert!(is_empty(&target.data().join("objects")));
}

/// Restored without its last step, it is neither the system nor a drill copy of it, and nobody may act in its name.
async fn a_restored_copy_is_not_served_before_its_generation(backed_up: &BackedUp) {
    let database = TestDatabase::create().await;
    let target = backed_up.target("pending", &database);
    let (archive, id) = (backed_up.archive.display().to_string(), BackedUp::backup(&backed_up.archive));
    let id = id.file_name().unwrap().to_str().unwrap().to_owned();
    let restore = ["restore", "--archive", &archive, "--backup", "latest", "--environment", "drill"];
    target.tell(&[restore.as_slice(), &["--no-start-generation"]].concat()).succeeded();
    let marks = async || -> i64 {
        let sql = "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%cowork.generation_pending%'
            AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())";
        sqlx::query_scalar(sql).fetch_one(&database.pool()).await.unwrap()
    };
    assert_eq!(marks().await, 1);
    target.tell(&["serve", "--roles", "gateway"]).failed(2, &["generation has not been begun", &id]);
    target.tell(&["admin", "generation", "start", "--environment", "drill", "--backup", &id]).succeeded();
    assert_eq!(marks().await, 0);
}

/// By the command that a drill's third row asks, as an answer and not as an inability.
fn a_key_that_is_none_is_told_by_its_name(backed_up: &BackedUp) {
    std::fs::write(backed_up.source.data().join("secrets/adapter_key.key"), "not a key").unwrap();
    let told = backed_up.source.tell(&["admin", "verify", "--json"]);
    assert_eq!(told.code, 1, "{}", told.stderr);
    let verified: Value = serde_json::from_str(&told.stdout).unwrap();
    let unresolved: Vec<_> =
        verified["secrets"].as_array().unwrap().iter().filter(|it| it["resolved"] == false).collect();
    assert_eq!(unresolved.len(), 1, "{verified}");
    assert_eq!(unresolved[0]["name"], "adapter_key");
    assert!(!told.stdout.contains("not a key"), "{verified}");
}

fn a_full_archive_disk_leaves_no_backup(backed_up: &BackedUp) {
    let Some(disk) = Disk::mount(&backed_up.folder, "64k") else { return };
    let archive = disk.0.join("archive");
    backed_up.source.tell(&["backup", "--archive", &archive.display().to_string()]).failed(2, &["No space left"]);
    let left: Vec<_> = walkdir::WalkDir::new(archive.join("backups")).min_depth(1).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(living_below(backed_up.source.folder()), []);
}

fn restore(target: &Installation, archive: &Path) -> Told {
    let archive = archive.display().to_string();
    target.tell(&["restore", "--archive", &archive, "--backup", "latest", "--environment", "drill"])
}

async fn tables(pool: &PgPool) -> Vec<String> {
    let names = sqlx::query_scalar("SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace");
    names.fetch_all(pool).await.unwrap()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// Half of it is gone.
fn cut(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

/// As a later build would have written it: with its own sum, if there is one beside it.
fn newer(file: &Path) {
    let mut content: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    content["version"] = json!(99);
    let text = format!("{content}\n");
    std::fs::write(file, &text).unwrap();
    let sum = file.with_extension("sha256");
    if sum.is_file() {
        let before = std::fs::read_to_string(&sum).unwrap();
        let digest = attest::sha256_hex(text.as_bytes());
        std::fs::write(sum, format!("{digest}{}", &before[digest.len()..])).unwrap();
    }
}

fn a_blob(archive: &Path) -> PathBuf {
    let files = walkdir::WalkDir::new(archive.join("blobs")).into_iter().flatten();
    let mut blobs: Vec<_> =
        files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect();
    blobs.sort();
    blobs.into_iter().next().expect("the backup has blobs")
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(target).unwrap();
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[track_caller]
fn assert_left_nothing(work: &Path) {
    let left: Vec<_> = std::fs::read_dir(work).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(living_below(work), []);
}

/// A small disk, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None` where a test may not mount.
    fn mount(folder: &Folder, size: &str) -> Option<Self> {
        let path = folder.make(&format!("disk-{size}"));
        if !can_mount() {
            return None;
        }
        let options = format!("size={size},mode=755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "a small disk can be mounted");
        Some(Self(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Only root may, and not in every container. A test that needs it says so and is not carried out.
fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("not carried out: this account may not mount a small disk");
    }
    can
}
