//! The audit trails are sealed while a scheduler runs, by however many of them.

use scheduler::run_seals;
use store::{Environment, Store};
use testkit::{TestDatabase, wait_until};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn schedulers_at_once_seal_every_trail_into_one_chain() {
    let database = TestDatabase::create().await;
    let store = Store::from_pool(database.pool(), testkit::system_sources());
    store.migrate().await.unwrap();
    store.generation_initialise(Environment::Production).await.unwrap();
    let (first, second) =
        (store.org_create("A", "role:test").await.unwrap(), store.org_create("B", "role:test").await.unwrap());

    let shutdown = CancellationToken::new();
    let running: Vec<_> = (0..2).map(|_| tokio::spawn(run_seals(store.clone(), shutdown.clone()))).collect();
    let sealed = || async { store.audit_unsealed_orgs(None, 1).await.unwrap().is_empty() };
    wait_until("every record is sealed", sealed).await;
    shutdown.cancel();
    for scheduler in running {
        scheduler.await.unwrap();
    }
    for org in [first.org_id, second.org_id] {
        let seen = store.audit_verify(org, None, i64::MAX).await.unwrap();
        assert_eq!((seen.verified, seen.complete, seen.fault), (1, true, None));
    }
}
