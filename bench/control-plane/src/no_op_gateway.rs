//! Claims deliveries and acknowledges them without sending anything: `bench-control-plane no-op-gateway DATABASE JOBS`.
//!
//! The store's own statements, in batches as the gateway makes them: claims are leased and fenced, threads keep their order,
//! what was sent is metered. Prints `RATE n` as the peers do, from the first claim to the last acknowledgement. Not here: the
//! gateway's loop, which tells the recovery ledger and sends.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use clock::Sources;
use store::{Outcome, Settlement, Store};
use tokio::time::Instant;

/// Deliveries of one claim: what a gateway with its 1,000 places takes at once.
const BATCH: i64 = 500;
/// Claims that are under way at the same time.
const AT_ONCE: usize = 4;

/// Until `jobs` are sent.
pub(crate) async fn run(database: &str, jobs: usize) -> anyhow::Result<()> {
    let store = Store::connect(database, 10, Sources::system()).await?;
    let sent = AtomicUsize::new(0);
    let begun = Instant::now();
    let loops = (0..AT_ONCE).map(|_| claim_and_settle(&store, &sent, jobs));
    futures::future::try_join_all(loops).await?;
    println!("RATE {}", jobs as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

async fn claim_and_settle(store: &Store, sent: &AtomicUsize, jobs: usize) -> anyhow::Result<()> {
    while sent.load(Ordering::Relaxed) < jobs {
        let claims = store.delivery_claim(1, BATCH, TimeDelta::seconds(25)).await?;
        if claims.deliveries.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            continue;
        }
        let told = claims.deliveries.into_iter().map(|claim| Settlement { claim, outcome: Outcome::Sent });
        let settled = store.delivery_settle(&told.collect::<Vec<_>>(), false).await?;
        sent.fetch_add(settled.len(), Ordering::Relaxed);
    }
    Ok(())
}
