//! Writing down when API tokens were last used, while a web role is there.
//!
//! Not here: what is noted, and how often it is written (`store`).

use std::time::Duration;

use store::Store;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::failure::chain;

/// Between two looks. The store writes a token at most once a minute.
const INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct TokenUses {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Writes until [`TokenUses::stop`].
pub(crate) fn start(store: Store) -> TokenUses {
    let stop = CancellationToken::new();
    let task = tokio::spawn(write(store, stop.clone()));
    TokenUses { stop, task }
}

async fn write(store: Store, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        if let Err(error) = store.token_uses_write().await {
            tracing::warn!(error = chain(&error), "when tokens were last used was not written; it is tried again");
        }
    }
    if let Err(error) = store.token_uses_flush().await {
        tracing::warn!(error = chain(&error), "when tokens were last used was not written");
    }
}

impl TokenUses {
    /// Writes what was noted to the end. To be called when no request is answered any more.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A panic in it has been logged.
        let _ = self.task.await;
    }
}
