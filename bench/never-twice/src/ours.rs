//! Ours through the same disaster, by its own binary: messages wait for a destination that is away, a backup is taken, the
//! destination comes back, everything is killed with `kill -9`, the backup is restored, and the roles run again.
//!
//! The destination takes no idempotency key, and the workflow runs every slot that it missed: what would show the most.
//!
//! A tick is a run of a slot. Runs stay inside, so they are read from the API, of both lives.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::ensure;
use client::{Client, NewTrigger, NewWorkflow, Wish};
use e2e::Installation;
use ids::RunId;
use localpg::Cluster;
use tokio::task::spawn_blocking;

use crate::JOBS;
use crate::peer::{binaries, early_in_a_minute};
use crate::sink::{Sink, Tally};

const SESSIONS: u32 = 10;
/// More than a minute: a tick has to be waited for.
const LIMIT: Duration = Duration::from_secs(150);
/// A destination that is away is asked again soon.
const GATEWAY: &str = "backoff_ms = 50\nbackoff_max_ms = 500\nmax_attempts = 10000\n";

pub(crate) async fn survive(scratch: &Path) -> anyhow::Result<Tally> {
    let (server, parent) = (binaries()?, scratch.to_owned());
    let cluster = spawn_blocking(move || Cluster::temporary(&server, &parent)).await??;
    cluster.create_database("before")?;
    cluster.create_database("after")?;
    let (sink, folder) = (Sink::start().await?, scratch.join("cowork"));
    std::fs::create_dir(&folder)?;

    let lost = configured(&folder, "before", &cluster)?;
    let first = lost.clone();
    let (token, served) = spawn_blocking(move || (first.init(), first.serve())).await?;
    prepare(&served.operator(), &sink).await?;
    let first = lost.clone();
    spawn_blocking(move || first.done(&["backup", "--archive", "../archive"])).await?;
    early_in_a_minute().await;
    sink.open();
    let mut seen = BTreeSet::new();
    until("all is sent and a tick has fired", async || {
        Ok(ticks(&served.operator(), &sink, &mut seen).await? > 0 && sink.told("message") >= JOBS)
    })
    .await?;
    spawn_blocking(|| served.kill()).await?;

    let restored = configured(&folder, "after", &cluster)?;
    let restore = ["restore", "--archive", "../archive", "--backup", "latest", "--environment", "production"];
    let served = spawn_blocking(move || {
        restored.bring(&lost, &token);
        restored.done(&restore);
        restored.serve()
    });
    let served = served.await?;
    let before = seen.len();
    until("the restored system has nothing left to send, and fires", async || {
        let waits = served.operator().delivery_list(Some("pending"), None, 1).await?.items.len();
        Ok(ticks(&served.operator(), &sink, &mut seen).await? > before && waits == 0)
    })
    .await?;
    spawn_blocking(|| served.kill()).await?;
    Ok(sink.tally(JOBS))
}

fn configured(folder: &Path, life: &str, cluster: &Cluster) -> anyhow::Result<Installation> {
    let own: PathBuf = folder.join(life);
    std::fs::create_dir(&own)?;
    let (url, ledger) = (cluster.url(life), folder.join("ledger"));
    // Ends the gateway's part, which is the last in what every installation here has.
    let more = format!("{GATEWAY}[database]\nurl = {url:?}\n[ledger]\nfolder = {ledger:?}\n");
    Ok(Installation::new(&own, &more))
}

/// Messages that wait, and a workflow that is due every minute.
async fn prepare(operator: &Client, sink: &Sink) -> anyhow::Result<()> {
    let channel = operator.channel_create_without_deduplication("plain", &sink.hook()).await?.channel_id;
    for session in 0..SESSIONS {
        let id = operator.session_create("t", "scripted").await?.session_id;
        operator.binding_create(channel, &format!("thread {session}"), id).await?;
        for message in 0..JOBS / SESSIONS {
            let name = format!("m-{session}-{message}");
            operator.command_submit(id, &name, &Wish::Prompt { text: format!("say {name}") }).await?;
        }
    }
    let workflow = NewWorkflow {
        name: "every minute".into(),
        agent: None,
        prompt: "say tick".into(),
        missed_policy: Some("run_all".into()),
        missed_window_s: Some(3_600),
        overlap_policy: None,
        state: None,
        triggers: vec![NewTrigger::Cron { expression: "* * * * *".into(), time_zone: "UTC".into() }],
    };
    operator.workflow_create(&workflow).await?;
    until("all messages wait", async || {
        Ok(operator.delivery_list(Some("pending"), None, 200).await?.items.len() == JOBS as usize)
    })
    .await
}

/// Tells the sink of runs that were not seen yet; how many were seen.
async fn ticks(operator: &Client, sink: &Sink, seen: &mut BTreeSet<RunId>) -> anyhow::Result<usize> {
    for run in operator.run_list(None, 200).await?.items {
        if seen.insert(run.run_id) {
            sink.tick(&run.due_at.to_rfc3339());
        }
    }
    Ok(seen.len())
}

async fn until<F: AsyncFnMut() -> anyhow::Result<bool>>(what: &str, mut reached: F) -> anyhow::Result<()> {
    let start = Instant::now();
    while !reached().await? {
        ensure!(start.elapsed() < LIMIT, "not reached within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
