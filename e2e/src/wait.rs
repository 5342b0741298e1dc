//! Waiting for a state, never for a time.

use std::time::{Duration, Instant};

/// How long anything may take, on a machine that does much else. Nobody waits this long for a success.
pub const LIMIT: Duration = Duration::from_secs(300);

const PAUSE: Duration = Duration::from_millis(10);

/// Asks until there is an answer, and gives it.
///
/// # Panics
/// With `what`, after [`LIMIT`].
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a state that has no wake-up")]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// As [`wait_for`], where the question takes its time.
///
/// # Panics
/// With `what`, after [`LIMIT`].
pub async fn wait_for_async<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
