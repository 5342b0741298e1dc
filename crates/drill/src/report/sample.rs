//! Filled reports for tests: a drill that passed, one that failed, one that ended early.

use attest::{Evidence, Head, sha256_hex};
use chrono::{DateTime, TimeDelta};
use clock::Timestamp;
use uuid::Uuid;

use super::{
    Backup, Check, CheckId, DeliveriesSeen, Environment, Known, LedgerFinding, LedgerUse, Lost, Material, Metadata,
    ObjectCount, Objectives, OpenCheck, Outcome, Past, Remembered, Report, Seen, SlotsSeen, Span, Stage, TableCount,
    Verdict,
};
use crate::said::say;

/// `ms` after the drill began.
fn at(ms: i64) -> Timestamp {
    DateTime::from_timestamp(1_780_000_000, 0).unwrap() + TimeDelta::milliseconds(ms)
}

/// All ten passed.
pub(crate) fn passing() -> Report {
    Report::conclude(material())
}

/// Something is wrong with the sessions, a blob, the deliveries and the logs; the scheduler could not be asked.
pub(crate) fn failing() -> Report {
    let mut material = material();
    for check in &mut material.checks {
        *check = match check.id() {
            CheckId::PostgresRestore => broken(check.id(), |check| {
                check.find("row_missing", "table session_events has 10,411 rows, and the manifest names 10,412");
                check.find("digest_differs", "table projections has the content 41c9…, and the manifest names 9f02…");
            }),
            CheckId::ObjectStoreRestore => broken(check.id(), |check| check.find("blob_missing", LONG)),
            CheckId::SchedulerRecovery => {
                broken(check.id(), |check| check.doubt("the scheduler did not become ready within 30 s"))
            }
            CheckId::GatewayRecovery => broken(check.id(), |check| {
                let twice = |n| say!("delivery {} had been sent before the disaster and was sent again", id(n));
                (0..73).for_each(|n| check.find("sent_twice", twice(n)));
            }),
            CheckId::Redaction => broken(check.id(), |check| {
                check.find(
                    "canary_found",
                    "the canary <script>alert('email')</script> & \"its|quotes\" stands in `worker.log`",
                );
            }),
            _ => continue,
        };
    }
    material.rto = Some(Span { from: at(9_400), to: at(19_900) });
    material.objectives.rto_s = 10.0;
    material.stages[4].outcome = Outcome::Failed;
    material.stages[4].proof = Some("idle roles were not idle: 1 delivery moved".into());
    material.counts[1].restored_rows = Some(10_411);
    material.counts[1].digest_equal = Some(false);
    material.counts[2].digest_equal = Some(false);
    material.object_counts[0].restored_objects = Some(411);
    material.object_counts[0].restored_bytes = Some(52_000_100);
    if let Some(remembered) = &mut material.remembered {
        remembered.complete = false;
        remembered.attention = vec!["the BYOK key k|1 was replaced after the backup; bring it again".into()];
        let sentence = "segment 7 of the writer w is missing";
        remembered.findings = vec![LedgerFinding { code: "hole".into(), sentence: sentence.into(), normal: false }];
        if let Some(seen) = &mut remembered.seen {
            seen.deliveries.duplicated = 73;
        }
    }
    material.notes.push("The source's worker was killed with signal 9 twice on purpose.".into());
    Report::conclude(material)
}

/// All ten passed, after a drill that failed, one that was interrupted, and one that took long.
pub(crate) fn after_others() -> Report {
    let mut material = material();
    let past = |n, verdict, rto_s| Past {
        drill_id: id(n).to_string(),
        started_at: at(0) - TimeDelta::days(9 - i64::try_from(n).unwrap_or(0)),
        verdict,
        rto_s,
        rpo_s: None,
    };
    let (failed, passed) = (Some(Verdict::Failed), Some(Verdict::Passed));
    material.history = vec![past(3, failed, Some(8.0)), past(4, None, None), past(5, passed, Some(71.0))];
    material.signed_by = Some("ops-2026".to_owned());
    Report::conclude(material)
}

/// The backup could not be opened, so nothing was checked.
pub(crate) fn ended_early() -> Report {
    let mut material = material();
    material.checks.clear();
    material.stages.truncate(2);
    material.stages[1].outcome = Outcome::Failed;
    material.finished_at = at(4_000);
    (material.backup, material.rto, material.rpo, material.journal) = (None, None, None, None);
    (material.counts, material.object_counts, material.remembered) = (Vec::new(), Vec::new(), None);
    Report::conclude(material)
}

const LONG: &str = "object orgs/01980f6a-0000-7000-8000-000000000001/g1/artifacts/01980f6a-0000-7000-8000-00000000002a/\
                    01980f6a-0000-7000-8000-00000000004d is named by artifacts, and is not in the restored store";

fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0198_0f6a_0000_7000_8000_0000_0000_0000 + n)
}

fn broken(id: CheckId, tell: impl FnOnce(&mut OpenCheck)) -> Check {
    let mut check = OpenCheck::new(id, at(17_000));
    check.compared(31);
    check.evidence(evidence(id, "table_counts"));
    tell(&mut check);
    check.close(at(18_200), "")
}

fn passed(id: CheckId, comparisons: u64, summary: &'static str) -> Check {
    let mut check = OpenCheck::new(id, at(12_000));
    check.compared(comparisons);
    check.evidence(evidence(id, "table_counts"));
    check.close(at(12_900), summary)
}

fn evidence(id: CheckId, name: &str) -> Evidence {
    let path = format!("evidence/{}/{name}.json", id.as_str());
    Evidence { sha256: sha256_hex(path.as_bytes()), path, bytes: 2_816 }
}

fn material() -> Material {
    Material {
        drill_id: id(1).into(),
        started_at: at(0),
        finished_at: at(23_000),
        build: "cowork 0.1.0 (1b6785a)".to_owned(),
        build_sha256: sha256_hex(b"build"),
        signed_by: None,
        metadata: Metadata::default(),
        environment: Environment {
            postgres_version: "15.14".to_owned(),
            os: Some("Debian GNU/Linux 12".to_owned()),
            cores: 2,
        },
        backup: Some(Backup {
            backup_id: id(2).to_string(),
            taken_at: at(5_200),
            tables: 31,
            rows: 24_180,
            bytes: 7_340_032,
            blobs: 512,
            blob_bytes: 61_865_984,
        }),
        objectives: Objectives { rto_s: 60.0, rpo_s: 30.0 },
        rto: Some(Span { from: at(9_400), to: at(19_900) }),
        rpo: Some(Span { from: at(5_200), to: at(9_100) }),
        checks: checks(),
        stages: stages(),
        counts: counts(),
        object_counts: object_counts(),
        remembered: Some(remembered()),
        notes: vec!["One command was running when the snapshot was taken; it was run again after the restore.".into()],
        follow_ups: Vec::new(),
        history: Vec::new(),
        journal: Some(Head { sequence: 42, sha256: sha256_hex(b"journal") }),
    }
}

fn remembered() -> Remembered {
    Remembered {
        ledger: LedgerUse::Read,
        complete: true,
        records: 1_204,
        segments: 61,
        bytes: 90_112,
        from: Some(at(5_200) - TimeDelta::hours(1)),
        known: Known { deliveries_sent: 21, deliveries_held: 2, slots_fired: 4, tokens_revoked: 1, ..Known::default() },
        lost: Lost { deliveries: 14, inbound: 9, runs: 4, ..Lost::default() },
        attention: Vec::new(),
        findings: Vec::new(),
        seen: Some(Seen {
            deliveries: DeliveriesSeen { before_disaster: 40, in_flight: 3, new: 7, held: 2, ..Default::default() },
            slots: SlotsSeen { before_disaster: 9, after_backup: 4, new: 7, ..Default::default() },
        }),
    }
}

fn checks() -> Vec<Check> {
    let summaries = [
        (62, "31 tables with 24,180 rows are equal to the manifest, and 214 catalogue lines are the same."),
        (1_024, "512 blobs exist with their size and hash, and 200 checkpoints open."),
        (221, "5 references resolve, and 216 ciphertexts open under the restored keys."),
        (12, "4 operator reads answered while no worker, scheduler or gateway ran, and nothing moved for 2 s."),
        (400, "200 sessions: the projection is at the last event, and rebuilt from events it is equal."),
        (312, "312 artifacts were listed and downloaded through the API, byte for byte."),
        (9, "One worker ran the smoke prompt and saved a checkpoint that opens; a stale token was refused."),
        (14, "Two schedulers fired 7 due slots once each, and none that had fired before."),
        (180, "The sink saw no delivery twice and none was lost; retry and dead letter work."),
        (1_386, "No canary of 7 classes stands in 31 outputs, and the positive control was found."),
    ];
    CheckId::ALL.into_iter().zip(summaries).map(|(id, (compared, summary))| passed(id, compared, summary)).collect()
}

fn stages() -> Vec<Stage> {
    let stage = |id: &str, title: &str, from: i64, to: i64, proof: Option<&'static str>| Stage {
        id: id.to_owned(),
        title: title.to_owned(),
        started_at: at(from),
        duration_ms: u64::try_from(to - from).unwrap(),
        outcome: Outcome::Done,
        proof: proof.map(Into::into),
        waiting: id.contains("quiet"),
    };
    vec![
        stage("world", "Make the source live", 0, 5_200, None),
        stage("backup", "Back up while it is busy", 5_200, 7_900, Some("the manifest was read back")),
        stage("disaster", "Life goes on, then kill -9", 7_900, 9_100, Some("no process of the source is left")),
        stage("restore-postgres", "Restore Postgres", 9_400, 12_100, Some("the target was empty")),
        stage("boot-web", "Boot web alone", 12_100, 12_900, Some("worker, scheduler and gateway are at zero")),
        stage("quiet-web", "Watch that nothing moves", 12_900, 14_900, Some("no lease, run or delivery moved")),
        stage("checks", "Compare every session and blob", 14_900, 16_400, None),
        stage("worker", "One worker and the smoke prompt", 16_400, 17_300, Some("one lease was taken and released")),
        stage("scheduler", "Two schedulers", 17_300, 18_600, None),
        stage("gateway", "Gateway to the sink", 18_600, 19_900, Some("no real destination can be reached")),
        stage("quiet-gateway", "Watch for duplicates", 19_900, 21_400, None),
        stage("scan", "Scan every output", 21_400, 21_450, None),
        stage("tear-down", "Tear down", 21_450, 23_000, Some("no process and no folder is left")),
    ]
}

fn counts() -> Vec<TableCount> {
    let table = |table: &'static str, group: &'static str, rows| TableCount {
        table: table.into(),
        group: group.into(),
        backup_rows: rows,
        restored_rows: Some(rows),
        digest_equal: Some(true),
        note: None,
    };
    vec![
        table("sessions", "sessions", 200),
        table("session_events", "events", 10_412),
        table("projections", "projections", 200),
        table("workflows", "workflows", 12),
        table("channel_bindings", "channel bindings", 24),
        table("byok_keys", "BYOK metadata", 16),
        table("usage_entries", "billing/usage", 612),
        table("audit_entries", "audit", 1_204),
        TableCount {
            digest_equal: None,
            restored_rows: Some(1),
            note: Some("heartbeats of running roles are not restored".into()),
            ..table("role_instances", "other", 6)
        },
    ]
}

fn object_counts() -> Vec<ObjectCount> {
    let count = |prefix: &'static str, objects, bytes| ObjectCount {
        prefix: prefix.into(),
        backup_objects: objects,
        backup_bytes: bytes,
        restored_objects: Some(objects),
        restored_bytes: Some(bytes),
    };
    vec![
        count("artifacts", 412, 52_040_448),
        count("checkpoints", 60, 120_000),
        count("checkpoint-files", 40, 9_705_536),
    ]
}
