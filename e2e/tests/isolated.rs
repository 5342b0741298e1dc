//! A rehearsal has no way to the outside where the machine allows that, and its report says so where it does not.

use std::process::Command;

use e2e::{Drill, Ended, Folder};

/// What the stages say that saw where the roles run; the seal's proof of isolation is made of the same.
fn proofs(ended: &Ended) -> Vec<Option<String>> {
    let stages = ended.report.0["stages"].as_array().expect("a report has stages");
    let proof = |id: &str| {
        let stage = stages.iter().find(|stage| stage["id"] == id).unwrap_or_else(|| panic!("no stage {id}"));
        stage["proof"].as_str().map(str::to_owned)
    };
    ["isolation", "scan"].map(proof).into()
}

fn may_make_namespaces() -> bool {
    Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|status| status.success())
}

#[test]
fn a_rehearsal_has_no_way_out_or_its_report_says_that_nobody_knows() {
    let folder = Folder::new();
    let drill = Drill::start(&folder.make("work"), &folder.path().join("report"), &["--scale", "0"]).finish();
    let notes = drill.passed().report.0["notes"].to_string();
    if may_make_namespaces() {
        let seen = proofs(&drill).into_iter().map(|proof| proof.expect("it was seen")).collect::<Vec<_>>();
        assert!(seen[0].contains("in a network namespace without a route"), "{seen:?}");
        assert!(seen[1].contains("6 of 6 running roles were seen"), "{seen:?}");
    } else {
        assert_eq!(proofs(&drill), [None, None]);
        assert!(notes.contains("isolation could not be verified: a network namespace can't be made"), "{notes}");
    }
}

/// As on a machine whose containers may do less: root without the capability that it takes.
#[test]
fn where_the_machine_does_not_allow_it_the_drill_goes_on_and_proves_nothing() {
    let folder = Folder::new();
    let limited = Drill::limited(&folder.make("work"), &folder.path().join("report"), &["--scale", "0"]).finish();
    let notes = limited.passed().report.0["notes"].to_string();
    assert_eq!(proofs(&limited), [None, None]);
    assert!(notes.contains("isolation could not be verified: a network namespace can't be made: EPERM"), "{notes}");
}

#[test]
fn a_rehearsal_that_requires_isolation_does_not_begin_without_it() {
    let folder = Folder::new();
    let extra = ["--scale", "0", "--isolation", "required"];
    let ended = Drill::limited(&folder.make("work"), &folder.path().join("report"), &extra).finish();
    assert_eq!((ended.code, ended.report.verdict()), (2, "could_not_verify"), "{}", ended.said);
    let report = ended.report.0.to_string();
    assert!(report.contains("isolation is required, and there is none"), "{report}");
    let stages = ended.report.0["stages"].as_array().expect("a report has stages");
    assert!(!stages.iter().any(|stage| stage["id"] == "source"), "nothing was built");
}
