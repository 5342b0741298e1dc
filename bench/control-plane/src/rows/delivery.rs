//! Deliveries from claim to acknowledgement: the store's statements in the gateway's batches, in a
//! process of its own, nothing sent, ledger off. Beside it jobs that do nothing in other queues, whose acknowledgements are not fenced.

use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use crate::Asked;
use crate::peers::{self, GRAPHILE_WORKER, GRAPHILE_WORKER_RS, PG_BOSS, PROCRASTINATE, Peers};
use crate::report::{Row, Target};
use crate::world::{Setup, World};

const DELIVERIES: usize = 50_000;
const THREADS: usize = 2_000;

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let peers = Peers::install().await?;
    let jobs = asked.of(DELIVERIES);
    let world = World::make(Setup::default()).await?;
    let ours = ours(&world, jobs, THREADS).await?;
    let mut rows = vec![Row::new("deliveries claimed to acknowledged, no-op transport", "/s", ours, Target::None)];
    for (peer, target) in [
        (GRAPHILE_WORKER, Target::AtLeast(1.5)),
        (GRAPHILE_WORKER_RS, Target::AtLeast(0.5)),
        (PG_BOSS, Target::None),
        (PROCRASTINATE, Target::None),
    ] {
        let theirs = peers.rate(peer, &world, if peer.name == PROCRASTINATE.name { jobs / 10 } else { jobs }).await?;
        rows.push(Row::new(format!("no-op jobs, {}", peer.name), "/s", theirs, Target::None));
        rows.push(Row::new(format!("deliveries over {}", peer.name), "x", ours / theirs, target));
    }
    let blocked = blocked(asked).await?;
    rows.push(Row::new(
        "deliveries claimed to acknowledged, 100,000 wait behind a blocked head",
        "/s",
        blocked,
        Target::None,
    ));
    rows.push(Row::new("the same, over an empty queue's", "x", blocked / ours, Target::AtLeast(0.67)));
    for slow_commits in [true] {
        let world = World::make(Setup { slow_commits, ..Setup::default() }).await?;
        let rate = self::ours(&world, jobs, THREADS).await?;
        rows.push(Row::new("deliveries claimed to acknowledged, commits of 1 ms", "/s", rate, Target::None));
    }
    Ok(rows)
}

async fn ours(world: &World, jobs: usize, threads: usize) -> anyhow::Result<f64> {
    deliveries(world, jobs, threads, "now()").await?;
    send(world, jobs).await
}

/// One destination is dead, and many messages wait behind its oldest.
async fn blocked(asked: &Asked) -> anyhow::Result<f64> {
    let world = World::make(Setup::default()).await?;
    deliveries(&world, asked.of(100_000), 10, "now() - interval '1 hour'").await?;
    let psql = world.psql();
    psql.run(
        "UPDATE deliveries SET next_attempt_at = now() + interval '1 hour' FROM (
            SELECT binding_id, min(sequence) AS sequence FROM deliveries GROUP BY binding_id) AS head
         WHERE deliveries.binding_id = head.binding_id AND deliveries.sequence = head.sequence",
    )
    .await?;
    let jobs = asked.of(DELIVERIES);
    deliveries(&world, jobs, THREADS, "now()").await?;
    send(&world, jobs).await
}

/// Deliveries that are due, in so many threads.
async fn deliveries(world: &World, jobs: usize, threads: usize, due: &str) -> anyhow::Result<()> {
    let each = jobs.div_ceil(threads);
    let script = format!(
        "BEGIN;
         CREATE TEMPORARY TABLE thread ON COMMIT DROP AS
            SELECT gen_random_uuid() AS session_id, gen_random_uuid() AS binding_id, n FROM generate_series(1, {threads}) AS n;
         CREATE TEMPORARY TABLE channel ON COMMIT DROP AS SELECT gen_random_uuid() AS channel_id;
         INSERT INTO channels (org_id, channel_id, kind, name, destination, secret_version, created_at)
            SELECT '{org}', channel_id, 'webhook', 'bench', 'http://127.0.0.1:9/', '1', now() FROM channel;
         INSERT INTO sessions (org_id, session_id, title, agent, last_sequence, last_ordinal, generation, fencing_counter,
                created_at, updated_at)
            SELECT '{org}', session_id, 'bench', 'scripted', 0, 0, 1, 0, now(), now() FROM thread;
         INSERT INTO bindings (org_id, binding_id, channel_id, thread, session_id, created_at)
            SELECT '{org}', binding_id, channel_id, 'thread ' || n, session_id, now() FROM thread, channel;
         INSERT INTO deliveries (org_id, delivery_id, channel_id, binding_id, sequence, payload, state, next_attempt_at,
                created_at)
            SELECT '{org}', gen_random_uuid(), channel_id, binding_id, s, '{{\"text\": \"hello\"}}', 'pending', {due}, now()
            FROM generate_series(1, {each}) AS s, thread, channel;
         COMMIT; VACUUM ANALYZE;",
        org = world.org
    );
    world.psql().run(&script).await.map(drop)
}

/// Until so many more are sent, which its rows have to show afterwards.
async fn send(world: &World, jobs: usize) -> anyhow::Result<f64> {
    const SENT: &str = "SELECT count(*) FROM deliveries WHERE state = 'sent'";
    let before = world.psql().number(SENT).await?;
    let mut gateway = Command::new(std::env::current_exe()?);
    gateway.arg("no-op-gateway").arg(world.cluster.url("cowork")).arg(jobs.to_string()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(300), gateway.output()).await;
    let output = output.context("the gateway does not get through")??;
    let rate = peers::rate_said(&output).context("the gateway said no rate")?;
    let sent = world.psql().number(SENT).await? - before;
    anyhow::ensure!(sent == i64::try_from(jobs)?, "{sent} of {jobs} deliveries were sent");
    Ok(rate)
}
