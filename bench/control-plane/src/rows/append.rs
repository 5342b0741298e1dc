//! Events appended with their projection, by the worker, in the batches that it makes of what agents tell: 32 sessions
//! that all stream at once.

use std::time::Duration;

use tokio::time::Instant;

use crate::Asked;
use crate::report::{Row, Target};
use crate::rows::throughput::sessions;
use crate::world::{Setup, World};

const SESSIONS: usize = 32;
/// Characters of a piece: a few tokens.
const PIECE: usize = 24;

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for slow_commits in [false, true] {
        let world = World::make(Setup { slow_commits, ..Setup::default() }).await?;
        let (web, _worker) = (world.start("web").await?, world.start("worker").await?);
        let api = world.api(&web);
        let sessions = sessions(&api, SESSIONS).await?;
        let pieces = asked.of(20_000);
        let prompt = format!("stream {pieces} {PIECE}");
        let mut caller = api.connect().await?;
        let begun = Instant::now();
        for session in &sessions {
            caller.prompt(session, &prompt).await?;
        }
        let psql = world.psql();
        while psql.number("SELECT count(*) FROM commands WHERE state = 'pending'").await? > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = begun.elapsed();
        let events = psql.number("SELECT sum(last_sequence)::bigint FROM sessions").await?;
        let suffix = if slow_commits { ", commits of 1 ms" } else { "" };
        let rate = events as f64 / took.as_secs_f64();
        rows.push(Row::new(format!("events appended, 32 sessions{suffix}"), "/s", rate, Target::AtLeast(30_000.0)));
    }
    Ok(rows)
}
