//! Prompts to idle beside a workflow with one step in DBOS, on the same Postgres, one after the other.

use crate::Asked;
use crate::peers::{DBOS, Peers};
use crate::report::{Row, Target};
use crate::rows::throughput;
use crate::world::{Setup, World};

const WORKFLOWS: usize = 3_000;

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let peers = Peers::install().await?;
    let mut rows = Vec::new();
    for slow_commits in [false, true] {
        let world = World::make(Setup { slow_commits, ..Setup::default() }).await?;
        let theirs = peers.rate(DBOS, &world, asked.of(WORKFLOWS)).await?;
        let ours = throughput::rate(asked, &world).await?;
        let suffix = if slow_commits { ", commits of 1 ms" } else { "" };
        rows.push(Row::new(format!("workflows with one step, {}{suffix}", DBOS.name), "/s", theirs, Target::None));
        rows.push(Row::new(format!("prompts to idle over DBOS{suffix}"), "x", ours / theirs, Target::AtLeast(4.0)));
    }
    Ok(rows)
}
