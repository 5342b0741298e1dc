//! Keeps the recovery ledger small: segments of past hours become bundles, and what is older than the retention goes.
//!
//! A reconciler: each pass looks at every hour that the ledger has, and takes no other input. It may be repeated, cut short
//! by a kill, or run in several replicas at once, also of an older generation: what a reader is told stays the same.
//!
//! Not promised: that a clock which is ahead by more than the retention is noticed. What is dropped is judged by the clock
//! of this process, and every reader is told from when on the ledger is kept.
//!
//! Not here: how segments are bundled (`ledger::compact`), how long they are kept (the configuration).

use std::time::Duration;

use effects::Effects;
use ledger::{Compacted, Compaction};
use metrics::counter;
use tokio_util::sync::CancellationToken;

use crate::chain;
use crate::passes::repeat;

/// Between two passes. Hours are bundled, so looking more often finds nothing; and each look lists every hour.
const POLL: Duration = Duration::from_secs(3_600);
/// After a pass that failed.
const AGAIN: Duration = Duration::from_secs(300);

/// Makes passes until `shutdown`. A pass that has begun is dropped at the shutdown, which loses nothing.
pub async fn run_compactions(effects: Effects, ages: Compaction, shutdown: CancellationToken) {
    describe();
    repeat(&shutdown, async || match shutdown.run_until_cancelled(effects.compact(ages)).await {
        None => Duration::ZERO,
        Some(Ok(done)) => {
            record(done);
            POLL
        }
        Some(Err(error)) => {
            tracing::warn!(error = chain(&error), "the recovery ledger can't be compacted");
            counter!("cowork_ledger_compaction_errors_total").increment(1);
            AGAIN
        }
    })
    .await;
}

fn record(done: Compacted) {
    counter!("cowork_ledger_bundled_total").increment(done.bundled);
    counter!("cowork_ledger_dropped_total").increment(done.dropped);
    if done != Compacted::default() {
        let Compacted { bundles, bundled, dropped } = done;
        tracing::info!(bundles, bundled, dropped, "the recovery ledger was compacted");
    }
}

fn describe() {
    measures::counter("cowork_ledger_bundled_total", "segments that lie in bundles and no longer by themselves");
    measures::counter("cowork_ledger_dropped_total", "objects of the ledger that the retention let go");
    measures::counter("cowork_ledger_compaction_errors_total", "passes over the ledger that failed");
}
