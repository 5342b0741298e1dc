//! What an operator is told of work that waits, as the clock of the test says.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::channel::DeliveryState;
use domain::schedule::{NewTrigger, OverlapPolicy, TriggerSpec};
use ids::DeliveryId;
use sqlx::AssertSqlSafe;
use testkit::TestDatabase;

use super::*;
use crate::testing::{Thread, World};
use crate::{ClaimedDelivery, Effect, Intervention, Outcome, Settlement};

const ACTOR: &str = "role:test";

async fn backlog(world: &World) -> Backlog {
    world.store.diagnostics_backlog().await.unwrap()
}

fn seconds(seconds: i64) -> Option<i64> {
    Some(seconds * 1_000)
}

impl Thread {
    async fn settle(&self, claim: ClaimedDelivery, outcome: Outcome) {
        let settled = self.world.store.delivery_settle(&[Settlement { claim, outcome }], false).await.unwrap();
        assert_eq!(settled.len(), 1);
    }

    /// One that may have arrived.
    async fn unknown(&mut self) -> DeliveryId {
        self.render().await;
        let claim = self.claim().await;
        let delivery = claim.delivery_id;
        self.settle(claim, Outcome::Unknown("who knows".into())).await;
        delivery
    }

    fn pass(&self, seconds: i64) {
        self.world.clock.advance(TimeDelta::seconds(seconds));
    }

    async fn due_age(&self) -> Option<i64> {
        backlog(&self.world).await.oldest_due_delivery_age_ms
    }
}

#[tokio::test]
async fn every_table_is_counted() {
    let database = TestDatabase::create().await;
    let store = Store::from_pool(database.pool(), testkit::sources(1).1);
    assert_eq!(store.diagnostics_schema_version().await.unwrap(), None);
    store.migrate().await.unwrap();
    assert_eq!(store.diagnostics_schema_version().await.unwrap(), Some(Store::schema_version()));
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'",
    )
    .fetch_all(&store.pool)
    .await
    .unwrap();
    let counted: BTreeSet<String> = store.diagnostics_counts().await.unwrap().into_keys().collect();
    assert_eq!(counted, tables.into_iter().collect());
}

#[tokio::test]
async fn where_nothing_waits_nothing_has_an_age() {
    assert_eq!(backlog(&World::new().await).await, Backlog::default());
}

#[tokio::test]
async fn a_delivery_is_late_while_it_could_be_sent_and_nobody_holds_it() {
    let mut thread = Thread::new().await;
    let retry_at = thread.world.store.sources().now() + TimeDelta::seconds(100);
    thread.render().await;
    thread.render().await;
    assert_eq!(thread.due_age().await, seconds(0));
    thread.pass(10);
    assert_eq!(thread.due_age().await, seconds(10));
    thread.claim().await;
    assert_eq!(thread.due_age().await, None, "a gateway holds it");
    thread.pass(31);
    assert_eq!(thread.due_age().await, seconds(1), "it was lost with its gateway");

    let claim = thread.claim().await;
    thread.settle(claim, Outcome::Retry { at: retry_at, error: "no".into(), ambiguous: false }).await;
    assert_eq!(thread.due_age().await, None, "it waits for its next attempt, and the other one behind it");
    thread.pass(64);
    assert_eq!(thread.due_age().await, seconds(5));

    let claim = thread.claim().await;
    thread.settle(claim, Outcome::Sent).await;
    assert_eq!(thread.due_age().await, seconds(0), "now the one behind it may go");
    thread.pass(2);
    let (store, org) = (&thread.world.store, thread.world.org);
    let waiting = store.delivery_list(org, Some(DeliveryState::Pending), None, 10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    let set_aside = store.delivery_dead_letter(org, waiting[0].delivery_id, ACTOR).await.unwrap();
    assert_eq!(set_aside, Intervention::Done);
    thread.pass(2);
    assert_eq!(thread.due_age().await, None, "no gateway has looked at the thread since, and nothing waits there");
}

#[tokio::test]
async fn an_unknown_delivery_grows_older_until_a_person_decides() {
    let mut thread = Thread::new().await;
    let first = thread.unknown().await;
    thread.pass(7);
    thread.unknown().await;
    thread.pass(3);
    let seen = backlog(&thread.world).await;
    assert_eq!((seen.deliveries_unknown, seen.oldest_unknown_delivery_age_ms), (2, seconds(10)));
    let (store, org) = (&thread.world.store, thread.world.org);
    assert_eq!(store.delivery_settle_unknown(org, first, true, ACTOR).await.unwrap(), Intervention::Done);
    let seen = backlog(&thread.world).await;
    assert_eq!((seen.deliveries_unknown, seen.oldest_unknown_delivery_age_ms), (1, seconds(3)));
}

#[tokio::test]
async fn what_the_recovery_ledger_is_owed_has_the_age_of_the_first_effect() {
    let world = World::new().await;
    let store = &world.store;
    for _ in 0..2 {
        let revoked = Effect::TokenRevoked { org: world.org, token: store.sources().id() };
        store.outbox_add(&[revoked]).await.unwrap();
        world.clock.advance(TimeDelta::seconds(4));
    }
    let seen = backlog(&world).await;
    assert_eq!((seen.effects_untold, seen.oldest_untold_effect_age_ms), (2, seconds(8)));
    let told = store.outbox_list(store.sources().now(), 1).await.unwrap();
    store.outbox_remove(&told).await.unwrap();
    let seen = backlog(&world).await;
    assert_eq!((seen.effects_untold, seen.oldest_untold_effect_age_ms), (1, seconds(4)));
}

#[tokio::test]
async fn schedulers_are_behind_by_the_slot_that_is_due_the_longest() {
    let world = World::new().await;
    let store = &world.store;
    let trigger =
        |every_s| NewTrigger::new(TriggerSpec::Interval { every_s, anchor_at: None }, store.sources().now()).unwrap();
    world.workflow(OverlapPolicy::Allow, vec![trigger(100), trigger(130)]).await;
    let lag = async || {
        let seen = backlog(&world).await;
        (seen.triggers_due, seen.oldest_due_trigger_age_ms)
    };
    assert_eq!(lag().await, (0, None), "no slot has come yet");
    world.clock.advance(TimeDelta::seconds(142));
    assert_eq!(lag().await, (2, seconds(42)));

    sqlx::query("UPDATE workflows SET state = 'paused'").execute(&store.pool).await.unwrap();
    assert_eq!(lag().await, (0, None), "nobody waits for a paused workflow");
    sqlx::query("UPDATE workflows SET state = 'active'").execute(&store.pool).await.unwrap();
    let now = store.sources().now();
    let due = store.trigger_due(now, None, 1).await.unwrap();
    let planned = store.trigger_plan(&due[0], now).await.unwrap().unwrap();
    store.trigger_settle(&planned).await.unwrap().unwrap();
    assert_eq!(lag().await, (1, seconds(12)));
}

#[tokio::test]
async fn a_lease_that_ran_out_is_told_until_somebody_takes_the_session_over() {
    let world = World::new().await;
    for _ in 0..2 {
        world.ready().await;
    }
    let leases = async || {
        let seen = backlog(&world).await;
        (seen.leases_held, seen.leases_lapsed, seen.oldest_lapsed_lease_age_ms)
    };
    assert_eq!(leases().await, (0, 0, None), "nobody has held one yet");
    assert_eq!(world.claim(1).await.len(), 1);
    world.clock.advance(TimeDelta::seconds(20));
    assert_eq!(world.claim(1).await.len(), 1);
    assert_eq!(leases().await, (2, 0, None));
    world.clock.advance(TimeDelta::seconds(45));
    assert_eq!(leases().await, (1, 1, seconds(5)));
    world.clock.advance(TimeDelta::seconds(25));
    assert_eq!(leases().await, (0, 2, seconds(30)));
    assert_eq!(world.claim(2).await.len(), 2);
    assert_eq!(leases().await, (2, 0, None));
}

#[tokio::test]
async fn deliveries_that_are_over_are_not_read() {
    let thread = Thread::new().await;
    let pool = &thread.world.store.pool;
    sqlx::query(
        "INSERT INTO deliveries (org_id, delivery_id, channel_id, binding_id, sequence, payload, state, next_attempt_at,
            created_at, finished_at)
         SELECT org_id, gen_random_uuid(), channel_id, binding_id, n, '{}'::jsonb,
            CASE WHEN n % 40 = 0 THEN 'unknown' ELSE 'sent' END, now(), now(), now()
         FROM bindings, generate_series(1, 20000) AS n",
    )
    .execute(pool)
    .await
    .unwrap();
    sqlx::raw_sql("VACUUM (ANALYZE) deliveries").execute(pool).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let prepare = format!("PREPARE backlog (timestamptz) AS {}", include_str!("backlog.sql"));
    for statement in [prepare, "SET plan_cache_mode = force_generic_plan".into()] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await.unwrap();
    }
    let explain = "EXPLAIN (COSTS OFF) EXECUTE backlog (now())";
    let rows = sqlx::raw_sql(explain).fetch_all(&mut *connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    let plan = plan.join("\n");
    assert!(!plan.contains("Seq Scan on deliveries"), "{plan}");
    assert!(plan.contains("deliveries_unknown_since") && plan.contains("deliveries_dead"), "{plan}");
}
