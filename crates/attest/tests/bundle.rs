//! A small bundle, and everything that somebody could do to it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use attest::bundle::{self, EARLIER, ENVELOPE, JOURNAL, REPORT};
use attest::statement::{
    BACKUP, BUILD, CHECKS, CheckResult, Digest, PLAN, Predicate, Proof, Subject, Timings, Verdict,
};
use attest::{
    Answer, Envelope, EvidenceFolder, Head, Journal, Refusal, RunKey, SigningKey, Verified, VerifyError, sha256_hex,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tempfile::TempDir;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(second)
}

fn named() -> Vec<Subject> {
    let names = [BUILD, PLAN].into_iter().chain(BACKUP);
    names.map(|name| Subject { name: name.into(), digest: Digest { sha256: sha256_hex(name.as_bytes()) } }).collect()
}

fn check(id: &str) -> CheckResult {
    CheckResult { id: id.into(), verdict: Verdict::Passed, begun: true, comparisons: 3, findings: 0, codes: Vec::new() }
}

fn predicate(journal: Head) -> Predicate {
    let proof = Proof { held: true, steps: Vec::new() };
    Predicate {
        drill_id: "01980f6a-0000-7000-8000-000000000001".into(),
        build: "cowork 0.1.0".into(),
        key_id: key().id().into(),
        verdict: Verdict::Passed,
        checks: CHECKS.iter().map(|id| check(id)).collect(),
        timings: Timings {
            started_at: at(0),
            finished_at: at(20),
            rto_ms: Some(9_000),
            rto_objective_ms: 60_000,
            rpo_ms: Some(3_000),
            rpo_objective_ms: 60_000,
            stages: Vec::new(),
        },
        isolation: proof.clone(),
        clean_up: proof,
        journal,
    }
}

fn report() -> serde_json::Value {
    let row = |id| json!({"id": id, "verdict": "passed", "comparisons": 3, "findings_total": 0});
    json!({"verdict": "passed", "drill_id": "01980f6a-0000-7000-8000-000000000001", "build": "cowork 0.1.0",
        "build_sha256": sha256_hex(BUILD.as_bytes()), "checks": CHECKS.map(row)})
}

fn journal(folder: &Path) -> Head {
    let mut journal = Journal::open_new(&folder.join(JOURNAL)).unwrap();
    journal.record(at(1), "stage_started", json!({"stage": "restore"})).unwrap();
    journal.close(at(2)).unwrap()
}

/// Everything but the seal.
fn unsealed() -> (TempDir, Head) {
    let folder = tempfile::tempdir().unwrap();
    let head = journal(folder.path());
    EvidenceFolder::new(folder.path(), RunKey::unknown([9; 32])).write_text("redaction", "scan", "0").unwrap();
    fs::write(folder.path().join(REPORT), report().to_string()).unwrap();
    (folder, head)
}

fn sealed() -> TempDir {
    let (folder, head) = unsealed();
    bundle::seal(folder.path(), named(), predicate(head), &key()).unwrap();
    folder
}

fn verify(folder: &Path) -> Result<Verified, VerifyError> {
    bundle::verify(folder, &key().public())
}

#[track_caller]
fn refusal(folder: &Path) -> Refusal {
    match verify(folder) {
        Err(VerifyError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn codes(folder: &Path) -> Vec<&'static str> {
    refusal(folder).problems.iter().map(|problem| problem.code).collect()
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = [ENVELOPE, JOURNAL, REPORT, "evidence/redaction/scan.txt"];
    names.map(|name| (name.to_owned(), fs::read(folder.join(name)).unwrap())).into()
}

#[test]
fn an_untouched_bundle_is_verified_wherever_it_lies() {
    let folder = sealed();
    let verified = verify(folder.path()).unwrap();
    assert_eq!((verified.files, verified.statement.predicate.verdict), (3, Verdict::Passed));
    let moved = tempfile::tempdir().unwrap();
    for (name, bytes) in contents(folder.path()) {
        let path = moved.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(verify(moved.path()).unwrap(), verified);
}

/// Every bit of every byte of every file, every byte taken out, and a byte put in at every place.
#[test]
fn no_byte_of_any_file_can_be_changed_taken_out_or_put_in() {
    let folder = sealed();
    for (name, whole) in contents(folder.path()) {
        let path = folder.path().join(&name);
        let attempt = |spoiled: &[u8], what: &str, place: usize| {
            overwrite(&path, spoiled);
            assert!(verify(folder.path()).is_err(), "{name}: {what} at {place} is not noticed");
        };
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut spoiled = whole.clone();
                spoiled[place] ^= 1 << bit;
                attempt(&spoiled, "a flipped bit", place);
            }
            let without = [&whole[..place], &whole[place + 1..]].concat();
            attempt(&without, "a missing byte", place);
        }
        for place in 0..=whole.len() {
            let with = [&whole[..place], b" ", &whole[place..]].concat();
            attempt(&with, "a blank", place);
        }
        fs::write(&path, &whole).unwrap();
    }
    verify(folder.path()).unwrap();
}

/// In place: a file that is emptied first is written to the disk each time.
fn overwrite(path: &Path, bytes: &[u8]) {
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

#[test]
fn a_missing_an_extra_and_a_renamed_file_are_refused() {
    for name in contents(sealed().path()).into_keys() {
        let folder = sealed();
        fs::remove_file(folder.path().join(&name)).unwrap();
        let expect = if name == ENVELOPE { "unsigned" } else { "file_missing" };
        assert_eq!(codes(folder.path()), [expect], "{name}");

        let folder = sealed();
        fs::rename(folder.path().join(&name), folder.path().join("other")).unwrap();
        let expect: &[_] = if name == ENVELOPE { &["unsigned"] } else { &["file_missing", "file_extra"] };
        assert_eq!(codes(folder.path()), expect, "{name}");
    }
    let folder = sealed();
    fs::write(folder.path().join("evidence/redaction/more.txt"), "").unwrap();
    assert_eq!(codes(folder.path()), ["file_extra"]);
}

#[test]
fn two_files_that_changed_places_are_refused() {
    let folder = sealed();
    let [scan, report] = ["evidence/redaction/scan.txt", REPORT].map(|name| folder.path().join(name));
    let (first, second) = (fs::read(&scan).unwrap(), fs::read(&report).unwrap());
    fs::write(&scan, second).unwrap();
    fs::write(&report, first).unwrap();
    assert_eq!(codes(folder.path()), ["file_changed", "file_changed"]);
}

#[test]
fn drills_that_reported_to_the_same_folder_before_are_no_part_of_it() {
    let folder = sealed();
    fs::create_dir_all(folder.path().join(EARLIER).join("before")).unwrap();
    fs::write(folder.path().join(EARLIER).join("before").join(REPORT), "{}").unwrap();
    verify(folder.path()).unwrap();
}

#[test]
fn a_bundle_of_another_key_is_refused() {
    let folder = sealed();
    let other = SigningKey::from_seed(&[8; 32]).public();
    let Err(VerifyError::Refused(refusal)) = bundle::verify(folder.path(), &other) else { panic!("accepted") };
    assert_eq!(refusal.problems[0].code, "signature");
}

#[test]
fn a_drill_that_was_interrupted_is_called_so() {
    let (folder, _) = unsealed();
    assert_eq!(codes(folder.path()), ["unsigned"]);
    fs::remove_file(folder.path().join(REPORT)).unwrap();
    assert_eq!(codes(folder.path()), ["interrupted"], "it left no report");

    let (folder, _) = unsealed();
    let path = folder.path().join(JOURNAL);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.lines().next().unwrap().to_owned() + "\n").unwrap();
    assert_eq!(codes(folder.path()), ["interrupted"], "its journal has no end");
    fs::write(&path, &text[..text.len() - 5]).unwrap();
    assert_eq!(codes(folder.path()), ["interrupted"], "its last line is torn");
    fs::write(&path, text.replace("restore", "destroy")).unwrap();
    assert_eq!(codes(folder.path()), ["journal"], "a line was edited");
}

#[test]
fn a_folder_of_no_drill_is_not_judged() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(verify(empty.path()), Err(VerifyError::NoDrill)));
    assert!(verify(&empty.path().join("nowhere")).is_err());
    let answer = Answer::of(empty.path(), &key().public().to_pem());
    assert_eq!(answer.exit_code(), 2);
}

/// The key's holder is trusted, a drill that contradicts itself is not.
#[test]
fn what_contradicts_itself_is_neither_sealed_nor_verified() {
    type Spoil = fn(&mut Predicate);
    let spoils: [(&str, Spoil); 7] = [
        ("nine checks", |it| drop(it.checks.pop())),
        ("two that changed places", |it| it.checks.swap(0, 1)),
        ("a passed check that compared nothing", |it| it.checks[2].comparisons = 0),
        ("a passed check that was never begun", |it| it.checks[2].begun = false),
        ("a passed check with findings", |it| it.checks[2].findings = 1),
        ("a failed check in a drill that passed", |it| {
            (it.checks[2].verdict, it.checks[2].findings) = (Verdict::Failed, 1);
        }),
        ("a drill that failed without a failed check", |it| it.verdict = Verdict::Failed),
    ];
    for (what, spoil) in spoils {
        let (folder, head) = unsealed();
        let mut wrong = predicate(head);
        spoil(&mut wrong);
        assert!(bundle::seal(folder.path(), named(), wrong.clone(), &key()).is_err(), "{what} was sealed");
        let subjects = bundle::seal(folder.path(), named(), predicate(wrong.journal.clone()), &key()).unwrap().subject;
        let forged = attest::Statement::new(subjects, wrong);
        fs::write(folder.path().join(ENVELOPE), Envelope::sign(forged.render(), &key()).render()).unwrap();
        assert_eq!(codes(folder.path()), ["statement"], "{what}");
    }
}

#[test]
fn a_report_or_a_journal_that_says_something_else_is_refused() {
    let (folder, head) = unsealed();
    let mut other = predicate(head.clone());
    other.checks[4].comparisons = 4;
    bundle::seal(folder.path(), named(), other, &key()).unwrap();
    assert_eq!(codes(folder.path()), ["report"]);

    let (folder, head) = unsealed();
    bundle::seal(folder.path(), named(), predicate(Head { sequence: 1, ..head }), &key()).unwrap();
    assert_eq!(codes(folder.path()), ["journal"]);
}

#[test]
fn the_keys_name_on_the_envelope_is_the_one_that_was_signed() {
    let folder = sealed();
    let path = folder.path().join(ENVELOPE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(key().id(), "somebody-else")).unwrap();
    assert_eq!(codes(folder.path()), ["key_id"]);
}

#[test]
fn nothing_is_sealed_twice() {
    let folder = sealed();
    let head = verify(folder.path()).unwrap().statement.predicate.journal;
    assert!(bundle::seal(folder.path(), named(), predicate(head), &key()).is_err());
}

mod hostile {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    /// Signed paths that climb are only ever looked up in the list of what lies in the folder.
    #[test]
    fn a_signed_path_that_climbs_reads_nothing_outside() {
        let (folder, head) = unsealed();
        let subjects = bundle::seal(folder.path(), named(), predicate(head.clone()), &key()).unwrap().subject;
        for climbing in ["bundle/../secret", "bundle//etc/passwd", "bundle/", "bundle/evidence/../report.json"] {
            let mut more = subjects.clone();
            more.push(Subject { name: climbing.into(), digest: Digest { sha256: sha256_hex(b"") } });
            let statement = attest::Statement::new(more, predicate(head.clone()));
            fs::write(folder.path().join(ENVELOPE), Envelope::sign(statement.render(), &key()).render()).unwrap();
            assert_eq!(codes(folder.path()), ["file_missing"], "{climbing}");
        }
    }

    #[test]
    fn links_sockets_and_circles_are_refused() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("scan.txt"), "0").unwrap();
        let folder = sealed();
        let scan = folder.path().join("evidence/redaction/scan.txt");
        fs::remove_file(&scan).unwrap();
        symlink(outside.path().join("scan.txt"), &scan).unwrap();
        assert_eq!(codes(folder.path())[0], "folder", "a link to the same bytes");

        let folder = sealed();
        symlink(folder.path(), folder.path().join("evidence/circle")).unwrap();
        assert_eq!(codes(folder.path())[0], "folder", "a circle");

        let folder = sealed();
        let _socket = UnixListener::bind(folder.path().join("evidence/socket")).unwrap();
        assert_eq!(codes(folder.path())[0], "folder", "a socket");

        let folder = sealed();
        let envelope = folder.path().join(ENVELOPE);
        fs::rename(&envelope, outside.path().join(ENVELOPE)).unwrap();
        symlink(outside.path().join(ENVELOPE), &envelope).unwrap();
        assert!(matches!(verify(folder.path()), Err(VerifyError::Unreadable(_))), "a linked envelope");
    }

    #[test]
    fn huge_counts_depths_and_sizes_end_in_an_error() {
        let folder = sealed();
        let many = folder.path().join("many");
        fs::create_dir(&many).unwrap();
        (0..10_001).for_each(|n| drop(fs::File::create(many.join(n.to_string())).unwrap()));
        assert_eq!(codes(folder.path())[0], "folder");

        let folder = sealed();
        fs::create_dir_all(folder.path().join("a/".repeat(40))).unwrap();
        assert_eq!(codes(folder.path())[0], "folder");

        // Sparse: nobody has to have the space.
        let folder = sealed();
        let large = fs::File::options().write(true).open(folder.path().join(ENVELOPE)).unwrap();
        large.set_len(1 << 40).unwrap();
        assert!(matches!(verify(folder.path()), Err(VerifyError::Unreadable(_))));
    }

    #[test]
    fn many_problems_are_bounded_and_counted() {
        let folder = sealed();
        (0..80).for_each(|n| fs::write(folder.path().join(format!("extra-{n}")), "").unwrap());
        let refusal = refusal(folder.path());
        assert_eq!((refusal.problems.len(), refusal.total), (50, 80));
        assert!(refusal.to_string().ends_with("and 30 more"));
    }

    #[test]
    fn wrong_types_are_refused_without_a_panic() {
        let folder = sealed();
        let bodies = ["", "null", "[]", "{}", "{\"payload\":1}", "\u{0}", &"{".repeat(5_000), "{\"signatures\":[[]]}"];
        for body in bodies {
            fs::write(folder.path().join(ENVELOPE), body).unwrap();
            assert_eq!(codes(folder.path()), ["envelope"], "{body:.20}");
        }
        for payload in ["", "[]", "{}", "{\"_type\":1,\"predicateType\":{}}"] {
            let signed = Envelope::sign(payload.into(), &key()).render();
            fs::write(folder.path().join(ENVELOPE), signed).unwrap();
            assert_eq!(codes(folder.path()), ["statement"], "{payload}");
        }
    }
}
