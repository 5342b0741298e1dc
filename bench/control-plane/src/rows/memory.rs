//! Memory of idle roles, each a process of its own, ten seconds after it came up.

use std::time::Duration;

use crate::Asked;
use crate::machine;
use crate::report::{Row, Target};
use crate::world::{Setup, World};

const ROLES: [&str; 4] = ["web", "worker", "scheduler", "gateway"];

pub(crate) async fn measure(_: &Asked) -> anyhow::Result<Vec<Row>> {
    let world = World::make(Setup { concurrency: 8, slow_commits: false }).await?;
    let mut running = Vec::new();
    for role in ROLES {
        running.push(world.start(role).await?);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let rows = ROLES.iter().zip(&running).map(|(name, role)| {
        let mb = machine::resident(role.pid()) as f64 / 1e6;
        Row::new(format!("memory of an idle {name}"), "MB", mb, Target::AtMost(40.0))
    });
    Ok(rows.collect())
}
