//! Deletes deliveries that were finished longer ago than the retention.
//!
//! A reconciler: each pass walks over the oldest deliveries of every org, a stretch in a transaction, and takes no other input. It
//! may be repeated, cut short by a kill, or run in several replicas at once: what two of them both see, one of them deletes.
//!
//! Not promised: that a delivery goes as soon as it is old enough. It goes at the first pass after it.
//!
//! Not here: which may go (`store::delivery::sweep`), how long they are kept (the configuration).

use chrono::TimeDelta;
use clock::Timestamp;
use ids::OrgId;
use metrics::counter;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::retention::sweep;

/// Deliveries of one stretch.
const STRETCH: i64 = 500;
/// Orgs that are read at a time.
const ORGS: i64 = 500;

/// Makes passes until `shutdown`. Deliveries that were finished longer than `kept` ago are deleted.
pub async fn run_delivery_retention(store: Store, kept: TimeDelta, shutdown: CancellationToken) {
    measures::counter("cowork_deliveries_deleted_total", "deliveries that were finished long ago, and are gone");
    let pass = || pass(&store, kept, &shutdown);
    let (done, not_done) = (
        "deliveries that were finished long ago were deleted",
        "deliveries that were finished long ago can't be deleted",
    );
    sweep(&shutdown, pass, done, not_done).await;
}

/// One walk over all orgs. Gives back how many deliveries are gone.
async fn pass(store: &Store, kept: TimeDelta, shutdown: &CancellationToken) -> Result<i64, StoreError> {
    let before = store.sources().now() - kept;
    let (mut after, mut deleted) = (None, 0);
    loop {
        let orgs = store.org_list(after, ORGS).await?;
        let Some(last) = orgs.last() else { return Ok(deleted) };
        after = Some(last.org_id);
        for org in &orgs {
            deleted += of_org(store, org.org_id, before, shutdown).await?;
        }
    }
}

async fn of_org(store: &Store, org: OrgId, before: Timestamp, shutdown: &CancellationToken) -> Result<i64, StoreError> {
    let (mut after, mut deleted) = (None, 0);
    while !shutdown.is_cancelled() {
        let sweep = store.delivery_sweep(org, after, before, STRETCH).await?;
        counter!("cowork_deliveries_deleted_total").increment(sweep.deleted.unsigned_abs());
        deleted += sweep.deleted;
        after = sweep.last;
        if after.is_none() {
            break;
        }
    }
    Ok(deleted)
}
