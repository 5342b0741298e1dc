//! Folders as drills leave them, half of them and what is none.

use std::path::Path;

use attest::statement::{
    BACKUP, BUILD, CHECKS, CheckResult, Digest, PLAN, Predicate, Proof, Subject, Timings, Verdict,
};
use attest::{Head, Journal, PublicKey, SigningKey};
use chrono::{DateTime, TimeDelta, Utc};
use domain::tenancy::{Role, Scope};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::testing::World;

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

fn id(number: u32) -> String {
    Uuid::from_u128(number.into()).to_string()
}

/// Begins a drill's journal in a new folder.
fn begun(folder: &Path, number: u32) -> Journal {
    std::fs::create_dir_all(folder).unwrap();
    let mut journal = Journal::open_new(&folder.join("journal.jsonl")).unwrap();
    let begun = json!({"drill_id": id(number), "build": "1.2.3"});
    journal.record(at(number.into()), "drill_started", begun).unwrap();
    journal
}

/// What a drill leaves that passed. Gives back its id.
pub(crate) fn left(folder: &Path, number: u32) -> String {
    concluded(folder, number);
    id(number)
}

fn concluded(folder: &Path, number: u32) -> Head {
    let head = begun(folder, number).close(at(i64::from(number) + 1)).unwrap();
    std::fs::write(folder.join("report.json"), report(number).to_string()).unwrap();
    head
}

fn report(number: u32) -> Value {
    let row = |id: &&str| {
        json!({
            "id": id, "title": "A row", "evidence_to_collect": "counts", "pass_condition": "they are equal",
            "verdict": "passed", "summary": "all equal", "begun": true, "comparisons": 3, "findings": [], "findings_total": 0,
            "evidence": [], "started_at": at(number.into()), "duration_ms": 5,
        })
    };
    let fields = ["Drill type", "Scope", "Restore mode", "Report owner", "Secret handling"];
    json!({
        "schema_version": 2, "verdict": "passed", "drill_id": id(number), "started_at": at(number.into()),
        "finished_at": at(i64::from(number) + 1), "build": "1.2.3", "build_sha256": "0".repeat(64), "signed_by": null,
        "metadata": fields.map(|field| json!({"field": field, "value": "v"})),
        "environment": {"postgres_version": "15", "os": null, "cores": 2}, "backup": null,
        "objectives": {"rto_s": 3600.0, "rpo_s": 86400.0},
        "measured": {
            "rto_s": 12.5, "rto_met": true, "rto_quiet_s": 1.0, "rpo_s": 3.0, "rpo_met": true, "rto_span": null, "rpo_span": null,
        },
        "checks": CHECKS.iter().map(row).collect::<Vec<_>>(),
        "stages": [{
            "id": "preflight", "title": "Preflight", "started_at": at(number.into()), "duration_ms": 7, "outcome": "done",
            "proof": null, "waiting": false,
        }],
        "counts": [], "object_counts": [], "notes": [], "follow_ups": [], "history": [],
        "journal": {"sequence": 2, "sha256": "0".repeat(64)},
    })
}

/// Signs what lies in the folder.
fn seal(folder: &Path, number: u32, journal: Head, key: &SigningKey) {
    let verdict = Verdict::Passed;
    let row = |id: &&str| CheckResult {
        id: (*id).to_owned(),
        verdict,
        begun: true,
        comparisons: 3,
        findings: 0,
        codes: Vec::new(),
    };
    let held = Proof { held: true, steps: Vec::new() };
    let (started_at, finished_at) = (at(number.into()), at(i64::from(number) + 1));
    let timings = Timings {
        started_at,
        finished_at,
        rto_ms: None,
        rto_objective_ms: 0,
        rpo_ms: None,
        rpo_objective_ms: 0,
        stages: Vec::new(),
    };
    let predicate = Predicate {
        drill_id: id(number),
        build: "1.2.3".into(),
        key_id: key.id().to_owned(),
        verdict,
        checks: CHECKS.iter().map(row).collect(),
        timings,
        isolation: held.clone(),
        clean_up: held,
        journal,
    };
    let subject = |name: &str| Subject { name: name.to_owned(), digest: Digest { sha256: "0".repeat(64) } };
    let named = [BUILD, PLAN].into_iter().chain(BACKUP).map(subject).collect();
    attest::bundle::seal(folder, named, predicate, key).unwrap();
}

fn checking(world: &World, key: Option<PublicKey>) -> DrillRecords {
    DrillRecords::new(Some(world.drill_folder()), None, key)
}

async fn listed(world: &World) -> Value {
    world.get("/api/drills").await.expect(200)
}

#[test]
fn what_these_tests_read_is_what_drills_publish() {
    let schema: Value = serde_json::from_str(include_str!("../../../drill/report.schema.json")).unwrap();
    let found: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&report(1))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test]
async fn drills_are_listed_the_newest_first_in_pages() {
    let world = World::new().await;
    assert_eq!(listed(&world).await["items"], json!([]), "the folder is not there yet");
    let folder = world.drill_folder();
    for number in [2, 1, 4] {
        left(&folder.join(format!("drill {number}")), number);
    }
    // An earlier one, that another reported over.
    left(&folder.join("drill 4/earlier/first"), 3);
    insta::assert_json_snapshot!(listed(&world).await["items"][0], @r#"
    {
      "build": "1.2.3",
      "drill_id": "00000000-0000-0000-0000-000000000004",
      "findings_total": 0,
      "finished_at": "1970-01-01T00:05:00Z",
      "reason": null,
      "rpo_objective_s": 86400.0,
      "rpo_s": 3.0,
      "rto_objective_s": 3600.0,
      "rto_s": 12.5,
      "sealed": false,
      "started_at": "1970-01-01T00:04:00Z",
      "state": "concluded",
      "verdict": "passed"
    }
    "#);
    let (mut path, mut seen) = ("/api/drills?limit=3".to_owned(), Vec::new());
    loop {
        let page = world.get(&path).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|drill| drill["drill_id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/drills?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, [4, 3, 2, 1].map(|number| json!(id(number))));
}

#[tokio::test]
async fn what_is_half_written_or_foreign_is_told_and_takes_nothing_else_away() {
    let world = World::new().await;
    let folder = world.drill_folder();
    left(&folder.join("good"), 9);
    drop(begun(&folder.join("killed"), 8));
    concluded(&folder.join("another's report"), 7);
    std::fs::write(folder.join("another's report/report.json"), report(1).to_string()).unwrap();
    concluded(&folder.join("foreign report"), 6);
    std::fs::write(folder.join("foreign report/report.json"), "<html>\n").unwrap();
    concluded(&folder.join("lies"), 5);
    let mut lies = report(5);
    lies["checks"][3]["verdict"] = json!("failed");
    std::fs::write(folder.join("lies/report.json"), lies.to_string()).unwrap();
    concluded(&folder.join("edited"), 4);
    let edited = std::fs::read_to_string(folder.join("edited/journal.jsonl")).unwrap();
    std::fs::write(folder.join("edited/journal.jsonl"), edited.replacen("1.2.3", "1.2.4", 1)).unwrap();
    left(&folder.join("a copy"), 9);
    std::fs::create_dir(folder.join("torn")).unwrap();
    std::fs::write(folder.join("torn/journal.jsonl"), "{\"sequ").unwrap();
    std::fs::create_dir_all(folder.join("odd/journal.jsonl")).unwrap();
    std::fs::create_dir(folder.join("no drill's")).unwrap();
    std::os::unix::fs::symlink(folder.join("good"), folder.join("linked")).unwrap();

    let seen = listed(&world).await;
    let told = |drill: &Value| {
        let number = drill["drill_id"].as_str().unwrap().chars().last().unwrap();
        format!("{number} {} {}", drill["state"].as_str().unwrap(), drill["reason"].as_str().unwrap_or("-"))
    };
    let told: Vec<String> = seen["items"].as_array().unwrap().iter().map(told).collect();
    insta::assert_json_snapshot!(json!([told, seen["unreadable"], seen["unreadable_total"]]), @r#"
    [
      [
        "9 concluded -",
        "8 interrupted -",
        "7 unreadable its report.json is another drill's than its journal",
        "6 unreadable its report.json is no report, from line 1 on",
        "5 unreadable its report.json says that it passed, and its rows do not",
        "4 unreadable its journal is damaged: line 2 does not follow from the line before it: one of the two was edited or replaced"
      ],
      [
        {
          "name": "torn",
          "reason": "the first entry of its journal is not whole"
        },
        {
          "name": "odd",
          "reason": "its journal.jsonl is no plain file"
        },
        {
          "name": "a copy",
          "reason": "another folder holds the same drill"
        }
      ],
      3
    ]
    "#);
    for number in 4..=9 {
        world.get(&format!("/api/drills/{}", id(number))).await.expect(200);
    }
    world.get(&format!("/api/drills/{}", id(1))).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_drill_is_shown_with_its_rows_and_an_unchecked_seal_is_called_so() {
    let mut world = World::new().await;
    let folder = world.drill_folder().join("one");
    let key = SigningKey::from_seed(&world.app.store.sources().bytes());
    let head = concluded(&folder, 1);
    let path = format!("/api/drills/{}", id(1));
    let seen = world.get(&path).await.expect(200);
    assert_eq!(seen["checks"].as_array().unwrap().len(), 10);
    assert_eq!((&seen["checks"][0]["id"], &seen["stages"][0]["id"]), (&json!("postgres-restore"), &json!("preflight")));
    assert_eq!(seen["seal"], json!({"state": "unsealed", "key": null, "problems": []}));

    seal(&folder, 1, head, &key);
    assert_eq!(listed(&world).await["items"][0]["sealed"], true);
    let seen = world.get(&path).await.expect(200);
    assert_eq!(seen["seal"], json!({"state": "not_checked", "key": null, "problems": []}));

    world.drills(checking(&world, Some(SigningKey::from_seed(&world.app.store.sources().bytes()).public())));
    let seen = world.get(&path).await.expect(200);
    assert_eq!(
        (&seen["seal"]["state"], &seen["seal"]["problems"][0]["code"]),
        (&json!("refused"), &json!("signature"))
    );
}

#[tokio::test]
async fn a_seal_counts_as_verified_when_it_was_checked_with_the_configured_key_and_only_while_it_holds() {
    let mut world = World::new().await;
    let folder = world.drill_folder().join("one");
    let key = SigningKey::from_seed(&world.app.store.sources().bytes());
    let head = concluded(&folder, 1);
    let mut signed = report(1);
    signed["signed_by"] = json!(key.id());
    std::fs::write(folder.join("report.json"), signed.to_string()).unwrap();
    seal(&folder, 1, head, &key);
    world.drills(checking(&world, Some(key.public())));
    let path = format!("/api/drills/{}", id(1));
    let seen = world.get(&path).await.expect(200);
    assert_eq!(seen["seal"], json!({"state": "verified", "key": key.public().fingerprint(), "problems": []}));

    std::fs::write(folder.join("report.json"), signed.to_string().replacen("12.5", "11.5", 1)).unwrap();
    let seen = world.get(&path).await.expect(200);
    assert_eq!((&seen["seal"]["state"], &seen["verdict"]), (&json!("refused"), &json!("passed")));
    assert!(!seen["seal"]["problems"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn drills_and_findings_are_shown_to_who_sees_the_installation_and_to_nobody_else() {
    let world = World::new().await;
    let drill = format!("/api/drills/{}", left(&world.drill_folder().join("one"), 1));
    let auditor = world.member(world.org, Role::Auditor, &[Scope::Read]).await;
    let owner = world.member(world.org, Role::Owner, &[Scope::Read, Scope::Write]).await;
    for path in ["/api/drills", &drill, "/api/findings"] {
        world.get_as(&auditor, path).await.expect_problem(403, "forbidden");
        world.get_as(&owner, path).await.expect_problem(403, "forbidden");
        world.get(path).await.expect(200);
    }
}

#[tokio::test]
async fn an_installation_that_does_not_say_where_its_drills_are_says_how_to() {
    let mut world = World::new().await;
    world.drills(DrillRecords::new(None, None, None));
    for (path, key) in [
        ("/api/drills".to_owned(), "drills.folder"),
        (format!("/api/drills/{}", id(1)), "drills.folder"),
        ("/api/findings".to_owned(), "drills.findings_file"),
        ("/api/findings/F-1".to_owned(), "drills.findings_file"),
    ] {
        let problem = world.get(&path).await.expect_problem(404, "not_configured");
        assert!(problem["detail"].as_str().unwrap().contains(key), "{problem}");
    }
}

fn finding(name: &str, status: &Value) -> Value {
    let seen = json!({"drill_id": id(1), "at": at(1)});
    json!({
        "id": name, "check": "postgres-restore", "code": "table_count", "finding": "the table sessions has 3 rows of 4",
        "severity": "high", "owner": "Ada", "due_date": "2024-10-03", "status": status, "first_seen": seen, "last_seen": seen,
        "gone_since": null,
    })
}

#[tokio::test]
async fn findings_are_listed_with_what_became_of_them_and_a_deferral_ends_by_itself() {
    let world = World::new().await;
    let file = world.drill_folder().with_file_name("findings.json");
    assert_eq!(world.get("/api/findings").await.expect(200)["items"], json!([]), "the file is not there yet");
    // The world's clock stands at the fourth of October.
    let findings = [
        finding("F-3", &json!({"state": "closed", "reason": "mended", "by": "Ada", "at": at(9)})),
        finding("F-1", &json!({"state": "open"})),
        finding("F-2", &json!({"state": "deferred", "reason": "known", "until": "2024-10-03"})),
        finding("F-4", &json!({"state": "deferred", "reason": "known", "until": "2024-10-04"})),
    ];
    std::fs::write(&file, json!({"version": 1, "findings": findings}).to_string()).unwrap();
    let told = async |query: &str| {
        let page = world.get(&format!("/api/findings{query}")).await.expect(200);
        let items = page["items"].as_array().unwrap().clone();
        let told = |one: &Value| format!("{} {}", one["id"].as_str().unwrap(), one["state"].as_str().unwrap());
        (items.iter().map(told).collect::<Vec<_>>(), page["next_cursor"].as_str().map(str::to_owned))
    };
    let all = ["F-1 open", "F-2 open", "F-3 closed", "F-4 deferred"];
    assert_eq!(told("").await.0, all);
    assert_eq!(told("?state=open").await.0, all[..2]);
    let (first, cursor) = told("?limit=3").await;
    assert_eq!(
        (&first[..], cursor.as_deref()),
        (&all[..3].iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()[..], Some("F-3"))
    );
    assert_eq!(told("?limit=3&cursor=F-3").await, (vec![all[3].to_owned()], None));
    insta::assert_json_snapshot!(world.get("/api/findings?state=closed").await.expect(200)["items"][0], @r#"
    {
      "check": "postgres-restore",
      "closed_at": "1970-01-01T00:09:00Z",
      "closed_by": "Ada",
      "code": "table_count",
      "due_date": "2024-10-03",
      "finding": "the table sessions has 3 rows of 4",
      "first_seen": {
        "at": "1970-01-01T00:01:00Z",
        "drill_id": "00000000-0000-0000-0000-000000000001"
      },
      "gone_since": null,
      "id": "F-3",
      "last_seen": {
        "at": "1970-01-01T00:01:00Z",
        "drill_id": "00000000-0000-0000-0000-000000000001"
      },
      "owner": "Ada",
      "reason": "mended",
      "severity": "high",
      "state": "closed",
      "until": null
    }
    "#);
}

/// Leaves a findings file with one finding, and gives back its id.
pub(crate) fn found(world: &World) -> String {
    let id = "F-0123456789";
    let file = world.drill_folder().with_file_name("findings.json");
    let register = json!({"version": 1, "findings": [finding(id, &json!({"state": "open"}))]});
    std::fs::write(file, register.to_string()).unwrap();
    id.to_owned()
}

#[tokio::test]
async fn a_finding_is_read_by_itself_as_it_stands_in_the_list_and_only_by_who_sees_the_installation() {
    let world = World::new().await;
    let path = format!("/api/findings/{}", found(&world));
    let shown = world.get(&path).await.expect(200);
    assert_eq!(shown["state"], "open");
    assert_eq!(world.get("/api/findings").await.expect(200)["items"], json!([shown]));
    world.get("/api/findings/F-9876543210").await.expect_problem(404, "not_found");
    let owner = world.member(world.org, Role::Owner, &[Scope::Read, Scope::Write]).await;
    world.get_as(&owner, &path).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn a_findings_file_that_is_none_is_told() {
    let world = World::new().await;
    let file = world.drill_folder().with_file_name("findings.json");
    for (text, says) in [
        ("{\"version\"", "another format"),
        ("[]", "another format"),
        ("{\"version\": 2, \"findings\": []}", "version 2"),
    ] {
        std::fs::write(&file, text).unwrap();
        world.get("/api/findings/F-1").await.expect_problem(409, "unreadable");
        let problem = world.get("/api/findings").await.expect_problem(409, "unreadable");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    world.get("/api/findings").await.expect_problem(409, "unreadable");
    world.get("/api/findings?state=lost").await.expect_problem(422, "invalid");
}
