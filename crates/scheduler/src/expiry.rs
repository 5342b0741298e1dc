//! Forgets what was kept for a while: keys of requests with their answers, uploads that nobody completed, ids of billing events, and
//! browser sessions and invitations that ended long ago.
//!
//! A reconciler: each pass deletes what has expired. It may be repeated, cut short by a kill, or run in several replicas at
//! once.
//!
//! Not here: how long something is kept (`store::idempotency`, `store::upload`, `store::browser_session`,
//! `store::invitation`).

use std::time::Duration;

use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::failed;
use crate::passes::repeat;

/// Between two passes.
const POLL: Duration = Duration::from_secs(60);

/// Makes passes until `shutdown`.
pub async fn run_expiries(store: Store, shutdown: CancellationToken) {
    repeat(&shutdown, async || {
        sweep(&shutdown, "expired keys of requests could not be deleted", || store.idempotency_sweep()).await;
        sweep(&shutdown, "browser sessions that ended long ago could not be deleted", || store.browser_session_sweep())
            .await;
        sweep(&shutdown, "invitations that ended long ago could not be deleted", || store.invitation_sweep()).await;
        sweep(&shutdown, "billing events of long ago could not be deleted", || store.billing_event_sweep()).await;
        sweep(&shutdown, "uploads whose time is over could not be deleted", || store.uploads_sweep()).await;
        POLL
    })
    .await;
}

/// Deletes until nothing is left to delete; `delete` takes a bounded number and says how many there were. `failure`: what is
/// said if that does not work.
async fn sweep<F>(shutdown: &CancellationToken, failure: &'static str, delete: impl Fn() -> F)
where
    F: Future<Output = Result<u64, StoreError>>,
{
    while !shutdown.is_cancelled() {
        match delete().await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return failed(&error, failure),
        }
    }
}
