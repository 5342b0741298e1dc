//! Reading through the API, a token on every request, beside `pgbench` of the same statements on the same rows.
//!
//! `pgbench` has the statements prepared and does nothing with what it gets: it is what the database can do at most.

use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;
use tokio::time::Instant;

use crate::Asked;
use crate::http::Api;
use crate::report::{Row, Target};
use crate::world::{Setup, World};

const SESSIONS: usize = 2_000;
const CONNECTIONS: usize = 16;

/// As `store::session` has them.
const VIEW: &str = "SELECT title, agent, projections.state, last_sequence, checkpoint_id, tags, archived_at, created_at, \
    sessions.updated_at, sequence, content FROM sessions JOIN projections USING (org_id, session_id) \
    WHERE org_id = :org AND session_id = :session";
const LIST: &str = "SELECT session_id, title, agent, found.state, last_sequence, checkpoint_id, tags, archived_at, created_at, \
    updated_at FROM sessions CROSS JOIN LATERAL (SELECT state FROM projections \
    WHERE projections.org_id = sessions.org_id AND projections.session_id = sessions.session_id OFFSET 0) AS found \
    WHERE org_id = :org AND session_id > :session ORDER BY session_id LIMIT 50";

pub(crate) async fn measure(asked: &Asked) -> anyhow::Result<Vec<Row>> {
    let world = World::make(Setup::default()).await?;
    let (web, worker) = (world.start("web").await?, world.start("worker").await?);
    let api = world.api(&web);
    let sessions = populate(&world, &api, asked.of(SESSIONS).max(200)).await?;
    drop(worker);
    world.psql().run("VACUUM ANALYZE").await?;
    let seconds = if asked.quick { 2 } else { 8 };
    let mut rows = Vec::new();
    for (name, statement, path) in [
        ("view of a session", VIEW, "/api/sessions/{}"),
        ("list of 50 sessions", LIST, "/api/sessions?limit=50&cursor={}"),
    ] {
        let bare = pgbench(&world, statement, &sessions, seconds).await?;
        let ours = load(&api, path, &sessions, Duration::from_secs(seconds)).await?;
        rows.push(Row::new(format!("{name}, pgbench"), "/s", bare, Target::None));
        rows.push(Row::new(format!("{name}, API"), "/s", ours, Target::AtLeast(8_000.0)));
        rows.push(Row::new(format!("{name}, API over pgbench"), "x", ours / bare, Target::AtLeast(0.5)));
    }
    Ok(rows)
}

/// Sessions with a turn each, so that their projections hold something.
async fn populate(world: &World, api: &Api, count: usize) -> anyhow::Result<Vec<String>> {
    let callers = api.callers(CONNECTIONS).await?;
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            tokio::spawn(async move {
                let mut made = Vec::new();
                for number in 0..count / CONNECTIONS {
                    let session = caller.create_session(&format!("Session {number}")).await?;
                    caller.prompt(&session, "say hello, how are you today?").await?;
                    made.push(session);
                }
                anyhow::Ok(made)
            })
        })
        .collect();
    let mut sessions = Vec::with_capacity(count);
    for task in tasks {
        sessions.extend(task.await??);
    }
    sessions.sort();
    while world.psql().number("SELECT count(*) FROM commands WHERE state = 'pending'").await? > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(sessions)
}

/// A path's session is one of these, another each time; `{}` stands for it.
async fn load(api: &Api, path: &'static str, sessions: &[String], time: Duration) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let tasks: Vec<_> = api
        .callers(CONNECTIONS)
        .await?
        .into_iter()
        .enumerate()
        .map(|(place, mut caller)| {
            let paths: Vec<String> = sessions.iter().map(|session| path.replace("{}", session)).collect();
            tokio::spawn(async move {
                let mut answered = 0_usize;
                let mut next = place * 7_919;
                while begun.elapsed() < time {
                    next = (next + 104_729) % (paths.len() - paths.len() / 10);
                    caller.get(&paths[next]).await?;
                    answered += 1;
                }
                anyhow::Ok(answered)
            })
        })
        .collect();
    let mut answered = 0;
    for task in tasks {
        answered += task.await??;
    }
    Ok(answered as f64 / begun.elapsed().as_secs_f64())
}

async fn pgbench(world: &World, statement: &str, sessions: &[String], seconds: u64) -> anyhow::Result<f64> {
    // The ids in a table of their own would cost a statement; so each client has a script of its own session.
    let mut command = Command::new(world.tool("pgbench"));
    command.args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--time"]).arg(seconds.to_string());
    command.args(["--client", &CONNECTIONS.to_string()]);
    for number in 0..64 {
        let session = &sessions[number * (sessions.len() - sessions.len() / 10) / 64];
        let sql = statement.replace(":org", &format!("'{}'", world.org)).replace(":session", &format!("'{session}'"));
        let script = world.scratch().join(format!("script-{number}.sql"));
        std::fs::write(&script, sql + ";\n")?;
        command.arg("--file").arg(&script);
    }
    let output = command.arg(world.cluster.url("cowork")).output().await.context("pgbench can't be started")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.with_context(|| format!("pgbench said {text} {}", String::from_utf8_lossy(&output.stderr)))
}
