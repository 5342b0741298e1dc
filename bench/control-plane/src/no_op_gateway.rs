//! Claims deliveries and acknowledges them without sending anything: `bench-control-plane no-op-gateway DATABASE`.
//!
//! The store's own statements, in batches as the gateway makes them: claims are leased and fenced, threads keep their order,
//! what was sent is metered. Not here: the gateway's loop, which tells the recovery ledger and sends.

use chrono::TimeDelta;
use clock::Sources;
use store::{Outcome, Settlement, Store};

/// Deliveries of one claim.
const BATCH: i64 = 256;
/// Claims that are under way at the same time.
const AT_ONCE: usize = 4;

/// Runs until it is killed.
pub(crate) async fn run(database: &str) -> anyhow::Result<()> {
    let store = Store::connect(database, 10, Sources::system()).await?;
    let loops = (0..AT_ONCE).map(|_| claim_and_settle(&store));
    futures::future::try_join_all(loops).await.map(drop)
}

async fn claim_and_settle(store: &Store) -> anyhow::Result<()> {
    loop {
        let claims = store.delivery_claim(1, BATCH, TimeDelta::seconds(25)).await?;
        if claims.deliveries.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let sent = claims.deliveries.into_iter().map(|claim| Settlement { claim, outcome: Outcome::Sent });
        store.delivery_settle(&sent.collect::<Vec<_>>(), false).await?;
    }
}
