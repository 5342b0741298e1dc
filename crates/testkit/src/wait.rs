//! Waiting for a state, never for a time.

use std::time::{Duration, Instant};

/// How long a state may take. Generous, as a slow machine must not fail a test; nobody waits this long for a success.
pub const LIMIT: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(5);

/// Asks `reached` until it says yes.
///
/// # Panics
/// With `what`, after [`LIMIT`].
#[track_caller]
pub fn wait_until<F, R>(what: &str, reached: F) -> impl Future<Output = ()>
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    wait(what, std::panic::Location::caller(), LIMIT, reached)
}

async fn wait<F, R>(what: &str, caller: &std::panic::Location<'_>, limit: Duration, mut reached: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let start = Instant::now();
    while !reached().await {
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what} ({caller})");
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;

    #[tokio::test]
    async fn a_state_that_comes_late_is_seen() {
        let mut looks = 0;
        wait_until("the third look", || {
            looks += 1;
            let reached = looks == 3;
            async move { reached }
        })
        .await;
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain: the moon turns green")]
    async fn a_state_that_never_comes_fails_with_its_name() {
        wait("the moon turns green", Location::caller(), Duration::ZERO, async || false).await;
    }
}
