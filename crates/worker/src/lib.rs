//! The worker: leases sessions, runs their commands in order, writes what happens, saves checkpoints.
//!
//! Promised: what a turn did is recorded in one transaction with the command's acknowledgement, under a fencing token;
//! a worker that was too late writes nothing. A killed worker's command is carried out again, from the last checkpoint,
//! when the lease has run out.
//!
//! Not promised: that an agent is run once. What it did outside its workspace before the crash, it may do again. And a
//! late worker of the same machine may still scribble in a workspace until it learns that it is late.
//!
//! Not here: SQL (`store`), the format of checkpoints (`objects`), what agents do (`agents`).

mod halt;
mod holdings;
mod journal;
mod keys;
mod left_out;
mod measured;
mod models;
mod plan;
mod session;
mod sink;
mod turn;
mod workspace;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agents::Agent;
use chrono::TimeDelta;
use clock::Timestamp;
use ids::{InstanceId, OrgId, SessionId};
use objects::Objects;
use secrets::Kms;
use store::{Held, Lease, Store, StoreError};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::holdings::Holdings;
pub use crate::keys::{OrgKeys, OrgKeysError};
pub use crate::models::Models;
use crate::workspace::Workspaces;

/// What a worker is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    pub store: Store,
    pub objects: Objects,
    pub kms: Arc<dyn Kms>,
    /// Each under its name.
    pub agents: Vec<Arc<dyn Agent>>,
    /// This process.
    pub instance: InstanceId,
    /// The generation that was current when the process started. After a restore this worker claims nothing any more.
    pub generation: i64,
}

/// How a worker works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Absolute. Below it each session has its folder, the same on every worker.
    pub workspace_root: PathBuf,
    /// Sessions at the same time.
    pub concurrency: usize,
    /// How long a killed worker's sessions wait for another.
    pub lease: Duration,
    /// Between two looks for work, or for what is said to turns, that nobody told of.
    pub poll: Duration,
    /// How long running turns may take to end once a shutdown was asked for. Then their leases are given up.
    pub drain: Duration,
    /// The wait before the first lost attempt is repeated; it grows with each (`domain::command::wait_after_loss`).
    pub backoff: Duration,
}

/// What all sessions of this worker share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) parts: Parts,
    pub(crate) config: Config,
    pub(crate) keys: OrgKeys,
    pub(crate) workspaces: Workspaces,
    pub(crate) holdings: Holdings,
    /// No new turns.
    pub(crate) draining: CancellationToken,
    /// Turns that still run stop now.
    pub(crate) cut: CancellationToken,
}

impl Context {
    fn lease_end(&self) -> Timestamp {
        let lease = TimeDelta::from_std(self.config.lease).unwrap_or(TimeDelta::seconds(30));
        self.parts.store.sources().now() + lease
    }
}

/// Works until `shutdown`, then drains. An outage of the database is waited out.
pub async fn run(parts: Parts, config: Config, shutdown: CancellationToken) {
    measured::describe();
    let context = Arc::new(Context {
        keys: OrgKeys::new(parts.store.clone(), parts.kms.clone()),
        workspaces: Workspaces::new(config.workspace_root.clone(), parts.instance),
        holdings: Holdings::default(),
        draining: shutdown.clone(),
        cut: CancellationToken::new(),
        parts,
        config,
    });
    let done = CancellationToken::new();
    let keepers = tokio::join!(work(&context, &shutdown, &done), keep(&context, &done), watch(&context, &done));
    let ((), (), ()) = keepers;
}

/// Claims and starts sessions; at the end waits for those that run.
async fn work(context: &Arc<Context>, shutdown: &CancellationToken, done: &CancellationToken) {
    let mut sessions = JoinSet::new();
    let mut work = context.parts.store.wakes().work();
    let mut look_at = Instant::now();
    while !shutdown.is_cancelled() {
        let free = context.config.concurrency - sessions.len();
        if look_at <= Instant::now() {
            let claimed = claim(context, free).await;
            // With all places taken, more may wait; else nothing does that nobody will tell of.
            let full = claimed.len() == free;
            look_at = Instant::now() + if full { Duration::ZERO } else { context.config.poll };
            for (lease, held) in claimed {
                sessions.spawn(session::advance(context.clone(), lease, held));
            }
        }
        let room = sessions.len() < context.config.concurrency;
        tokio::select! {
            () = shutdown.cancelled() => {}
            Some(_) = sessions.join_next() => while sessions.try_join_next().is_some() {},
            () = work.woken() => look_at = Instant::now(),
            () = tokio::time::sleep_until(look_at), if room => {}
        }
    }
    let drained = async { while sessions.join_next().await.is_some() {} };
    if tokio::time::timeout(context.config.drain, drained).await.is_err() {
        context.cut.cancel();
        while sessions.join_next().await.is_some() {}
    }
    done.cancel();
}

/// Sessions that are this worker's now, with what it needs to begin.
async fn claim(context: &Context, free: usize) -> Vec<(Lease, Result<Held, StoreError>)> {
    if free == 0 {
        return Vec::new();
    }
    let (parts, limit) = (&context.parts, i64::try_from(free).unwrap_or(1));
    let claimed = parts.store.lease_claim(parts.generation, parts.instance, context.lease_end(), limit).await;
    let leases = claimed.unwrap_or_else(|error| {
        tracing::warn!(error = halt::chain(&error), "no session could be claimed");
        Vec::new()
    });
    if leases.is_empty() {
        return Vec::new();
    }
    match parts.store.lease_load_all(&leases).await {
        Ok(held) => leases.into_iter().zip(held).collect(),
        Err(error) => {
            tracing::warn!(
                error = halt::chain(&error),
                "claimed sessions could not be read; their leases will run out"
            );
            Vec::new()
        }
    }
}

/// Renews all leases that are held, at a third of their time. In a task of its own: a busy turn can't starve it.
async fn keep(context: &Context, done: &CancellationToken) {
    let mut ticks = tokio::time::interval(context.config.lease / 3);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            _ = ticks.tick() => renew(context).await,
        }
    }
}

async fn renew(context: &Context) {
    let leases = context.holdings.leases();
    if leases.is_empty() {
        return;
    }
    let until = context.lease_end();
    match context.parts.store.lease_renew(&leases, until).await {
        Ok(renewed) => context.holdings.renewed(&leases, &renewed, until),
        Err(error) => tracing::warn!(error = halt::chain(&error), "leases could not be renewed"),
    }
    context.holdings.expire(context.parts.store.sources().now());
}

/// Looks for what people say to the turns that run, so that it is heard at once.
async fn watch(context: &Context, done: &CancellationToken) {
    let mut abort = context.parts.store.wakes().abort();
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = abort.woken() => {}
            () = tokio::time::sleep(context.config.poll) => {}
        }
        if let Err(error) = look(context).await {
            tracing::warn!(error = halt::chain(&error), "no look for aborts and steering prompts was possible");
        }
    }
}

/// Aborts first: what was said behind one is not for the turn that it ends.
async fn look(context: &Context) -> Result<(), StoreError> {
    let running = context.holdings.running();
    if running.is_empty() {
        return Ok(());
    }
    let sessions: Vec<(OrgId, SessionId)> = running.iter().map(|turn| (turn.org, turn.session)).collect();
    context.holdings.abort(&running, &context.parts.store.commands_aborting(&sessions).await?);
    let given: Vec<_> = running.iter().map(|turn| (turn.org, turn.session, turn.given)).collect();
    context.holdings.steer(&running, context.parts.store.commands_steering(&given).await?);
    Ok(())
}

#[cfg(test)]
mod tests;
