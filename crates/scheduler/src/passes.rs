//! One pass after the other, with a pause between them, until the process drains.
//!
//! Not here: firing slots, whose passes keep to a timetable (`run`).

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Makes passes until `shutdown`. A pass gives back how long to pause after it, looks at `shutdown` itself, and does not fail: what
/// went wrong is logged, counted, and tried again by a later one.
pub(crate) async fn repeat<F: Future<Output = Duration>>(shutdown: &CancellationToken, pass: impl Fn() -> F) {
    while !shutdown.is_cancelled() {
        let pause = pass().await;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
