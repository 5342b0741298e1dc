//! Compacts what is older than the retention: events of turns that ended long ago.
//!
//! A reconciler: each pass walks over all sessions, a stretch at a time, and takes no other input. It may be repeated, cut short
//! by a kill, or run in several replicas at once: what two of them both see, one of them compacts (`store::compaction`).
//!
//! Not promised: that an event goes as soon as it is old enough. It goes at the first pass after it, and not before nobody needs
//! it any more. A session whose events are damaged is left as it is, counted, and logged at every pass.
//!
//! Not here: what may go (`store::compaction`), how long events are kept (the configuration).

use std::time::Duration;

use chrono::TimeDelta;
use ids::{OrgId, SessionId};
use metrics::counter;
use store::{CompactError, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::chain;
use crate::passes::repeat;

/// Between two passes. Retention is told in days; a walk looks at two events of each session, or at what is old.
const POLL: Duration = Duration::from_secs(3_600);
/// After a pass that could not go on.
const AGAIN: Duration = Duration::from_secs(300);
/// Sessions of one stretch.
const STRETCH: i64 = 500;

/// Makes passes until `shutdown`. Turns that ended longer than `kept` ago are compacted.
pub async fn run_retention(store: Store, kept: TimeDelta, shutdown: CancellationToken) {
    measures::counter("cowork_events_compacted_total", "events that a base took the place of");
    measures::counter("cowork_retention_errors_total", "passes, or sessions, that could not be done");
    let pass = || pass(&store, kept, &shutdown);
    sweep(&shutdown, pass, "sessions were compacted", "sessions can't be looked at for compacting").await;
}

/// Makes passes until `shutdown`, for whoever deletes what is old. A pass gives back how much is gone.
pub(crate) async fn sweep<F: Future<Output = Result<i64, StoreError>>>(
    shutdown: &CancellationToken,
    pass: impl Fn() -> F,
    done: &'static str,
    not_done: &'static str,
) {
    repeat(shutdown, async || match pass().await {
        Ok(0) => POLL,
        Ok(count) => {
            tracing::info!(count, "{done}");
            POLL
        }
        Err(error) => {
            failed(&error, not_done);
            AGAIN
        }
    })
    .await;
}

/// One walk over all sessions. Gives back how many events are gone.
async fn pass(store: &Store, kept: TimeDelta, shutdown: &CancellationToken) -> Result<i64, StoreError> {
    let before = store.sources().now() - kept;
    let (mut after, mut events) = (None, 0);
    while !shutdown.is_cancelled() {
        let page = store.compaction_page(after, before, STRETCH).await?;
        for session in page.due {
            events += compact(store, session, before, shutdown).await;
        }
        after = page.last;
        if after.is_none() {
            break;
        }
    }
    Ok(events)
}

/// One that can't be compacted does not keep the others waiting.
async fn compact(
    store: &Store,
    (org, session): (OrgId, SessionId),
    before: clock::Timestamp,
    shutdown: &CancellationToken,
) -> i64 {
    let mut events = 0;
    while !shutdown.is_cancelled() {
        let compacted = match store.session_compact(org, session, before).await {
            Ok(compacted) => compacted,
            Err(error) => {
                unfit(org, session, &error);
                break;
            }
        };
        counter!("cowork_events_compacted_total").increment(compacted.events.unsigned_abs());
        events += compacted.events;
        if !compacted.more {
            break;
        }
    }
    events
}

fn unfit(org: OrgId, session: SessionId, error: &CompactError) {
    tracing::error!(org.id = %org, session.id = %session, error = chain(error), "a session can't be compacted");
    counter!("cowork_retention_errors_total").increment(1);
}

fn failed(error: &StoreError, what: &'static str) {
    tracing::error!(error = chain(error), "{what}");
    counter!("cowork_retention_errors_total").increment(1);
}
