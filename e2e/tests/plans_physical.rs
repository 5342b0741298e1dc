//! Drills of `pg_basebackup` with archived WAL: recovered to an instant that is seen from both sides, to the newest point,
//! and broken in the ways that a server starts with all the same.
//!
//! Not here: pgBackRest (`plans_pgbackrest`).

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use e2e::{Drill, Folder, Physical, PlanText, World, copy_folder};

/// A world whose base backup and WAL are there, with an instant between two sessions.
struct Story {
    folder: Folder,
    world: World,
    backup: Physical,
    instant: DateTime<Utc>,
}

impl Story {
    async fn begin(extra: &[&str]) -> Self {
        let folder = Folder::new();
        let (backup, server) = Physical::new(folder.path());
        let mut world = World::build(&folder.make("world"), &server).await;
        backup.back_up(&world, extra);
        // After the backup's checkpoint, so that the WAL has the page as a whole.
        let _: i64 =
            world.ask("WITH u AS (UPDATE memberships SET role = role RETURNING 1) SELECT count(*) FROM u").await;
        world.remember("before the instant").await;
        let instant = world.instant().await;
        world.remember("after the instant").await;
        world.stop_roles();
        backup.archive(&world).await;
        copy_folder(&world.objects(), &folder.path().join("bucket"));
        Self { folder, world, backup, instant }
    }

    fn plan(&self, base: &Path, wal: &Path, until: Option<DateTime<Utc>>) -> PlanText {
        let until = until.map_or_else(|| "latest".to_owned(), |at| at.to_rfc3339());
        let source = format!(
            "[source.base_backup]\nfolder = {base:?}\nwal = {wal:?}\nobjects = {:?}\nuntil = \"{until}\"\n\
             database = \"cowork\"\nuser = \"cowork\"",
            self.folder.path().join("bucket")
        );
        PlanText::of(&self.world, &source)
    }

    fn to_the_instant(&self) -> PlanText {
        self.plan(&self.backup.base, &self.backup.wal, Some(self.instant))
            .two_sided("before the instant", "after the instant")
    }

    fn drill(&self, name: &str, plan: &PlanText) -> Drill {
        let plan = plan.write(&self.world, name);
        let out = self.folder.path().join(format!("report-{name}"));
        Drill::of_plan(&plan, &self.folder.make(&format!("work-{name}")), &out)
    }

    fn newest(&self, base: &Path, wal: &Path) -> PlanText {
        self.plan(base, wal, None).expect("the sessions", "SELECT count(*) FROM sessions", "at_least = 8")
    }

    /// A copy of `folder`, to be damaged.
    fn copy(&self, folder: &Path, name: &str) -> PathBuf {
        let to = self.folder.path().join(name);
        copy_folder(folder, &to);
        to
    }

    /// The file of a relation, in a copy of the base backup in which one byte of its first page is another.
    async fn flipped(&self, relation: &str, at: u64) -> PathBuf {
        let base = self.copy(&self.backup.base, &format!("flipped-{relation}"));
        let file: String = self.world.ask(&format!("SELECT pg_relation_filepath('{relation}')")).await;
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(base.join(file)).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[byte[0] ^ 0x10]).unwrap();
        base
    }
}

#[tokio::test]
async fn a_base_backup_is_recovered_to_an_instant_and_to_the_newest_point() {
    let story = Story::begin(&[]).await;
    let before = story.backup.segments();
    let instant = story.drill("instant", &story.to_the_instant());
    let newest = story.drill("newest", &story.newest(&story.backup.base, &story.backup.wal));
    instant.finish().passed();
    newest.finish().passed();
    assert_eq!(story.backup.segments(), before, "a restored server archives nothing where the source does");
}

#[tokio::test]
async fn a_recovery_that_did_not_arrive_is_refused_with_its_reason() {
    let story = Story::begin(&[]).await;
    let segments = story.backup.segments();
    assert!(segments.len() >= 3, "{segments:?}");
    let holed = story.copy(&story.backup.wal, "holed");
    std::fs::remove_file(holed.join(&segments[segments.len() - 2])).unwrap();
    let without = story.copy(&story.backup.wal, "without");
    segments.iter().for_each(|name| std::fs::remove_file(without.join(name)).unwrap());
    let at = |offset: i64| Some(story.instant + TimeDelta::seconds(offset));
    let (base, wal) = (&story.backup.base, &story.backup.wal);
    let cases = [
        ("holed", "wal_missing", story.newest(base, &holed)),
        ("without", "wal_missing", story.newest(base, &without)),
        ("unreached", "target_unreached", story.plan(base, wal, at(86_400))),
        ("too-early", "target_before_backup", story.plan(base, wal, at(-86_400))),
    ];
    for (name, code, plan) in cases {
        story.drill(name, &plan).finish().refused_by_row_1(code, "");
    }
    // The same instant, seen by somebody who knows better: a recovery that went past it would look like this.
    let wrong = story.plan(base, wal, Some(story.instant)).two_sided("after the instant", "before the instant");
    let ended = story.drill("wrong-side", &wrong).finish();
    ended.refused_by_row_1("expectation", "(from before the instant) is 0, the plan expects 1");
    ended.report.assert_found("postgres-restore", "expectation", "(from after the instant) is 1, the plan expects 0");
}

/// Where the backup has no list of checksums, its pages have their own. A page that the WAL writes anew is found too, though the
/// restored system would be well.
#[tokio::test]
async fn a_flipped_byte_in_a_heap_or_an_index_is_found() {
    let story = Story::begin(&["--no-manifest"]).await;
    for (relation, at) in [("accounts", 8_100), ("memberships", 8_100), ("accounts_pkey", 8_192 + 8_100)] {
        let base = story.flipped(relation, at).await;
        let ended = story.drill(relation, &story.newest(&base, &story.backup.wal)).finish();
        ended.refused_by_row_1("backup_damaged", "1 pages of the backup don't have their checksum");
    }
}

#[tokio::test]
async fn a_flipped_byte_is_found_by_the_backups_own_manifest() {
    let story = Story::begin(&[]).await;
    let base = story.flipped("accounts", 8_100).await;
    let ended = story.drill("manifest", &story.newest(&base, &story.backup.wal)).finish();
    ended.refused_by_row_1("backup_damaged", "pg_verifybackup finds damage");
}
