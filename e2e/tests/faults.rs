//! The quick part of the corpus: a broken world for each row has to be noticed by it and by no other, a whole one has to
//! pass, and a judge that leaves a comparison out has to miss something.
//!
//! All of it is `make faults` and `make judge-mutations`.

use std::process::Command;

use e2e::{Folder, binary};
use serde_json::Value;

/// How many worlds and judges the quick part has.
const FAULTS: usize = 8;
const HEALTHY: usize = 2;
const BLIND: usize = 4;

#[test]
fn the_quick_part_of_the_corpus_is_caught_passes_and_notices_blind_judges() {
    let folder = Folder::new();
    let work = folder.make("work");
    let mut command = Command::new(binary());
    command.args(["drill", "faults", "--all", "--mutations", "--quick", "--json", "--work"]).arg(&work);
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    let outcome: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let all = |list: &str, verdict: &str| {
        let tried = outcome[list].as_array().unwrap();
        let wrong: Vec<&Value> = tried.iter().filter(|one| one[verdict] != true).collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{said}");
        tried.len()
    };
    assert_eq!((all("faults", "caught"), all("healthy", "passed")), (FAULTS, HEALTHY));
    assert_eq!(all("mutations", "noticed"), BLIND);
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(std::fs::read_dir(&work).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_judge_that_leaves_a_comparison_out_fails_the_corpus() {
    let folder = Folder::new();
    let mut command = Command::new(binary());
    command.args(["drill", "faults", "--quick", "--json", "--blind", "object-store-restore:blob_content", "--work"]);
    let done = command.arg(folder.make("work")).output().unwrap();
    let outcome: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stderr));
    let faults = outcome["faults"].as_array().unwrap();
    assert_eq!(faults.iter().filter(|fault| fault["caught"] == false).count(), 1, "{outcome:#}");
}
