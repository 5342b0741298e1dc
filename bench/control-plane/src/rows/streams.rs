//! Streams: many readers of one session, which says something every second.
//!
//! An event's lag counts from when the first of all readers has it, which is all that the driver can see of its commit;
//! how long that one waits is in the rows of `latency`.

use std::time::Duration;

use tokio::time::Instant;

use crate::Asked;
use crate::http::{Api, Events};
use crate::machine;
use crate::report::{Row, Target};
use crate::stats::Sample;
use crate::world::{Setup, World};

/// Connections that are opened at the same time.
const OPENING: usize = 64;
const EVENTS: usize = 15;

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (streams, lag_ms) in [(1_000, 15.0), (10_000, 250.0)] {
        rows.extend(follow(asked, asked.of(streams), lag_ms).await?);
    }
    Ok(rows)
}

async fn follow(asked: &Asked, streams: usize, lag_ms: f64) -> anyhow::Result<Vec<Row>> {
    let world = World::make(Setup::default()).await?;
    let (web, _worker) = (world.start("web").await?, world.start("worker").await?);
    let api = world.api(&web);
    let mut caller = api.connect().await?;
    let session = caller.create_session("streams").await?;
    caller.prompt(&session, "say hello").await?;
    let last = api.follow(&session, 0).await?.until("turn_ended").await?.sequence;
    // What the process needs whatever the number of streams is there by now.
    let before = machine::resident(web.pid());
    let opened = open(&api, &session, last, streams).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = machine::resident(web.pid());

    let events = if asked.quick { 5 } else { EVENTS };
    let readers: Vec<_> = opened.into_iter().map(|stream| tokio::spawn(read(stream, events))).collect();
    for number in 0..events {
        tokio::time::sleep(Duration::from_secs(1)).await;
        caller.prompt(&session, &format!("say {number}")).await?;
    }
    let mut seen: Vec<Vec<Instant>> = Vec::with_capacity(streams);
    for reader in readers {
        seen.push(reader.await??);
    }
    let mut lag = Sample::default();
    for number in 0..events {
        let earliest = seen.iter().map(|of_reader| of_reader[number]).min().unwrap_or_else(Instant::now);
        lag.merge(seen.iter().map(|of_reader| of_reader[number] - earliest).collect());
    }
    let bytes = after.saturating_sub(before) as f64 / streams as f64 / 1_024.0;
    Ok(vec![
        Row::new(
            format!("lag of an event on {streams} streams p95"),
            "ms",
            lag.percentile_ms(95.0),
            Target::AtMost(lag_ms),
        ),
        Row::new(format!("memory a stream, {streams} streams"), "KiB", bytes, Target::AtMost(12.0)),
    ])
}

async fn open(api: &Api, session: &str, last: i64, streams: usize) -> anyhow::Result<Vec<Events>> {
    let mut opened = Vec::with_capacity(streams);
    while opened.len() < streams {
        let more = OPENING.min(streams - opened.len());
        let batch = futures::future::try_join_all((0..more).map(|_| api.follow(session, last)));
        opened.extend(batch.await?);
    }
    Ok(opened)
}

async fn read(mut stream: Events, events: usize) -> anyhow::Result<Vec<Instant>> {
    let mut seen = Vec::with_capacity(events);
    while seen.len() < events {
        seen.push(stream.until("turn_ended").await?.at);
    }
    Ok(seen)
}
