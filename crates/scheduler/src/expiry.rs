//! Forgets what was kept for a while: keys of requests with their answers, and browser sessions and invitations that
//! ended long ago.
//!
//! A reconciler: each pass deletes what has expired. It may be repeated, cut short by a kill, or run in several replicas at
//! once.
//!
//! Not here: how long something is kept (`store::idempotency`, `store::browser_session`, `store::invitation`).

use std::time::Duration;

use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::failed;

/// Between two passes.
const POLL: Duration = Duration::from_secs(60);

/// Makes passes until `shutdown`.
pub async fn run_expiries(store: Store, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        sweep(&shutdown, "expired keys of requests could not be deleted", || store.idempotency_sweep()).await;
        sweep(&shutdown, "browser sessions that ended long ago could not be deleted", || store.browser_session_sweep())
            .await;
        sweep(&shutdown, "invitations that ended long ago could not be deleted", || store.invitation_sweep()).await;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Deletes until nothing is left that has expired. `failure`: what is said if that does not work.
async fn sweep<F>(shutdown: &CancellationToken, failure: &'static str, mut some: impl FnMut() -> F)
where
    F: Future<Output = Result<u64, StoreError>>,
{
    while !shutdown.is_cancelled() {
        match some().await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                failed(&error, failure);
                break;
            }
        }
    }
}
