//! Carries erasures out, and deletes the objects that no row names any more.
//!
//! A reconciler: each pass takes the steps that are left of every unfinished erasure, then the objects whose grace is over. It
//! may be repeated, cut short by a kill, or run in several replicas at once.
//!
//! Not here: what an erasure takes (`store::subject`), why objects wait (`store::blob_deletion`).

use std::time::Duration;

use metrics::counter;
use objects::Objects;
use store::{ErasureStep, Store};
use tokio_util::sync::CancellationToken;

use crate::chain;
use crate::passes::repeat;

/// Between two passes.
const POLL: Duration = Duration::from_secs(1);
/// Erasures of one pass, and objects that are deleted at a time.
const BATCH: i64 = 100;

/// Something that a pass could not do. The next one tries again.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error("an object can't be deleted")]
    Objects(#[from] objects::ObjectsError),
}

/// Makes passes until `shutdown`.
pub async fn run_erasures(store: Store, objects: Objects, shutdown: CancellationToken) {
    measures::counter("cowork_erasure_errors_total", "passes over erasures and deletions that failed");
    measures::counter("cowork_objects_deleted_total", "objects that no row named any more, and that are deleted");
    repeat(&shutdown, async || {
        if let Err(error) = pass(&store, &objects, &shutdown).await {
            tracing::error!(error = chain(&error), "erasures or deletions can't be carried out");
            counter!("cowork_erasure_errors_total").increment(1);
        }
        POLL
    })
    .await;
}

async fn pass(store: &Store, objects: &Objects, shutdown: &CancellationToken) -> Result<(), PassError> {
    for account in store.subjects_unfinished(BATCH).await? {
        while !shutdown.is_cancelled() && store.subject_erasure_step(account).await? == ErasureStep::More {}
    }
    while !shutdown.is_cancelled() {
        let deletions = store.blob_deletions_take(BATCH).await?;
        if deletions.due.is_empty() {
            break;
        }
        for deletion in &deletions.due {
            objects.delete(&deletion.key).await?;
        }
        counter!("cowork_objects_deleted_total").increment(deletions.due.len() as u64);
        deletions.done().await?;
    }
    Ok(store.blob_deletions_forget().await?)
}
