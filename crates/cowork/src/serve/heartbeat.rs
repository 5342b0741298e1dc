//! Saying that this process is alive.

use std::time::Duration;

use chrono::TimeDelta;
use effects::Effects;
use store::{Instance, Store};
use telemetry::Metrics;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, chain};

/// Diagnostics count a process as gone after three missed ones.
const INTERVAL: Duration = Duration::from_secs(5);

/// Rows of processes that were killed are removed by those that stop in order.
const SILENCE: TimeDelta = TimeDelta::hours(1);

#[derive(Debug)]
pub(crate) struct Heartbeat {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Beats once, then goes on beating until [`Heartbeat::stop`].
pub(crate) async fn start(
    store: Store,
    effects: Effects,
    instance: Instance,
    metrics: Metrics,
) -> Result<Heartbeat, Failure> {
    store.instance_beat(&instance).await?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(beat(store, effects, instance, metrics, stop.clone()));
    Ok(Heartbeat { stop, task })
}

async fn beat(store: Store, effects: Effects, instance: Instance, metrics: Metrics, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        metrics.upkeep();
        if let Err(error) = effects.check().await {
            // Whoever waits for it stops the process.
            tracing::error!(error = chain(&error), "the recovery ledger stops this process");
        }
        if let Err(error) = store.instance_beat(&instance).await {
            tracing::warn!(error = chain(&error), "the heartbeat was not written");
        }
    }
    let silent_since = store.sources().now() - SILENCE;
    if let Err(error) = store.instance_leave(instance.instance, silent_since).await {
        tracing::warn!(error = chain(&error), "the instance's row was not removed");
    }
}

impl Heartbeat {
    /// Says that the process is gone.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A panic in it has been logged; the row then ages.
        let _ = self.task.await;
    }
}
