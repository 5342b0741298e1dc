//! Forgets what was kept for a while: keys of requests and their answers.
//!
//! A reconciler: each pass deletes what has expired. It may be repeated, cut short by a kill, or run in several replicas at
//! once.
//!
//! Not here: how long something is kept (`store::idempotency`).

use std::time::Duration;

use store::Store;
use tokio_util::sync::CancellationToken;

use crate::failed;

/// Between two passes.
const POLL: Duration = Duration::from_secs(60);

/// Makes passes until `shutdown`.
pub async fn run_expiries(store: Store, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        while !shutdown.is_cancelled() {
            match store.idempotency_sweep().await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    failed(&error, "expired keys of requests could not be deleted");
                    break;
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}
