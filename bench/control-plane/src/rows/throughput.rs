//! Prompts to idle per second: 200 sessions, each prompt with command, 5 events, projection, usage, acknowledgement and
//! checkpoint. All prompts are posted as fast as sixteen connections can; the time ends when the last one is through.

use std::time::Duration;

use tokio::time::Instant;

use crate::Asked;
use crate::http::Api;
use crate::machine;
use crate::report::{Row, Target};
use crate::world::{Setup, World};

const SESSIONS: usize = 200;
const CONNECTIONS: usize = 16;

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for slow_commits in [false, true] {
        let world = World::make(Setup { slow_commits, ..Setup::default() }).await?;
        let (web, worker) = (world.start("web").await?, world.start("worker").await?);
        let api = world.api(&web);
        let sessions = sessions(&api, SESSIONS).await?;
        run(&world, &api, &sessions, 1).await?;
        let ticks = || [web.pid(), worker.pid(), world.postgres_pid()].map(machine::of_family);
        let (prompts, before) = (SESSIONS * asked.of(50), ticks());
        let took = run(&world, &api, &sessions, prompts / SESSIONS).await?;
        let after = ticks();
        let rate = prompts as f64 / took.as_secs_f64();
        let suffix = if slow_commits { ", commits of 1 ms" } else { "" };
        rows.push(Row::new(format!("prompts to idle, 200 sessions{suffix}"), "/s", rate, Target::AtLeast(1_000.0)));
        for (place, part) in ["web", "worker", "Postgres"].into_iter().enumerate() {
            // A tick is 10 ms.
            let us = (after[place] - before[place]) as f64 * 10_000.0 / prompts as f64;
            rows.push(Row::new(format!("processor time of {part} a prompt{suffix}"), "us", us, Target::None));
        }
    }
    Ok(rows)
}

/// Prompts per second in this world, whose roles are started for it.
pub(crate) async fn rate(asked: &Asked, world: &World) -> anyhow::Result<f64> {
    let (web, _worker) = (world.start("web").await?, world.start("worker").await?);
    let api = world.api(&web);
    let sessions = sessions(&api, SESSIONS).await?;
    run(world, &api, &sessions, 1).await?;
    let each = asked.of(30);
    let took = run(world, &api, &sessions, each).await?;
    Ok((SESSIONS * each) as f64 / took.as_secs_f64())
}

pub(crate) async fn sessions(api: &Api, count: usize) -> anyhow::Result<Vec<String>> {
    let mut caller = api.connect().await?;
    let mut sessions = Vec::with_capacity(count);
    for _ in 0..count {
        sessions.push(caller.create_session("throughput").await?);
    }
    Ok(sessions)
}

/// Sends `each` prompts to every session and waits until none is pending.
async fn run(world: &World, api: &Api, sessions: &[String], each: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let callers = api.callers(CONNECTIONS).await?;
    let tasks: Vec<_> = callers
        .into_iter()
        .enumerate()
        .map(|(place, mut caller)| {
            let own: Vec<String> = sessions.iter().skip(place).step_by(CONNECTIONS).cloned().collect();
            tokio::spawn(async move {
                for _ in 0..each {
                    for session in &own {
                        caller.prompt(session, "say hello").await?;
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    world.until_idle().await?;
    let took = begun.elapsed();
    let failed = world.psql().number("SELECT count(*) FROM commands WHERE state <> 'done'").await?;
    anyhow::ensure!(failed == 0, "{failed} prompts did not end well");
    Ok(took)
}
