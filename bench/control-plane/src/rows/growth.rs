//! What it costs that there are many: claim, append, list and view with 10 thousand, 100 thousand and 1 million sessions,
//! all of them with a command that waits at the largest size.
//!
//! Sessions are rows made by the database. The statements are the product's own, through its API and its worker: prompts to
//! sessions among the many, their turns, lists and views. Each size is a system of its own.

use std::time::Duration;

use tokio::time::Instant;

use crate::Asked;
use crate::http::Api;
use crate::report::{Row, Target};
use crate::stats::Sample;
use crate::world::{Setup, World};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const ASKED: usize = 2_000;

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut smallest: Option<[f64; 3]> = None;
    for size in SIZES.map(|size| asked.of(size)) {
        let world = World::make(Setup { concurrency: 8, slow_commits: false }).await?;
        fill(&world, size).await?;
        let (web, _worker) = (world.start("web").await?, world.start("worker").await?);
        let api = world.api(&web);
        // Statements are prepared, buffers are filled.
        figures(&api, size, 100).await?;
        let found = figures(&api, size, asked.of(ASKED)).await?;
        for (place, what) in ["view", "list of 50", "prompt to idle"].into_iter().enumerate() {
            rows.push(Row::new(format!("{what} p95, {size} sessions"), "ms", found[place], Target::None));
            if let Some(smallest) = smallest {
                let name = format!("{what} p95, {size} sessions over the smallest");
                rows.push(Row::new(name, "x", found[place] / smallest[place], Target::AtMost(1.5)));
            }
        }
        smallest.get_or_insert(found);
    }
    rows.push(backlog(asked).await?);
    Ok(rows)
}

/// Sessions with a first event and a projection.
async fn fill(world: &World, size: usize) -> anyhow::Result<()> {
    let script = format!(
        "INSERT INTO sessions (org_id, session_id, title, agent, last_sequence, last_ordinal, generation, fencing_counter,
                created_at, updated_at)
            SELECT '{org}', {id}, 'Session ' || n, 'scripted', 1, 0, 1, 0, now(), now() FROM generate_series(1, {size}) AS n;
         INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at)
            SELECT '{org}', session_id, 1, 'session_created', '{{\"title\": \"Session\", \"agent\": \"scripted\"}}', now()
            FROM sessions;
         INSERT INTO projections (org_id, session_id, sequence, content, updated_at)
            SELECT '{org}', session_id, 1, '{projection}', now() FROM sessions;
         VACUUM ANALYZE;",
        org = world.org,
        id = "('01000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
        projection = PROJECTION,
    );
    world.psql().run(&script).await.map(drop)
}

const PROJECTION: &str = r#"{"title": "Session", "agent": "scripted", "state": "idle", "messages": [], "message_count": 0, "tool_calls": [], "tool_call_count": 0, "artifacts": [], "artifact_count": 0, "waiting_for": null, "turns": {"completed": 0, "failed": 0, "aborted": 0, "dead": 0}, "input_tokens": 0, "output_tokens": 0, "last_error": null}"#;

fn id(number: usize) -> String {
    format!("01000000-0000-7000-8000-{number:012x}")
}

async fn figures(api: &Api, size: usize, count: usize) -> anyhow::Result<[f64; 3]> {
    let mut caller = api.connect().await?;
    let [mut view, mut list, mut turn] = [Sample::default(), Sample::default(), Sample::default()];
    for number in 0..count {
        let session = id(1 + number * 7_919 % size);
        let begun = Instant::now();
        caller.get(&format!("/api/sessions/{session}")).await?;
        view.add(begun.elapsed());
        let begun = Instant::now();
        caller.get(&format!("/api/sessions?limit=50&cursor={session}")).await?;
        list.add(begun.elapsed());
        if number % 4 == 0 {
            let mut events = api.follow(&session, 0).await?;
            let begun = Instant::now();
            caller.prompt(&session, "say hello").await?;
            events.until("turn_ended").await?;
            turn.add(begun.elapsed());
        }
    }
    Ok([view, list, turn].map(|sample| sample.percentile_ms(95.0)))
}

/// A worker with a million commands before it, against one with ten thousand: turns per second.
async fn backlog(asked: &Asked) -> anyhow::Result<Row> {
    let mut rates = Vec::new();
    for size in [SIZES[0], SIZES[2]].map(|size| asked.of(size)) {
        let world = World::make(Setup::default()).await?;
        fill(&world, size).await?;
        let script = format!(
            "INSERT INTO commands (org_id, session_id, command_id, ordinal, kind, payload, idempotency_key, state, created_at)
                SELECT org_id, session_id, gen_random_uuid(), 1, 'prompt', '{{\"text\": \"say hello\"}}', 'k', 'pending', now()
                FROM sessions;
             UPDATE sessions SET last_ordinal = 1;
             INSERT INTO session_leases (org_id, session_id, wake_at) SELECT org_id, session_id, now() FROM sessions;
             VACUUM ANALYZE; SELECT {size}"
        );
        let psql = world.psql();
        psql.run(&script).await?;
        let worker = world.start("worker").await?;
        let done = "SELECT count(*) FROM commands WHERE state = 'done'";
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (before, begun) = (psql.number(done).await?, Instant::now());
        tokio::time::sleep(Duration::from_secs(if asked.quick { 1 } else { 6 })).await;
        let more = psql.number(done).await? - before;
        rates.push(more as f64 / begun.elapsed().as_secs_f64());
        drop(worker);
    }
    Ok(Row::new(
        "turns/s with a backlog of 1 million commands over 10 thousand",
        "x",
        rates[1] / rates[0],
        Target::AtLeast(0.67),
    ))
}
