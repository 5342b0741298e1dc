//! A drill as an operator runs it: what it leaves, what it never leaves, and what may happen meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{CHECKS, Drill, Ended, Folder, Report, journal, kill, living_below, of_role, wait_for};
use serde_json::Value;

/// Far below what a drill would wait for, far above what ending processes takes.
const AT_ONCE: Duration = Duration::from_secs(30);
const ROLES: [&str; 4] = ["web", "worker", "scheduler", "gateway"];

/// One of two that run at the same time also loses a process of every role while people are at work.
#[test]
fn two_drills_at_once_pass_although_roles_are_killed_and_the_report_is_whole() {
    let folder = Folder::new();
    let (calm, rough) = (folder.make("calm"), folder.make("rough"));
    let first = Drill::start(&calm, &folder.path().join("calm-report"), &[]);
    let mut second = Drill::start(&rough, &folder.path().join("rough-report"), &[]);
    kill_each_role_at_work(&mut second);

    let (first, second) = (first.finish(), second.finish());
    assert_passed(&second);
    assert_passed(&first);
    for out in ["calm-report", "rough-report"] {
        assert_whole(&folder.path().join(out));
    }
    for work in [&calm, &rough] {
        assert_empty(work);
    }
    an_interrupted_drill_keeps_the_report_of_the_one_before(&folder);
}

/// Into the folder that the first drill of above reported to; one drill less to wait for.
fn an_interrupted_drill_keeps_the_report_of_the_one_before(folder: &Folder) {
    let (work, out) = (folder.path().join("calm"), folder.path().join("calm-report"));
    let before = Report::read(&out);
    let mut drill = Drill::start(&work, &out, &[]);
    drill.wait_for_stage("source");
    wait_for("the source's roles come up", || (!of_role(&work, "worker").is_empty()).then_some(()));
    drill.interrupt();
    assert_interrupted(&drill.finish());
    assert_empty(&work);
    let kept = std::fs::read_dir(out.join("earlier")).unwrap().next().expect("the first report is kept").unwrap();
    assert_eq!(Report::read(&kept.path()).0, before.0);
    assert!(attest::verify(&kept.path().join("journal.jsonl")).unwrap().closed);
}

#[test]
fn what_a_killed_drill_left_is_removed_by_the_next_one() {
    let folder = Folder::new();
    let work = folder.make("work");
    let mut killed = Drill::start(&work, &folder.path().join("killed"), &[]);
    killed.wait_for_stage("source");
    wait_for("the source's roles come up", || (!of_role(&work, "gateway").is_empty()).then_some(()));
    kill(killed.running.pid());
    killed.running.wait();
    let left: Vec<u32> = living_below(&work).into_iter().map(|(pid, _)| pid).collect();
    assert!(left.len() > 6, "six roles and a server go on: {left:?}");

    let mut next = Drill::start(&work, &folder.path().join("next"), &[]);
    next.wait_for_stage("source");
    let living = living_below(&work);
    assert!(!living.iter().any(|(pid, _)| left.contains(pid)), "{living:?}");
    next.interrupt();
    assert_interrupted(&next.finish());
    assert_empty(&work);
}

/// Also where it waits for something: for the busy source, or for a person.
#[test]
fn a_drill_that_is_interrupted_does_not_wait_for_what_will_not_happen() {
    let folder = Folder::new();
    let work = folder.make("work");
    for (stage, extra) in [("backup", [].as_slice()), ("pause", &["--pause-after", "restore"])] {
        let mut drill = Drill::start(&work, &folder.path().join(stage), extra);
        drill.wait_for_stage(stage);
        let asked_at = Instant::now();
        drill.interrupt();
        assert_interrupted(&drill.finish());
        assert!(asked_at.elapsed() < AT_ONCE, "{stage}: it took {:?}", asked_at.elapsed());
        assert_empty(&work);
    }
}

/// `kill -9` of the processes of one role after the other, each once people are at work, and each back before the next.
fn kill_each_role_at_work(drill: &mut Drill) {
    let work = drill.work.clone();
    drill.wait_for_stage("source");
    wait_for("an agent is at work", || has_entries(&workspaces(&work)?).then_some(()));
    for role in ROLES {
        let before = of_role(&work, role);
        assert!(!before.is_empty(), "no {role} runs");
        before.iter().copied().for_each(kill);
        wait_for(&format!("every {role} is back"), || {
            let now = of_role(&work, role);
            (now.len() == before.len() && now.iter().all(|pid| !before.contains(pid))).then_some(())
        });
    }
    let concluded = journal(&drill.out).iter().any(|entry| entry["data"]["stage"] == "disaster");
    assert!(!concluded, "the source was gone before every role had been killed");
}

fn workspaces(work: &Path) -> Option<std::path::PathBuf> {
    let drills = std::fs::read_dir(work).ok()?.flatten().map(|entry| entry.path());
    drills.map(|drill| drill.join("workspaces")).find(|workspaces| workspaces.is_dir())
}

fn has_entries(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

#[track_caller]
fn assert_passed(ended: &Ended) {
    let failed: Vec<&Value> =
        ended.report.0["checks"].as_array().unwrap().iter().filter(|row| row["verdict"] != "passed").collect();
    assert_eq!(ended.code, 0, "{failed:#?}\n{}", ended.said);
    assert_eq!(ended.report.verdict(), "passed");
    assert_eq!(ended.report.ids(), CHECKS);
    assert_eq!(ended.report.rows_that("passed"), CHECKS);
}

#[track_caller]
fn assert_interrupted(ended: &Ended) {
    assert_eq!(ended.code, 2, "{}", ended.said);
    assert!(ended.said.contains("what to do: "), "{}", ended.said);
    assert_eq!(ended.report.verdict(), "could_not_verify");
    assert_eq!(ended.report.rows_that("could_not_verify"), CHECKS);
}

/// Every form of the report is there, the journal's chain holds, and every piece of evidence is what the report says.
#[track_caller]
fn assert_whole(out: &Path) {
    let report = Report::read(out);
    let schema: Value = serde_json::from_str(include_str!("../../crates/drill/report.schema.json")).unwrap();
    jsonschema::validate(&schema, &report.0).unwrap();
    let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
    for heading in ["Drill Metadata", "Required Restore Evidence", "Follow-Up"] {
        assert!(markdown.contains(heading), "{heading} is not in report.md");
    }
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    for remote in ["src=\"http", "href=\"http", "url(http"] {
        assert!(!html.contains(remote), "report.html is not self-contained: {remote}");
    }
    let summary = attest::verify(&out.join("journal.jsonl")).unwrap();
    assert!(summary.closed, "the journal is not closed");
    let evidence = report.0["checks"].as_array().unwrap().iter().flat_map(|row| row["evidence"].as_array().unwrap());
    let mut pieces = 0;
    for piece in evidence {
        let content = std::fs::read(out.join(piece["path"].as_str().unwrap())).unwrap();
        assert_eq!(piece["sha256"], attest::sha256_hex(&content), "{piece}");
        pieces += 1;
    }
    assert!(pieces >= CHECKS.len(), "every row has evidence; there are {pieces} pieces");
}

#[track_caller]
fn assert_empty(work: &Path) {
    let left: Vec<_> = std::fs::read_dir(work).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left: {left:?}");
    assert_eq!(living_below(work), []);
}
