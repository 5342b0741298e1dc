use domain::tenancy::Role;
use sqlx::AssertSqlSafe;

use super::*;
use crate::testing::World;
use crate::{ErasedFor, NewMember, NewSession};

const ALL: i64 = i64::MAX;

impl World {
    async fn record(&self, action: &str) {
        let mut connection = self.store.pool.acquire().await.unwrap();
        let detail = serde_json::json!({"n": 1});
        record(&mut connection, self.store.sources(), self.org, "account:1", action, "t", detail).await.unwrap();
    }

    /// The org was created, too, so there is one record more.
    async fn sealed(records: usize) -> Self {
        let world = Self::new().await;
        for n in 1..records {
            world.record(&format!("test.{n}")).await;
        }
        assert_eq!(world.store.audit_seal(world.org).await.unwrap(), records);
        world
    }

    async fn verify(&self) -> AuditVerification {
        self.store.audit_verify(self.org, None, ALL).await.unwrap()
    }

    async fn break_by(&self, sql: &str) -> Option<(i64, AuditFaultKind)> {
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&self.store.pool).await.unwrap();
        self.verify().await.fault.map(|fault| (fault.number, fault.kind))
    }
}

#[tokio::test]
async fn what_was_sealed_holds_to_its_end() {
    let world = World::sealed(4).await;
    world.record("test.late").await;
    let seen = world.verify().await;
    assert_eq!((seen.verified, seen.complete, seen.unsealed, seen.fault), (4, true, 1, None));
    assert_eq!(seen.head, world.store.audit_head(world.org).await.unwrap());
    assert_eq!(world.store.audit_seal(world.org).await.unwrap(), 1);
    let seen = world.store.audit_verify(world.org, Some(seen.head), ALL).await.unwrap();
    assert_eq!((seen.verified, seen.complete, seen.head.number), (1, true, 5));
    let seen = world.store.audit_verify(world.org, None, 2).await.unwrap();
    assert_eq!((seen.verified, seen.complete, seen.fault), (2, false, None));
    let numbers: Vec<i64> =
        world.store.audit_sealed(world.org, 1, 3).await.unwrap().iter().map(|sealed| sealed.number).collect();
    assert_eq!(numbers, [2, 3, 4]);
}

#[tokio::test]
async fn every_way_to_change_the_trail_breaks_it_where_it_was_changed() {
    use AuditFaultKind::{Changed, DetailChanged, End, Missing};
    let hidden = "UPDATE audit_records SET seal_number = NULL, seal_detail = NULL, seal_hash = NULL, seal_salt = NULL";
    for (sql, expected) in [
        ("UPDATE audit_records SET actor = 'account:2' WHERE seal_number = 2", (2, Changed)),
        ("UPDATE audit_records SET recorded_at = recorded_at + interval '1 us' WHERE seal_number = 3", (3, Changed)),
        ("UPDATE audit_records SET detail = '{\"n\": 2}' WHERE seal_number = 2", (2, DetailChanged)),
        ("UPDATE audit_records SET detail = '{}', seal_salt = NULL WHERE seal_number = 2", (2, DetailChanged)),
        ("UPDATE audit_records SET seal_detail = seal_hash WHERE seal_number = 3", (3, Changed)),
        ("DELETE FROM audit_records WHERE seal_number = 2", (2, Missing)),
        ("DELETE FROM audit_records WHERE seal_number = 4", (4, End)),
        ("UPDATE audit_heads SET seal_number = 3", (4, End)),
        (&format!("{hidden} WHERE seal_number = 3"), (3, Missing)),
        ("UPDATE audit_records SET seal_number = 9 WHERE seal_number = 2", (2, Missing)),
    ] {
        let world = World::sealed(4).await;
        assert_eq!(world.break_by(sql).await, Some(expected), "{sql}");
    }
}

#[tokio::test]
async fn a_chain_that_was_wound_back_is_found_out_by_a_link_that_was_noted() {
    let world = World::sealed(3).await;
    let noted = world.store.audit_head(world.org).await.unwrap();
    // As a restore of an older backup leaves it, and life that goes on.
    let back = "WITH gone AS (DELETE FROM audit_records WHERE seal_number = 3)
        UPDATE audit_heads SET seal_number = 2, seal_hash = (SELECT seal_hash FROM audit_records WHERE seal_number = 2)";
    assert_eq!(world.break_by(back).await, None);
    world.record("test.other").await;
    world.store.audit_seal(world.org).await.unwrap();
    assert_eq!(world.verify().await.fault, None, "the chain itself can't tell");
    let seen = world.store.audit_verify(world.org, Some(noted), ALL).await.unwrap();
    assert_eq!(seen.fault.map(|fault| fault.kind), Some(AuditFaultKind::NotFound));
}

#[tokio::test]
async fn a_record_that_is_committed_late_is_sealed_late_and_several_sealers_make_one_chain() {
    let world = World::new().await;
    let mut late = world.store.pool.begin().await.unwrap();
    let detail = serde_json::json!({});
    record(&mut late, world.store.sources(), world.org, "account:1", "test.late", "t", detail).await.unwrap();
    for n in 0..20 {
        world.record(&format!("test.{n}")).await;
    }
    let seal = || world.store.audit_seal(world.org);
    let (a, b, c) = tokio::join!(seal(), seal(), seal());
    assert_eq!(a.unwrap() + b.unwrap() + c.unwrap(), 21);
    late.commit().await.unwrap();
    assert_eq!(world.store.audit_unsealed_orgs(None, 10).await.unwrap(), [world.org]);
    assert!(world.store.audit_unsealed_orgs(Some(world.org), 10).await.unwrap().is_empty());
    assert_eq!(seal().await.unwrap(), 1);
    let seen = world.verify().await;
    assert_eq!((seen.verified, seen.complete, seen.fault), (22, true, None));
    let last = world.store.audit_sealed(world.org, 21, 10).await.unwrap().remove(0).record;
    assert_eq!((last.action.as_str(), last.position), ("test.late", 2), "its position is older than that of others");
}

#[tokio::test]
async fn an_erasure_takes_what_a_record_quotes_and_leaves_the_chain() {
    let world = World::new().await;
    let new = NewMember { email: "q@example.org".into(), display_name: "Q".into(), role: Role::Member.into() };
    let account = world.store.member_add(world.org, &new, "role:test").await.unwrap().unwrap().account_id;
    let session = NewSession { org: world.org, created_by: Some(account), title: "quince".into(), agent: "a".into() };
    world.store.session_create(1, &session).await.unwrap();
    world.store.audit_seal(world.org).await.unwrap();
    world.store.subject_erase(account, ErasedFor::Installation, "role:test").await.unwrap();
    world.store.subject_erasure_carry_out(account).await.unwrap();
    while world.store.audit_seal(world.org).await.unwrap() > 0 {}
    let seen = world.verify().await;
    assert_eq!((seen.complete, seen.erased, seen.fault), (true, 1, None));
}

#[tokio::test]
async fn records_are_found_by_who_did_what_to_what_and_when() {
    let world = World::new().await;
    world.record("test.a").await;
    world.clock.advance(chrono::TimeDelta::hours(1));
    world.record("test.b").await;
    let now = world.store.sources().now();
    for (filter, expected) in [
        (AuditFilter::default(), vec!["org.create", "test.a", "test.b"]),
        (AuditFilter { action: Some("test.a".into()), ..AuditFilter::default() }, vec!["test.a"]),
        (AuditFilter { actor: Some("account:1".into()), until: Some(now), ..AuditFilter::default() }, vec!["test.a"]),
        (AuditFilter { since: Some(now), target: Some("t".into()), ..AuditFilter::default() }, vec!["test.b"]),
    ] {
        let (found, next) = world.store.audit_list(world.org, &filter, 0, 10).await.unwrap();
        let actions: Vec<&str> = found.iter().map(|record| record.action.as_str()).collect();
        assert_eq!((actions, next), (expected, None), "{filter:?}");
    }
}
