use sqlx::{Connection as _, Executor as _, PgConnection};
use testkit::TestDatabase;

use super::LAWS;
use crate::{judge, outside};

/// Ways to break each law, at a world that is as it should be. Of some laws there are several.
const BREACHES: &[(&str, &str)] = &[
    ("acknowledged", "DELETE FROM commands WHERE command_id = pg_temp.id(21)"),
    ("acknowledged", "UPDATE commands SET state = 'pending' WHERE command_id = pg_temp.id(21)"),
    ("one-key-one-command", "INSERT INTO told_commands VALUES (pg_temp.id(11), 'k1', pg_temp.id(22))"),
    ("once", "UPDATE sessions SET title = 'once x' WHERE session_id = pg_temp.id(13)"),
    ("ordinals", "UPDATE commands SET ordinal = 3 WHERE command_id = pg_temp.id(22)"),
    ("sequences", "DELETE FROM events WHERE session_id = pg_temp.id(11) AND sequence = 3"),
    ("sequences", "UPDATE sessions SET last_sequence = 5 WHERE session_id = pg_temp.id(11)"),
    ("projections", "UPDATE projections SET sequence = 3 WHERE session_id = pg_temp.id(11)"),
    (
        "turns-end-once",
        "UPDATE events SET kind = 'turn_ended', payload = jsonb_build_object('command_id', pg_temp.id(21))
        WHERE session_id = pg_temp.id(11) AND sequence = 3",
    ),
    (
        "turns-end-once",
        "UPDATE events SET kind = 'message_appended' WHERE session_id = pg_temp.id(11) AND sequence = 4",
    ),
    (
        "attempts",
        "UPDATE events SET payload = payload || '{\"attempt\": 2}' WHERE session_id = pg_temp.id(11) AND sequence = 2",
    ),
    ("attempts", "UPDATE commands SET attempt = 2 WHERE command_id = pg_temp.id(21)"),
    (
        "prompts-in-order",
        "UPDATE commands SET kind = 'prompt' WHERE command_id = pg_temp.id(22);
        UPDATE events SET kind = 'turn_started', payload = jsonb_build_object('command_id', pg_temp.id(22))
        WHERE session_id = pg_temp.id(11) AND sequence = 1",
    ),
    (
        "one-holder",
        "UPDATE events SET payload = '{\"message_id\": \"message-1.2.1\"}'
        WHERE session_id = pg_temp.id(11) AND sequence = 3",
    ),
    (
        "at-rest",
        "INSERT INTO session_leases (org_id, session_id, wake_at) VALUES (pg_temp.id(1), pg_temp.id(11), pg_temp.at(0))",
    ),
    ("at-rest", "UPDATE deliveries SET state = 'pending' WHERE delivery_id = pg_temp.id(51)"),
    ("slots-due", "DELETE FROM slots WHERE due_at = pg_temp.at(1)"),
    ("slots-due", "UPDATE slots SET due_at = pg_temp.at(7) WHERE due_at = pg_temp.at(2)"),
    ("slots-skipped", "UPDATE workflows SET overlap_policy = 'allow'"),
    (
        "slots-skipped",
        "UPDATE slots SET reason = 'it was missed, and missed slots are skipped' WHERE state = 'skipped'",
    ),
    ("one-run-a-slot", "UPDATE slots SET state = 'fired' WHERE state = 'skipped'"),
    (
        "one-run-a-slot",
        "ALTER TABLE runs DROP CONSTRAINT runs_org_id_workflow_id_due_at_key;
        INSERT INTO runs (org_id, run_id, workflow_id, due_at, session_id, command_id, state, created_at)
        SELECT org_id, pg_temp.id(64), workflow_id, due_at, session_id, pg_temp.id(22), state, created_at FROM runs",
    ),
    ("runs-end", "UPDATE runs SET state = 'failed'"),
    ("turns-are-told", "DELETE FROM deliveries WHERE delivery_id = pg_temp.id(51)"),
    ("sent-has-arrived", "DELETE FROM arrivals WHERE delivery_id = pg_temp.id(51)"),
    ("arrived-is-known", "UPDATE deliveries SET state = 'dead' WHERE delivery_id = pg_temp.id(51)"),
    ("never-twice", "INSERT INTO arrivals VALUES (3, pg_temp.id(52), true, 'thread 32', 4)"),
    ("never-twice", "INSERT INTO arrivals VALUES (3, pg_temp.id(59), false, 'thread 31', 4)"),
    ("held-or-dead", "UPDATE deliveries SET state = 'unknown' WHERE delivery_id = pg_temp.id(51)"),
    ("held-or-dead", "UPDATE deliveries SET state = 'dead' WHERE delivery_id = pg_temp.id(52)"),
    (
        "order-in-a-thread",
        "UPDATE deliveries SET binding_id = pg_temp.id(41), sequence = 3 WHERE delivery_id = pg_temp.id(52)",
    ),
    ("inbound-once", "INSERT INTO told_inbound VALUES (pg_temp.id(31), 'evt', pg_temp.id(21), false)"),
    ("inbound-once", "UPDATE told_inbound SET command_id = pg_temp.id(22) WHERE duplicate"),
    ("inbound-once", "DELETE FROM inbound_messages"),
    ("usage-once", "DELETE FROM usage_records WHERE source_id = pg_temp.id(51)"),
    ("usage-once", "UPDATE usage_records SET source_id = pg_temp.id(22) WHERE source_id = pg_temp.id(21)"),
    ("usage-once", "UPDATE usage_records SET kind = 'deliveries' WHERE kind = 'runs'"),
    ("usage-adds-up", "UPDATE usage_counters SET quantity = quantity + 1 WHERE kind = 'turns'"),
    ("audit", "DELETE FROM audit_records WHERE seal_number = 1"),
    ("audit", "DELETE FROM audit_records WHERE seal_number = 2"),
    ("commands-are-audited", "UPDATE audit_records SET action = 'session.prompt' WHERE seal_number = 2"),
    ("commands-are-audited", "UPDATE runs SET command_id = pg_temp.id(22)"),
    ("checkpoints", "UPDATE sessions SET checkpoint_id = NULL WHERE session_id = pg_temp.id(11)"),
    ("checkpoints", "UPDATE checkpoints SET sequence = 5"),
    (
        "blobs-stay",
        "INSERT INTO blob_deletions (org_id, blob_key, state, due_at) VALUES (pg_temp.id(1), 'file', 'waiting', pg_temp.at(0))",
    ),
    ("uploads", "UPDATE blobs SET size = 6 WHERE blob_key = 'artifact'"),
    ("uploads", "DELETE FROM artifacts"),
    ("tokens", "UPDATE api_tokens SET revoked_at = NULL"),
    ("streams", "UPDATE seen_events SET sequence = 2 WHERE place = 3"),
    ("streams", "DELETE FROM seen_events WHERE place = 4"),
    ("feed", "DELETE FROM seen_feed WHERE session_id = pg_temp.id(12)"),
    ("feed", "INSERT INTO seen_feed SELECT 'feed', 100, session_id, sequence FROM seen_feed WHERE place = 1"),
    ("feed", "UPDATE seen_feed SET place = -1 WHERE session_id = pg_temp.id(11) AND sequence = 4"),
];

/// A database with the tables and, beside them, those of what was told.
async fn prepared() -> (TestDatabase, PgConnection) {
    let database = TestDatabase::create().await;
    let store = store::Store::connect(&database.url(), 2, testkit::system_sources()).await.unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    connection.execute(outside::TABLES).await.unwrap();
    (database, connection)
}

async fn healthy() -> (TestDatabase, PgConnection) {
    let (database, mut connection) = prepared().await;
    connection.execute(include_str!("healthy.sql")).await.unwrap();
    (database, connection)
}

#[tokio::test]
async fn a_world_that_is_as_it_should_be_breaks_no_law() {
    let (_database, mut connection) = healthy().await;
    assert_eq!(judge::ask(&mut connection).await.unwrap(), []);
}

#[tokio::test]
async fn every_breach_is_seen_by_its_law() {
    let (_database, mut connection) = healthy().await;
    for (law, breach) in BREACHES {
        let mut broken = connection.begin().await.unwrap();
        broken.execute(*breach).await.unwrap();
        let violations = judge::ask(&mut broken).await.unwrap();
        let found = violations.iter().find(|violation| violation.law == *law);
        let found = &found.unwrap_or_else(|| panic!("{law} does not see {breach}: {violations:#?}")).found;
        assert!(!found.contains("nothing to look at") || breach.starts_with("DELETE"), "{law}: {breach}");
        broken.rollback().await.unwrap();
    }
}

#[test]
fn every_law_has_a_breach() {
    let without = LAWS.iter().filter(|law| !BREACHES.iter().any(|(name, _)| *name == law.name));
    assert_eq!(without.map(|law| law.name).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
async fn a_law_that_has_nothing_to_look_at_does_not_hold() {
    let (_database, mut connection) = prepared().await;
    let violations = judge::ask(&mut connection).await.unwrap();
    assert_eq!(violations.len(), LAWS.len());
    assert!(violations.iter().all(|violation| violation.found == "there was nothing to look at"));
}
