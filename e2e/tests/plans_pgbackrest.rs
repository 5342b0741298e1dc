//! Drills of a real pgBackRest repository, with point-in-time recovery.
//!
//! pgBackRest comes with `scripts/install test`; without it these stories fail.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use e2e::{Drill, Folder, PgBackRest, PlanText, World, copy_folder, wait_for_async};
use walkdir::WalkDir;

struct Story {
    folder: Folder,
    world: World,
    backup: PgBackRest,
    instant: DateTime<Utc>,
}

impl Story {
    async fn begin() -> Self {
        let folder = Folder::new();
        let (backup, server) = PgBackRest::new(folder.path());
        let mut world = World::build(&folder.make("world"), &server).await;
        backup.back_up(&world);
        let ended = world.instant().await;
        world.remember("before the instant").await;
        // pgBackRest counts in whole seconds.
        let instant = wait_for_async("a later second than that of the backup", async || {
            Some(world.instant().await).filter(|now| *now > ended + TimeDelta::seconds(2))
        })
        .await;
        world.remember("after the instant").await;
        world.stop_roles();
        backup.archive(&world).await;
        copy_folder(&world.objects(), &folder.path().join("bucket"));
        Self { folder, world, backup, instant }
    }

    fn plan(&self, config: &Path, until: DateTime<Utc>) -> PlanText {
        let source = format!(
            "[source.pgbackrest]\nstanza = \"main\"\nconfig = {config:?}\nobjects = {:?}\nuntil = \"{}\"\n\
             database = \"cowork\"\nuser = \"cowork\"",
            self.folder.path().join("bucket"),
            until.to_rfc3339(),
        );
        PlanText::of(&self.world, &source).two_sided("before the instant", "after the instant")
    }

    fn drill(&self, name: &str, plan: &PlanText) -> Drill {
        let plan = plan.write(&self.world, name);
        let out = self.folder.path().join(format!("report-{name}"));
        Drill::of_plan(&plan, &self.folder.make(&format!("work-{name}")), &out)
    }

    /// The configuration of a copy of the repository, to be damaged.
    fn copy(&self, name: &str) -> (PathBuf, PathBuf) {
        let repository = self.folder.path().join(name);
        copy_folder(&self.backup.repository(), &repository);
        let text = std::fs::read_to_string(self.backup.config()).unwrap();
        let text = text.replace(&self.backup.repository().display().to_string(), &repository.display().to_string());
        let config = self.folder.path().join(format!("{name}.conf"));
        std::fs::write(&config, text).unwrap();
        (repository, config)
    }
}

/// Files below `folder` whose path has `part` in it, in order.
fn files(folder: &Path, part: &str) -> Vec<PathBuf> {
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    let paths = entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    paths.filter(|path| path.to_string_lossy().contains(part)).collect()
}

/// The repository's files, but not the locks.
fn contents(repository: &Path) -> Vec<PathBuf> {
    files(repository, "")
}

#[tokio::test]
async fn a_repository_is_recovered_to_an_instant_and_left_as_it_is() {
    let story = Story::begin().await;
    let before = contents(&story.backup.repository());
    story.drill("instant", &story.plan(&story.backup.config(), story.instant)).finish().passed();
    assert_eq!(contents(&story.backup.repository()), before);
}

#[tokio::test]
async fn a_damaged_repository_is_refused_with_its_reason() {
    let story = Story::begin().await;
    let segments = |repository: &Path| -> Vec<PathBuf> {
        let archived = files(repository, "/archive/main/").into_iter();
        archived.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().len() > 60)).collect()
    };
    let (repository, holed) = story.copy("holed");
    let names = segments(&repository);
    assert!(names.len() >= 3, "{names:?}");
    std::fs::remove_file(&names[names.len() - 2]).unwrap();

    let (repository, flipped) = story.copy("flipped");
    let heap: String = story.world.ask("SELECT pg_relation_filepath('accounts')").await;
    let file = files(&repository, &format!("/pg_data/{heap}.")).pop().expect("the table is in the repository");
    let mut content = std::fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0x10;
    std::fs::write(&file, content).unwrap();

    let config = story.backup.config();
    let at = |offset: i64| story.instant + TimeDelta::seconds(offset);
    let cases = [
        ("holed", "wal_missing", story.plan(&holed, story.instant)),
        ("flipped", "backup_damaged", story.plan(&flipped, story.instant)),
        ("unreached", "target_unreached", story.plan(&config, at(86_400))),
        ("too-early", "target_before_backup", story.plan(&config, at(-86_400))),
    ];
    for (name, code, plan) in cases {
        story.drill(name, &plan).finish().refused_by_row_1(code, "");
    }
}
