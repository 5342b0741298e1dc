//! The drill is drilled: something is broken by hand between restore and checks, and the right row says what.
//!
//! What breaks without masking each other shares a drill.

use std::path::{Path, PathBuf};

use e2e::{CHECKS, Drill, Ended, Folder, Paused};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A drill that waits between two stages, and what somebody does to its target meanwhile.
struct Sabotage {
    drill: Drill,
    paused: Paused,
    database: PgConnection,
    _folder: Folder,
}

impl Sabotage {
    async fn begin() -> Self {
        Self::after("restore").await
    }

    async fn after(stage: &str) -> Self {
        let folder = Folder::new();
        let mut drill = Drill::start(&folder.make("work"), &folder.path().join("report"), &["--pause-after", stage]);
        let paused = drill.wait_for_pause();
        let database = PgConnection::connect(&paused.database).await.expect("the directions lead to the database");
        Self { drill, paused, database, _folder: folder }
    }

    /// Runs a statement that gives one value for each row that it touched, as text.
    async fn sql(&mut self, statement: &str) -> Vec<String> {
        let done = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(&mut self.database).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// The one row that a statement touched.
    async fn one(&mut self, statement: &str) -> String {
        let mut touched = self.sql(statement).await;
        assert_eq!(touched.len(), 1, "{statement} touched {touched:?}");
        touched.remove(0)
    }

    /// Presses Enter, waits for the end, and expects that the drill failed.
    async fn conclude(mut self) -> Ended {
        self.database.close().await.expect("the database is still there");
        self.drill.enter();
        let ended = self.drill.finish();
        assert_eq!((ended.code, ended.report.verdict()), (1, "failed"), "{}", ended.said);
        assert_eq!(ended.report.ids(), CHECKS);
        ended
    }
}

#[tokio::test]
async fn each_of_eight_manipulations_turns_its_row_to_failed_and_is_named() {
    let mut target = Sabotage::begin().await;

    // Row 1 sees that they are gone; row 4, that the org is on no plan.
    let emptied = target.sql("DELETE FROM subscriptions RETURNING org_id::text").await;
    assert!(!emptied.is_empty(), "the world has subscriptions");
    let (missing, changed) = (target.artifact_blob(0).await, target.artifact_blob(1).await);
    std::fs::remove_file(target.paused.objects.join(&missing)).unwrap();
    change_one_byte(&target.paused.objects.join(&changed));
    let lowered = target
        .one(
            "UPDATE projections SET sequence = sequence - 1 WHERE session_id = (SELECT min(session_id::text)::uuid
              FROM sessions WHERE title LIKE 'Report %') RETURNING session_id::text",
        )
        .await;
    let edited = target
        .one("UPDATE projections SET content = jsonb_set(content, '{title}', '\"Another\"') WHERE session_id =
              (SELECT max(session_id::text)::uuid FROM sessions WHERE title LIKE 'Report %') RETURNING session_id::text")
        .await;
    assert_ne!(lowered, edited);
    let run = target
        .one("DELETE FROM runs WHERE run_id = (SELECT run_id FROM runs WHERE state = 'succeeded' ORDER BY due_at LIMIT 1)
              RETURNING run_id::text")
        .await;
    leak(&target.paused);

    let report = target.conclude().await.report;
    report.assert_found("postgres-restore", "table_count", "table subscriptions has 0 rows");
    report.assert_found("web-only-boot", "subscription_terms", "has no subscription");
    report.assert_found("object-store-restore", "blob_missing", &missing);
    report.assert_found("object-store-restore", "blob_content", &changed);
    report.assert_found("session-projection-parity", "projection_sequence", &lowered);
    report.assert_found("session-projection-parity", "projection_content", &edited);
    report.assert_found("scheduler-recovery", "run_missing", &run);
    report.assert_found("redaction", "canary_found", "worker-1.log");
    // The digests of row 1 see every edit of the database.
    for table in ["projections", "runs"] {
        report.assert_found("postgres-restore", if table == "runs" { "table_count" } else { "table_digest" }, table);
    }
    // The web role serves no byte of a blob that is not what its row says: both are unavailable.
    for blob in [&missing, &changed] {
        report.assert_found("artifact-metadata", "artifact_unavailable", artifact_of(blob));
    }
    assert_eq!(report.rows_that("passed"), ["secret-references", "worker-recovery", "gateway-recovery"]);
}

/// The replay has made all of it true before.
#[tokio::test]
async fn what_the_restore_had_remembered_is_undone_and_named() {
    let mut target = Sabotage::after("generation").await;
    let revoked = "UPDATE api_tokens SET revoked_at = NULL WHERE revoked_at IS NOT NULL RETURNING token_id::text";
    assert!(!target.sql(revoked).await.is_empty(), "the replay revokes tokens");
    let answered = "DELETE FROM remembered_effects WHERE kind = 'interaction' RETURNING kind";
    assert!(!target.sql(answered).await.is_empty(), "the replay remembers who was spoken to");
    let forgotten = target.forget_a_sent_delivery().await;

    let report = target.conclude().await.report;
    report.assert_found("web-only-boot", "token_resurrected", "revoked after the backup");
    report.assert_found("worker-recovery", "request_answered_twice", "202");
    report.assert_found("gateway-recovery", "delivery_sent_again", &forgotten);
    for id in ["postgres-restore", "session-projection-parity", "artifact-metadata", "scheduler-recovery"] {
        assert_eq!(report.verdict_of(id), "passed", "{id}");
    }
}

/// As if the ledger had been lost with the system: what its writers wrote until the backup is left, and nothing says that
/// there was more. Deliveries that happen again are the corpus' business: whether one went out in just that time is a race here.
#[tokio::test]
async fn what_the_ledger_does_not_tell_happens_again_and_is_named() {
    let mut target = Sabotage::begin().await;
    let newest = target.one("SELECT (extract(epoch FROM max(created_at)) * 1000000)::bigint::text FROM events").await;
    let withheld = withhold_ledger(&target.paused.ledger, newest.parse().expect("an instant"));
    assert!(withheld > 0, "the lost system wrote its ledger after the backup");

    let report = target.conclude().await.report;
    report.assert_found("web-only-boot", "token_resurrected", "revoked after the backup");
    report.assert_found("web-only-boot", "member_resurrected", "removed from its org");
    report.assert_found("session-projection-parity", "subject_resurrected", "tell of a person who was erased");
    report.assert_found("artifact-metadata", "subject_resurrected", "erased after the backup");
    report.assert_found("worker-recovery", "request_answered_twice", "answered again");
    report.assert_found("scheduler-recovery", "slot_fired_again", "which had fired before the disaster");
    report.assert_found("gateway-recovery", "inbound_taken_twice", "after the backup and is taken again");
    // The backup itself is whole.
    for id in ["postgres-restore", "object-store-restore", "secret-references"] {
        assert_eq!(report.verdict_of(id), "passed", "{id}");
    }
}

/// Nobody but row 1 looks into the table.
#[tokio::test]
async fn one_deleted_row_turns_row_one_to_failed_and_no_other() {
    let mut target = Sabotage::begin().await;
    target
        .one("DELETE FROM usage_records WHERE usage_id = (SELECT usage_id FROM usage_records ORDER BY recorded_at LIMIT 1)
              RETURNING usage_id::text")
        .await;
    let report = target.conclude().await.report;
    report.assert_found("postgres-restore", "table_count", "table usage_records has ");
    assert_eq!(report.rows_that("failed"), ["postgres-restore"]);
    assert_eq!(report.rows_that("passed").len(), CHECKS.len() - 1);
}

#[tokio::test]
async fn another_encryption_key_turns_the_row_of_secrets_to_failed() {
    let mut target = Sabotage::begin().await;
    let byok_key = target.one("SELECT min(byok_key_id::text) FROM byok_keys WHERE revoked_at IS NULL").await;
    let (org, checkpoint) = (
        target.one("SELECT min(org_id::text) FROM org_keys").await,
        target.one("SELECT min(checkpoint_id::text) FROM checkpoints").await,
    );
    replace_key(&target.paused.secrets.join("adapter_key"));
    let report = target.conclude().await.report;
    report.assert_found("secret-references", "ciphertext_unopened", &byok_key);
    report.assert_found("secret-references", "ciphertext_unopened", &org);
    assert_eq!(report.verdict_of("object-store-restore"), "failed", "{checkpoint} can't be opened either");
    // Rows, projections and artifacts are not under this key.
    for id in ["postgres-restore", "session-projection-parity", "artifact-metadata"] {
        assert_eq!(report.verdict_of(id), "passed", "{id}");
    }
}

impl Sabotage {
    /// The key of the blob of the `number`th artifact.
    async fn artifact_blob(&mut self, number: usize) -> String {
        self.one(&format!(
            "SELECT blob_key FROM artifacts JOIN sessions USING (org_id, session_id)
            WHERE title LIKE 'Report %' ORDER BY artifact_id LIMIT 1 OFFSET {number}"
        ))
        .await
    }

    /// A delivery that arrived is made one that is due.
    async fn forget_a_sent_delivery(&mut self) -> String {
        self.one(
            "UPDATE deliveries SET state = 'pending', attempt = 0, next_attempt_at = created_at, leased_until = NULL,
             finished_at = NULL WHERE delivery_id = (SELECT delivery_id FROM deliveries WHERE state = 'sent'
             ORDER BY created_at, delivery_id LIMIT 1) RETURNING delivery_id::text",
        )
        .await
    }
}

/// Takes away the segments that were closed later than `micros` after the epoch. Gives back how many those were.
fn withhold_ledger(ledger: &Path, micros: i64) -> usize {
    let hours = std::fs::read_dir(ledger.join("segments")).unwrap();
    let segments = hours.flat_map(|hour| std::fs::read_dir(hour.unwrap().path()).unwrap()).map(Result::unwrap);
    // `AT-GENERATION-WRITER-SEQUENCE`.
    let at =
        |name: String| name.split('-').next().and_then(|at| at.parse::<i64>().ok()).expect("the name of a segment");
    let late = segments.filter(|segment| at(segment.file_name().to_string_lossy().into_owned()) > micros);
    late.map(|segment| std::fs::remove_file(segment.path()).unwrap()).count()
}

/// The last segment of its key.
fn artifact_of(blob: &str) -> &str {
    blob.rsplit('/').next().unwrap_or_default()
}

/// Its size stays.
fn change_one_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// As a role would that logs an address: a line in the file that one will append to.
fn leak(paused: &Paused) {
    let line = format!("{{\"level\":\"INFO\",\"message\":\"mail to {}\"}}\n", paused.canary);
    let log: PathBuf = paused.logs.join("worker-1.log");
    let mut text = std::fs::read_to_string(&log).unwrap_or_default();
    text += &line;
    std::fs::write(log, text).unwrap();
}

/// Another key of the same form: 32 bytes as base64, of which the first letter gives the first six bits.
fn replace_key(path: &Path) {
    let key = std::fs::read_to_string(path).unwrap();
    let first = if key.starts_with('A') { "B" } else { "A" };
    std::fs::write(path, format!("{first}{}", &key[1..])).unwrap();
}
