//! Projections rebuilt from events and compared with what is stored, as a drill does it: its own reading of every table, which
//! digests it beside, and its own fold (`drill::reread`).
//!
//! The database is the one that was backed up, not a restored copy of it: reading is the same.

use anyhow::{Context as _, ensure};
use clock::Sources;
use drill::report::Verdict;
use drill::reread::Standard;
use tokio::time::Instant;

use crate::Asked;
use crate::report::{Row, Target};
use crate::rows::throughput::sessions;
use crate::world::{Setup, World};

const SESSIONS: usize = 50;
/// Events of each, as a worker writes what an agent streams.
const EVENTS: usize = 20_000;
/// Characters of a piece: a few tokens.
const PIECE: usize = 24;
const TIMES: usize = 3;

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let world = World::make(Setup::default()).await?;
    converse(&world, asked.of(EVENTS)).await?;
    let archive = world.scratch().join("archive");
    let taken = world.cowork(&["backup", "--archive", &archive.to_string_lossy(), "--json"])?;
    let backup_id = taken["backup_id"].as_str().context("a backup tells its id")?;
    let standard = Standard::open(&archive, backup_id)?;
    let mut rates = Vec::with_capacity(TIMES);
    let mut events = 0;
    for time in 0..TIMES {
        let evidence = world.scratch().join(format!("evidence-{time}"));
        std::fs::create_dir(&evidence)?;
        let begun = Instant::now();
        let reread = standard.reread(&world.cluster.url("cowork"), &evidence, &Sources::system()).await?;
        ensure!(reread.verdict == Verdict::Passed, "the projections are not what their events add up to");
        events = reread.events;
        rates.push(reread.events as f64 / begun.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let name = format!("projections rebuilt and compared, {events} events");
    Ok(vec![Row::new(name, "events/s", rates[TIMES / 2], Target::AtLeast(300_000.0))])
}

/// Sessions in which an agent streamed so many events.
async fn converse(world: &World, events: usize) -> anyhow::Result<()> {
    let (web, _worker) = (world.start("web").await?, world.start("worker").await?);
    let api = world.api(&web);
    let mut caller = api.connect().await?;
    for session in sessions(&api, SESSIONS).await? {
        caller.prompt(&session, &format!("stream {events} {PIECE}")).await?;
    }
    world.until_idle().await
}
