//! What a plan allows by now reaches whoever is on it while a scheduler runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::plan::{Allowance, Plan, Plans, SELF_HOSTED};
use domain::quota::{QuotaOrigin, QuotaPeriod, UsageKind};
use scheduler::run_subscriptions;
use store::{Environment, Store};
use testkit::{TestDatabase, wait_until};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn schedulers_at_once_give_every_org_what_its_plan_allows() {
    let database = TestDatabase::create().await;
    let store = Store::from_pool(database.pool(), testkit::system_sources());
    store.migrate().await.unwrap();
    store.generation_initialise(Environment::Production).await.unwrap();
    for name in ["A", "B"] {
        store.org_create(name, "role:test").await.unwrap();
    }
    let turns = Allowance { period: QuotaPeriod::Day, quantity_max: 5 };
    let plan = Plan { quotas: [(UsageKind::Turns, turns)].into(), ..Plan::default() };
    let plans = Arc::new(Plans::from(BTreeMap::from([(SELF_HOSTED.to_owned(), plan)])));

    let shutdown = CancellationToken::new();
    let run = || tokio::spawn(run_subscriptions(store.clone(), plans.clone(), shutdown.clone()));
    let running: Vec<_> = (0..2).map(|_| run()).collect();
    let settled = || async { store.subscription_due(&plans, 1).await.unwrap().is_empty() };
    wait_until("every plan is in force", settled).await;
    shutdown.cancel();
    for scheduler in running {
        scheduler.await.unwrap();
    }
    for org in store.org_list(None, 10).await.unwrap() {
        let quota = store.quota_get(org.org_id, UsageKind::Turns).await.unwrap().unwrap();
        assert_eq!((quota.origin, quota.quantity_max), (QuotaOrigin::Plan, 5));
    }
}
