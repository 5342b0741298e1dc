//! From a prompt's POST to its turn's first event and to idle, seen on SSE by eight at once.
//!
//! Two ways to ask. In turn: each of eight sessions gets its next prompt when the last is through, so eight are always
//! under way and the system is as busy as eight can make it. On a timetable: 100 prompts a second, each measured from
//! when it was due, whatever became of those before.

use std::time::Duration;

use tokio::time::Instant;

use crate::Asked;
use crate::http::{Api, Caller, Events};
use crate::report::{Row, Target};
use crate::stats::{Sample, Timetable};
use crate::world::{Setup, World};

const AT_ONCE: usize = 8;
const RATE: f64 = 100.0;

#[derive(Debug, Default)]
struct Seen {
    first: Sample,
    idle: Sample,
}

impl Seen {
    fn merge(&mut self, other: Self) {
        self.first.merge(other.first);
        self.idle.merge(other.idle);
    }
}

/// One of the eight: a session that is followed, and a connection to prompt it.
struct Client {
    caller: Caller,
    events: Events,
    session: String,
}

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for slow_commits in [false, true] {
        let world = World::make(Setup { slow_commits, ..Setup::default() }).await?;
        let (web, _worker) = (world.start("web").await?, world.start("worker").await?);
        let api = world.api(&web);
        in_turn(&api, 20, false).await?;
        let name = |what: &str| if slow_commits { format!("{what}, commits of 1 ms") } else { what.to_owned() };
        let fresh = in_turn(&api, asked.of(30).max(3), true).await?;
        rows.extend(rows_of(&name("first prompt of a session, 8 in turn"), &fresh));
        let followed = in_turn(&api, asked.of(300), false).await?;
        rows.extend(rows_of(&name("follow-up, 8 in turn"), &followed));
        let timed = on_timetable(&api, asked.of(1_500)).await?;
        rows.extend(rows_of(&name("follow-up, 100/s on a timetable"), &timed));
    }
    Ok(rows)
}

fn rows_of(name: &str, seen: &Seen) -> [Row; 4] {
    let row = |what: &str, sample: &Sample, percent, target| {
        Row::new(format!("prompt to {what}, {name}"), "ms", sample.percentile_ms(percent), Target::AtMost(target))
    };
    [
        row("first event p50", &seen.first, 50.0, 5.0),
        row("first event p95", &seen.first, 95.0, 25.0),
        row("idle p50", &seen.idle, 50.0, 10.0),
        row("idle p95", &seen.idle, 95.0, 25.0),
    ]
}

async fn client(api: &Api) -> anyhow::Result<Client> {
    let mut caller = api.connect().await?;
    let session = caller.create_session("latency").await?;
    let mut events = api.follow(&session, 0).await?;
    events.until("session_created").await?;
    Ok(Client { caller, events, session })
}

impl Client {
    async fn one(&mut self, due: Instant, seen: &mut Seen) -> anyhow::Result<()> {
        self.caller.prompt(&self.session, "say hello").await?;
        seen.first.add(self.events.until("turn_started").await?.at - due);
        seen.idle.add(self.events.until("turn_ended").await?.at - due);
        Ok(())
    }
}

/// `rounds` prompts by each of eight; `fresh`: each in a session of its own.
async fn in_turn(api: &Api, rounds: usize, fresh: bool) -> anyhow::Result<Seen> {
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let api = api.clone();
            tokio::spawn(async move {
                let mut seen = Seen::default();
                let mut clients = Vec::new();
                for _ in 0..if fresh { rounds } else { 1 } {
                    clients.push(client(&api).await?);
                }
                for round in 0..rounds {
                    let client = &mut clients[if fresh { round } else { 0 }];
                    client.one(Instant::now(), &mut seen).await?;
                }
                anyhow::Ok(seen)
            })
        })
        .collect();
    let mut all = Seen::default();
    for task in tasks {
        all.merge(task.await??);
    }
    Ok(all)
}

async fn on_timetable(api: &Api, prompts: usize) -> anyhow::Result<Seen> {
    let mut clients = Vec::new();
    for _ in 0..AT_ONCE {
        clients.push(client(api).await?);
    }
    let timetable = Timetable::new(RATE);
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(place, mut client)| {
            tokio::spawn(async move {
                let mut seen = Seen::default();
                for number in (place..prompts).step_by(AT_ONCE) {
                    let due = timetable.due(number);
                    tokio::time::sleep_until(due).await;
                    client.one(due, &mut seen).await?;
                }
                anyhow::Ok(seen)
            })
        })
        .collect();
    let mut all = Seen::default();
    for task in tasks {
        all.merge(tokio::time::timeout(Duration::from_secs(300), task).await???);
    }
    Ok(all)
}
