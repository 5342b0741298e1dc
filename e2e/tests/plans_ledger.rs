//! A drill by a plan whose lost system has a recovery ledger: what was decided after the backup is remembered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use e2e::{Drill, Ended, Folder, PlanText, World, wait_for_async};

/// What a guest may do whose token is revoked after the backup.
const GUEST: [&str; 1] = ["sessions.read"];

struct Story {
    folder: Folder,
    world: World,
}

impl Story {
    /// A world that was backed up, and in which a token was revoked and slots fired after it.
    async fn begin() -> Self {
        let folder = Folder::new();
        let mut world = World::build(&folder.make("world"), "").await;
        let operator = world.operator();
        let guest = operator.token_create("a guest", &GUEST, None).await.expect("a token can be made");
        let archive = folder.path().join("archive").display().to_string();
        world.installation().tell(&["backup", "--archive", &archive]).succeeded();
        let slots: i64 = world.ask("SELECT count(*) FROM slots").await;
        operator.token_revoke(guest.token_id).await.expect("a token can be revoked");
        wait_for_async("a slot fires after the backup", async || {
            (world.ask::<i64>("SELECT count(*) FROM slots").await > slots).then_some(())
        })
        .await;
        world.stop_roles();
        Self { folder, world }
    }

    fn ledger(&self) -> PathBuf {
        self.world.folder().join("cowork-data/ledger")
    }

    fn plan(&self) -> PlanText {
        PlanText::of(&self.world, &format!("[source.archive]\nfolder = {:?}", self.folder.path().join("archive")))
    }

    fn drill(&self, name: &str, plan: &PlanText) -> Ended {
        let plan = plan.write(&self.world, name);
        let out = self.folder.path().join(format!("report-{name}"));
        Drill::of_plan(&plan, &self.folder.make(&format!("work-{name}")), &out).finish()
    }
}

/// Every file below `folder`, with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("a folder can be read"));
    let files = entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    files.map(|path| (path.clone(), std::fs::read(path).expect("a file can be read"))).collect()
}

#[tokio::test]
async fn a_plans_ledger_is_replayed_and_stays_as_it_is() {
    let story = Story::begin().await;
    let before = files(&story.ledger());
    assert!(!before.is_empty(), "the lost system wrote its ledger");

    let ended = story.drill("with", &story.plan().with(&format!("ledger = {:?}", story.ledger())));
    let remembered = &ended.passed().report.0["remembered"];
    assert_eq!(remembered["ledger"], "read", "{remembered:#}");
    assert_eq!(remembered["known"]["tokens_revoked"], 1, "{remembered:#}");
    assert!(remembered["known"]["slots_fired"].as_u64() > Some(0), "{remembered:#}");
    assert!(files(&story.ledger()) == before, "a drill fences nobody and writes nothing into the lost system's ledger");

    // The same backup, and nobody tells what was decided after it.
    let ended = story.drill("without", &story.plan());
    let forgotten = &ended.passed().report.0["remembered"];
    assert_eq!((&forgotten["ledger"], &forgotten["records"]), (&"not_given".into(), &0.into()), "{forgotten:#}");
}

#[tokio::test]
async fn a_plans_ledger_that_is_damaged_is_told_in_the_report() {
    let story = Story::begin().await;
    let segment =
        files(&story.ledger()).into_keys().find(|path| path.components().any(|part| part.as_os_str() == "segments"));
    let segment = segment.expect("the ledger has a segment");
    let mut bytes = std::fs::read(&segment).expect("a file can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).expect("a file can be written");

    let ended = story.drill("damaged", &story.plan().with(&format!("ledger = {:?}", story.ledger())));
    let remembered = &ended.report.0["remembered"];
    let findings = remembered["findings"].as_array().expect("the restore tells what is wrong with the ledger");
    assert!(findings.iter().any(|finding| finding["normal"] == false), "{remembered:#}");
    assert_eq!(remembered["complete"], false, "{remembered:#}");
}
