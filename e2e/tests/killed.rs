//! `kill -9` of a drill: wherever it was, `cowork drill clean` leaves nothing of it, and nobody calls it passed.
//!
//! A drill that is told so kills itself when an entry of its journal is on disk, so that each entry is one case. The
//! whole walk takes minutes and is `make killed-drills`; a spread of it runs always. Between two entries tools are at work
//! that the drill does not wait for when it is killed: those are looked for from outside.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use e2e::{Drill, Folder, binary, journal, kill, living_below, wait_for};

/// From the first entry to those of the restored system's last role.
const SPREAD: [u64; 5] = [1, 5, 14, 26, 40];
/// Drills at the same time.
const AT_ONCE: usize = 2;
/// What a drill runs for a while, as its command line begins or goes on.
const AT_WORK: [&str; 4] = ["/initdb -D ", " backup --archive ", " restore ", " serve --roles worker "];

#[test]
fn a_drill_that_is_killed_at_any_of_a_spread_of_entries_leaves_nothing_after_a_clean() {
    std::thread::scope(|scope| {
        for half in SPREAD.chunks(SPREAD.len().div_ceil(AT_ONCE)) {
            scope.spawn(move || half.iter().for_each(|entry| assert!(killed_at(*entry), "it has no entry {entry}")));
        }
    });
}

/// A drill that was not killed has no such entry, and the walk is at its end.
#[test]
#[ignore = "it takes minutes: `make killed-drills`"]
fn a_drill_that_is_killed_at_any_entry_leaves_nothing_after_a_clean() {
    let (next, last) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let entry = next.fetch_add(1, Ordering::Relaxed);
                    if entry >= last.load(Ordering::Relaxed) {
                        return;
                    }
                    if killed_at(entry) {
                        println!("killed at entry {entry}: nothing left");
                    } else {
                        last.fetch_min(entry, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!("every one of {} entries", last.into_inner() - 1);
}

#[test]
fn a_drill_that_is_killed_while_a_tool_is_at_work_leaves_nothing_after_a_clean() {
    std::thread::scope(|scope| {
        for half in AT_WORK.chunks(AT_WORK.len().div_ceil(AT_ONCE)) {
            scope.spawn(move || half.iter().copied().for_each(killed_while_at_work));
        }
    });
}

fn killed_while_at_work(tool: &str) {
    let folder = Folder::new();
    let (work, out) = (folder.make("work"), folder.path().join("report"));
    let mut drill = Drill::start(&work, &out, &["--scale", "0"]);
    wait_for(&format!("{tool:?} is at work"), || {
        assert_eq!(drill.running.ended(), None, "{}", drill.running.said());
        living_below(&work).iter().any(|(_, line)| line.contains(tool)).then_some(())
    });
    kill(drill.running.pid());
    drill.running.wait();
    assert_interrupted_and_cleaned(&work, &out, &format!("killed while {tool:?} was at work"));
}

/// Whether it came to that entry and was killed.
fn killed_at(entry: u64) -> bool {
    let folder = Folder::new();
    let (work, out) = (folder.make("work"), folder.path().join("report"));
    let entries = entry.to_string();
    let mut drill = Drill::start(&work, &out, &["--scale", "0", "--die-after-entry", &entries]);
    match drill.running.wait() {
        -1 => {}
        0 => return false,
        code => panic!("to be killed at {entry}, it ended with {code}: {}", drill.running.said()),
    }
    assert_eq!(journal(&out).len() as u64, entry);
    assert_interrupted_and_cleaned(&work, &out, &format!("killed at {entry}"));
    true
}

#[track_caller]
fn assert_interrupted_and_cleaned(work: &Path, out: &Path, case: &str) {
    assert!(!out.join("report.json").exists(), "{case}, it left a report");
    let call = |arguments: &[&str], folder: &Path| {
        Command::new(binary()).args(arguments).arg(folder).output().expect("the binary can be started")
    };
    let cleaned = call(&["drill", "clean", "--work"], work);
    assert!(cleaned.status.success(), "{case}: {}", String::from_utf8_lossy(&cleaned.stdout));
    assert_eq!(living_below(work), [], "{case}");
    let left: Vec<_> = std::fs::read_dir(work).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(left, [] as [std::path::PathBuf; 0], "{case}");

    let history = call(&["drill", "history"], out);
    let told = String::from_utf8_lossy(&history.stdout);
    assert!(told.contains("interrupted") && !told.contains("passed"), "{case}: {told}");
}
