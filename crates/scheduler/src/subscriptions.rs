//! Puts into force what time and configuration make of subscriptions: one whose time of grace or whose paid period is over is
//! refused, and a plan that allows something else now reaches whoever is on it.
//!
//! A reconciler: each pass reads subscriptions and the configured plans, and takes no other input. It may be repeated, cut short by a
//! kill, or run in several replicas at once; replicas that are configured with different plans undo each other's work.
//!
//! Not promised: that a subscription is refused at its instant. It is at the first pass after it.
//!
//! Not here: what is in force (`store::subscription`), what a provider says of it (`web`).

use std::sync::Arc;
use std::time::Duration;

use domain::plan::Plans;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::failed;
use crate::passes::repeat;

/// Between two passes.
const POLL: Duration = Duration::from_secs(30);
/// Orgs that are looked for at once.
const BATCH: usize = 100;
/// Looks of one pass. Replicas that undo each other's work do so once in a while then, not all the time.
const LOOKS: usize = 100;

/// Makes passes until `shutdown`.
pub async fn run_subscriptions(store: Store, plans: Arc<Plans>, shutdown: CancellationToken) {
    repeat(&shutdown, async || {
        if let Err(error) = pass(&store, &plans, &shutdown).await {
            failed(&error, "subscriptions could not be put into force");
        }
        POLL
    })
    .await;
}

async fn pass(store: &Store, plans: &Plans, shutdown: &CancellationToken) -> Result<(), StoreError> {
    for _ in 0..LOOKS {
        let due = store.subscription_due(plans, BATCH as i64).await?;
        for org in &due {
            store.subscription_settle(*org, plans).await?;
        }
        if !due.is_empty() {
            tracing::info!(orgs = due.len(), "subscriptions were put into force");
        }
        if due.len() < BATCH || shutdown.is_cancelled() {
            break;
        }
    }
    Ok(())
}
