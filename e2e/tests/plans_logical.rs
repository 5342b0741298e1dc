//! Drills of an environment that exists, from backups of its rows: our own archive, `pg_dump`'s files, a database that
//! somebody restored already. Healthy, and broken.
//!
//! Not here: physical backups (`plans_physical`, `plans_pgbackrest`).

use std::path::{Path, PathBuf};

use e2e::{Drill, Ended, Folder, PlanText, World, copy_folder, dump, tool};
use sqlx::{Connection as _, PgConnection};

/// A world, its backups, and the drills of them.
struct Story {
    folder: Folder,
    world: World,
}

impl Story {
    /// A world that was backed up in every way, and whose roles have stopped.
    async fn begin() -> Self {
        let folder = Folder::new();
        let mut world = World::build(&folder.make("world"), "").await;
        let archive = folder.path().join("archive").display().to_string();
        world.installation().tell(&["backup", "--archive", &archive]).succeeded();
        for format in ["custom", "directory", "plain"] {
            dump(&world, format, &folder.path().join(format));
        }
        world.stop_roles();
        copy_folder(&world.objects(), &folder.path().join("bucket"));
        Self { folder, world }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A drill of `plan`, which goes on beside the test.
    fn drill(&self, name: &str, plan: &PlanText) -> Drill {
        let plan = plan.write(&self.world, name);
        Drill::of_plan(&plan, &self.folder.make(&format!("work-{name}")), &self.path(&format!("report-{name}")))
    }

    fn of_archive(&self) -> PlanText {
        PlanText::of(&self.world, &format!("[source.archive]\nfolder = {:?}", self.path("archive")))
    }

    fn of_dump(&self, dump: &Path) -> PlanText {
        let source = format!("[source.dump]\npath = {dump:?}\nobjects = {:?}", self.path("bucket"));
        PlanText::of(&self.world, &source).expect("the sessions", "SELECT count(*) FROM sessions", "at_least = 7")
    }

    /// Of a database in the world's own server that somebody is said to have restored.
    fn of_provided(&self, url: &str) -> PlanText {
        let name = format!("url-{}", url.rsplit('/').next().unwrap_or_default().split('?').next().unwrap_or_default());
        std::fs::write(self.world.folder().join(&name), url).unwrap();
        let source = format!(
            "[source.provided]\nurl = \"file:{name}\"\nmark = \"a story\"\nobjects = {:?}\ntaken_at = \"{}\"",
            self.path("bucket"),
            chrono::DateTime::<chrono::Utc>::from(std::fs::metadata(self.path("custom")).unwrap().modified().unwrap())
                .to_rfc3339(),
        );
        PlanText::of(&self.world, &source).expect("the sessions", "SELECT count(*) FROM sessions", "at_least = 7")
    }

    /// A database that was restored from the dump, in the world's own server.
    fn restored(&self, name: &str) -> String {
        let url = self.world.another_database(name);
        tool("pg_restore", ["--no-owner", "--dbname", &url, &self.path("custom").display().to_string()]);
        url
    }

    /// A dump of what the statement makes of the restored rows.
    fn dump_of_changed(&self, name: &str, sql: &str) -> PathBuf {
        let url = self.restored(name);
        tool("psql", ["--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &url, "--command", sql]);
        let path = self.path(name);
        tool("pg_dump", ["--format=custom", "--file", &path.display().to_string(), &url]);
        path
    }

    /// What a file's first bytes are, to `name`.
    fn cut(&self, from: &str, name: &str, bytes: usize) -> PathBuf {
        let content = std::fs::read(self.path(from)).unwrap();
        assert!(content.len() > bytes, "{from} has {} bytes only", content.len());
        std::fs::write(self.path(name), &content[..bytes]).unwrap();
        self.path(name)
    }

    fn ended(&self, name: &str, plan: &PlanText) -> Ended {
        self.drill(name, plan).finish()
    }
}

#[tokio::test]
async fn backups_of_rows_are_drilled_to_passed() {
    let story = Story::begin().await;
    let pairs = [("custom", "archive"), ("plain", "directory")];
    for (one, other) in pairs {
        let plan = |name: &str| match name {
            "archive" => story.of_archive(),
            name => story.of_dump(&story.path(name)),
        };
        let (first, second) = (story.drill(one, &plan(one)), story.drill(other, &plan(other)));
        for (name, ended) in [(one, first.finish()), (other, second.finish())] {
            let summary = ended.passed().report.0["checks"][0]["summary"].as_str().unwrap().to_owned();
            assert_eq!(summary.starts_with("reduced"), name != "archive", "{name}: {summary}");
        }
    }
}

#[tokio::test]
async fn a_dump_that_is_not_whole_or_not_of_this_schema_is_refused_with_its_reason() {
    let story = Story::begin().await;
    let half = |name: &str| usize::try_from(std::fs::metadata(story.path(name)).unwrap().len()).unwrap() / 2;
    let gutted = story.path("gutted");
    copy_folder(&story.path("directory"), &gutted);
    std::fs::remove_file(gutted.join("toc.dat")).unwrap();
    let newest = "(SELECT max(version) FROM _sqlx_migrations)";
    let older = format!("DELETE FROM _sqlx_migrations WHERE version = {newest}");
    let newer = format!(
        "INSERT INTO _sqlx_migrations SELECT version + 1, description, installed_on, success, checksum, execution_time \
         FROM _sqlx_migrations WHERE version = {newest}"
    );
    let broken = [
        ("empty", "dump_empty", "an empty file", story.cut("plain", "empty", 0)),
        ("half-plain", "dump_truncated", "a part of it is missing", story.cut("plain", "half-plain", half("plain"))),
        ("half-custom", "dump_broken", "can't be loaded", story.cut("custom", "half-custom", half("custom"))),
        ("gutted", "dump_broken", "no table of contents", gutted),
        (
            "strange",
            "not_ours",
            "",
            story.dump_of_changed("strange", "DROP SCHEMA public CASCADE; CREATE SCHEMA public"),
        ),
        ("older", "other_schema", "", story.dump_of_changed("older", &older)),
        ("newer", "other_schema", "", story.dump_of_changed("newer", &newer)),
    ];
    for (name, code, what, path) in broken {
        let ended = story.ended(&format!("drill-{name}"), &story.of_dump(&path));
        ended.refused_by_row_1(code, what);
    }
}

#[tokio::test]
async fn what_a_dump_without_a_manifest_lost_is_seen_by_the_schema_the_objects_and_the_plans_numbers() {
    let story = Story::begin().await;
    let lost = "DROP INDEX artifacts_session; ALTER TABLE sessions ALTER COLUMN created_at DROP NOT NULL";
    let lost = story.dump_of_changed("lost", lost);
    let mut bucket = walkdir::WalkDir::new(story.path("bucket")).into_iter().flatten();
    let blob =
        bucket.find(|entry| entry.path().to_string_lossy().contains("/artifacts/") && entry.file_type().is_file());
    std::fs::remove_file(blob.unwrap().path()).unwrap();
    let plan = story.of_dump(&lost).expect("sessions", "SELECT count(*) FROM sessions", "equals = 1000");
    let ended = story.ended("drill-lost", &plan);
    ended.refused_by_row_1("catalogue_missing", "artifacts_session");
    ended.report.assert_found("postgres-restore", "expectation", "the plan expects 1000");
    ended.report.assert_found("object-store-restore", "blob_missing", "is missing");
}

#[tokio::test]
async fn a_provided_database_is_drilled_if_it_is_marked_and_never_if_it_is_productions() {
    let story = Story::begin().await;
    let copy = story.restored("copy");
    let refused = |name: &str, plan: &PlanText, what: &str| {
        let ended = story.ended(name, plan);
        assert_eq!((ended.code, ended.report.verdict()), (2, "could_not_verify"), "{name}: {}", ended.said);
        let notes = ended.report.0["notes"].to_string();
        assert!(notes.contains(what), "{name}: {notes}");
    };
    let mark = "ALTER DATABASE copy SET cowork.drill_target = 'a story'";
    refused("unmarked", &story.of_provided(&copy), "is not marked as this drill's target");
    tool("psql", ["--quiet", "--dbname", &copy, "--command", mark]);

    let live = story.world.database_url();
    std::fs::write(story.world.folder().join("live"), &live).unwrap();
    let production = "[production]\ndatabase = \"file:live\"";
    refused("production", &story.of_provided(&live).and(production), "is production's: both have one URL");
    let other_name = live.replace("localhost", "127.0.0.1");
    std::fs::write(story.world.folder().join("live"), other_name).unwrap();
    let marked = "ALTER DATABASE cowork SET cowork.drill_target = 'a story'";
    tool("psql", ["--quiet", "--dbname", &live, "--command", marked]);
    refused("disguised", &story.of_provided(&live).and(production), "is production's: one server");
    let objects = format!("[production]\nobjects = {:?}", story.folder.path());
    refused("objects", &story.of_provided(&copy).and(&objects), "production's object store");

    let before: i64 = story.world.ask("SELECT count(*) FROM events").await;
    let used = PgConnection::connect(&copy).await.unwrap();
    refused("used", &story.of_provided(&copy), "others are connected");
    used.close().await.unwrap();
    story.ended("marked", &story.of_provided(&copy).and(production)).passed();
    let after: i64 = story.world.ask("SELECT count(*) FROM events").await;
    assert_eq!(before, after, "production was not touched");
}
