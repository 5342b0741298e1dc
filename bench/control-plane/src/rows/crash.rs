//! A worker is killed in mid-turn: when another goes on, and whether a command that was acknowledged is lost.

use anyhow::ensure;
use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::Asked;
use crate::report::{Row, Target};
use crate::rows::throughput::sessions;
use crate::world::{Setup, World};

const SESSIONS: usize = 100;
/// Longer than it takes to send the commands that come before the kill.
const LONG: &str = "say one\nsleep 30000\nsay two";

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let world = World::make(Setup::default()).await?;
    let web = world.start("web").await?;
    let first = world.start("worker").await?;
    let api = world.api(&web);
    let mut caller = api.connect().await?;
    let long = caller.create_session("long").await?;
    let mut events = api.follow(&long, 0).await?;
    caller.prompt(&long, LONG).await?;
    events.until("turn_started").await?;
    // Read while prompts are sent: a stream that nobody reads is ended.
    let again = tokio::spawn(async move {
        let mut again = events.next().await?;
        while again.kind != "turn_started" {
            ensure!(again.kind != "turn_ended", "the turn ended before its worker was killed");
            again = events.next().await?;
        }
        let again = again.at;
        events.until("turn_ended").await?;
        anyhow::Ok(again)
    });
    let second = world.start("worker").await?;

    let commands = asked.of(10_000);
    let sessions = sessions(&api, SESSIONS).await?;
    let mut acknowledged = 0;
    let mut killed_at = None;
    for number in 0..commands {
        caller.prompt(&sessions[number % SESSIONS], "say hello").await?;
        acknowledged += 1;
        if number == commands / 4 {
            first.signal(Signal::SIGKILL)?;
            killed_at = Some(Instant::now());
        }
    }
    let again = again.await??;
    let gap = killed_at.map_or(f64::NAN, |killed| (again - killed).as_secs_f64());
    world.until_idle().await?;
    let done = world.psql().number("SELECT count(*) FROM commands WHERE state = 'done'").await?;
    drop(second);
    Ok(vec![
        Row::new("a killed worker's turn goes on elsewhere after", "s", gap, Target::AtMost(11.0)),
        Row::new(
            format!("acknowledged commands lost of {acknowledged}"),
            "commands",
            (acknowledged + 1 - done) as f64,
            Target::AtMost(0.0),
        ),
    ])
}
