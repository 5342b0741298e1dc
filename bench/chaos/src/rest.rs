//! Coming to rest: the mishaps have ended, people leave, what is due fires, and then nothing is left to do.
//!
//! Everything is waited for by its state. What does not come in time is a violation, and says what is left.

use std::time::Duration;

use client::WorkflowAction;
use sha2::{Digest as _, Sha256};
use sqlx::query_scalar;
use tokio::task::JoinSet;

use crate::judge::Violation;
use crate::people::{Person, Progress};
use crate::place::within;
use crate::server::Server;
use crate::told::ToldArtifact;

/// Longer than the leases of the lost, and all that waited behind them.
const LIMIT: Duration = Duration::from_secs(180);
const LAW: &str = "comes-to-rest";
const SENTENCE: &str = "when nothing goes wrong any more, all is done that was asked for";

/// Triggers that fire by themselves and are not beyond an instant.
const NOT_BEYOND: &str = "SELECT count(*) FROM triggers JOIN workflows USING (org_id, workflow_id)
    WHERE workflows.state = 'active' AND next_due_at <= $1";
const LEFT: &str = "SELECT concat_ws(', ',
    (SELECT nullif(count(*), 0) || ' commands' FROM commands WHERE state = 'pending'),
    (SELECT nullif(count(*), 0) || ' leases' FROM session_leases),
    (SELECT nullif(count(*), 0) || ' deliveries' FROM deliveries WHERE state = 'pending'),
    (SELECT nullif(count(*), 0) || ' threads behind' FROM delivery_cursors WHERE behind),
    (SELECT nullif(count(*), 0) || ' runs' FROM runs WHERE state = 'running'),
    (SELECT nullif(count(*), 0) || ' effects that the ledger does not know' FROM ledger_outbox),
    (SELECT nullif(count(*), 0) || ' records without a seal' FROM audit_records WHERE seal_number IS NULL))";

/// Lets all come to rest; what did not.
pub(crate) async fn come(
    server: &Server,
    person: &Person,
    people: JoinSet<()>,
    progress: &Progress,
) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let mut note = |found: Option<String>| {
        violations.extend(found.map(|found| Violation::new(LAW, SENTENCE, found)));
    };
    note(leave(person, people).await);
    note(fire(server, person).await?);
    note(nothing_left(server).await?);
    note(caught_up(server, person, progress).await?);
    Ok(violations)
}

/// People finish what they have begun.
async fn leave(person: &Person, mut people: JoinSet<()>) -> Option<String> {
    person.leave.cancel();
    let all = async { while people.join_next().await.is_some() {} };
    let left = tokio::time::timeout(LIMIT, all).await.is_err();
    left.then(|| format!("{} people still wait for an answer after {LIMIT:?}", people.len()))
}

/// All that was due by now fires. Then no more is.
async fn fire(server: &Server, person: &Person) -> anyhow::Result<Option<String>> {
    let (mut connection, now) = (server.connect().await?, person.sources.now());
    let beyond = within(LIMIT, async || {
        let left: i64 = query_scalar(NOT_BEYOND).bind(now).fetch_one(&mut connection).await?;
        Ok(left == 0)
    });
    let beyond = beyond.await?;
    for workflow in &person.place.workflows {
        let call = || person.operator.workflow_act(*workflow, WorkflowAction::Pause);
        person.persist("a workflow's pause", call).await;
    }
    Ok((!beyond).then(|| format!("slots that were due at {now} have not fired after {LIMIT:?}")))
}

async fn nothing_left(server: &Server) -> anyhow::Result<Option<String>> {
    let (mut connection, mut left) = (server.connect().await?, String::new());
    let rests = within(LIMIT, async || {
        left = query_scalar(LEFT).fetch_one(&mut connection).await?;
        Ok(left.is_empty())
    });
    Ok(if rests.await? { None } else { Some(format!("after {LIMIT:?} there are still {left}")) })
}

/// Readers have seen what there is. That they saw it once and in order is a law.
async fn caught_up(server: &Server, person: &Person, progress: &Progress) -> anyhow::Result<Option<String>> {
    let mut connection = server.connect().await?;
    let events: i64 = query_scalar("SELECT count(*) FROM events").fetch_one(&mut connection).await?;
    let mut behind = Vec::new();
    let reached = within(LIMIT, async || {
        behind.clear();
        for (session, seen) in progress.last() {
            let sql = "SELECT last_sequence FROM sessions WHERE session_id = $1";
            let last: i64 = query_scalar(sql).bind(uuid::Uuid::from(session)).fetch_one(&mut connection).await?;
            if seen < last {
                behind.push(format!("the reader of {session} has seen {seen} of {last} events"));
            }
        }
        let fed = person.told.record().fed.len();
        if (fed as i64) < events {
            behind.push(format!("the reader of the feed has seen {fed} of {events} events"));
        }
        Ok(behind.is_empty())
    });
    Ok(if reached.await? { None } else { Some(behind.join(", ")) })
}

/// Files that were acknowledged and can't be downloaded as they were sent.
pub(crate) async fn downloads(person: &Person) -> Vec<Violation> {
    let told = person.told.record().artifacts.clone();
    let mut violations = Vec::new();
    for ToldArtifact { artifact, sha256, .. } in told {
        let call = || person.operator.artifact_content(artifact);
        // One that is refused is a surprise.
        let Some(bytes) = person.persist("a download", call).await else { continue };
        if Sha256::digest(&bytes)[..] != sha256 {
            let sentence = "a file that was acknowledged can be downloaded, byte for byte";
            let found = format!("{artifact} came as {} bytes of another hash", bytes.len());
            violations.push(Violation::new("downloads", sentence, found));
        }
    }
    violations
}
