//! Seals the audit trails: every record gets its place in its org's hash chain.
//!
//! A reconciler: each pass reads which orgs have records that are not sealed, and seals them. It may be repeated, cut short by
//! a kill, or run in several replicas at once: whoever seals an org holds its head meanwhile. Where an org has more than
//! is sealed at a time, the next pass follows at once: every prompt is a record.
//!
//! Not promised: that a record is sealed when it is seconds old. `GET /api/audit/verification` says how many are not.
//!
//! Not here: what a seal is (`store::audit`).

use std::time::Duration;

use ids::OrgId;
use metrics::counter;
use store::{AUDIT_SEALED_AT_ONCE, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::failed;
use crate::passes::repeat;

/// Between two passes, once they have caught up.
const POLL: Duration = Duration::from_secs(1);
/// Orgs of one reading.
const BATCH: i64 = 100;

/// Makes passes until `shutdown`.
pub async fn run_seals(store: Store, shutdown: CancellationToken) {
    measures::counter("cowork_audit_sealed_total", "records of audit trails that were sealed");
    repeat(&shutdown, async || match pass(&store, &shutdown).await {
        Ok(true) => Duration::ZERO,
        Ok(false) => POLL,
        Err(error) => {
            failed(&error, "audit trails could not be sealed");
            POLL
        }
    })
    .await;
}

/// One round over the orgs that have something to seal: the busiest can't keep the others waiting. Says whether one of
/// them may have more.
async fn pass(store: &Store, shutdown: &CancellationToken) -> Result<bool, StoreError> {
    let (mut more, mut last) = (false, None);
    loop {
        let orgs = store.audit_unsealed_orgs(last, BATCH).await?;
        last = orgs.last().copied();
        if last.is_none() {
            return Ok(more);
        }
        for org in orgs {
            if shutdown.is_cancelled() {
                return Ok(false);
            }
            more |= seal(store, org).await;
        }
    }
}

/// Whether the org may have more. One that can't be sealed keeps no other waiting.
async fn seal(store: &Store, org: OrgId) -> bool {
    match store.audit_seal(org).await {
        Ok(sealed) => {
            counter!("cowork_audit_sealed_total").increment(sealed as u64);
            sealed >= AUDIT_SEALED_AT_ONCE
        }
        Err(error) => {
            failed(&error, "an audit trail could not be sealed");
            false
        }
    }
}
