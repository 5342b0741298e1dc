//! The oracle: what the world outside saw, and what people were told, against what the last life has.
//!
//! Each effect is new, duplicate, lost, or held for an operator. It asks the tables with statements of its own.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use clock::Timestamp;
use sqlx::Row as _;

use crate::copying::connect;
use crate::lineage::Fired;
use crate::sink::Sink;
use crate::tally::Tally;
use crate::users::{Acknowledged, Shared};

/// Deliveries that a dead gateway may have sent, on channels where a repeat would be seen.
const IN_FLIGHT: &str = "SELECT count(*) FROM deliveries JOIN channels USING (org_id, channel_id)
    WHERE state = 'pending' AND leased_until IS NOT NULL AND NOT deduplicates";
const TO_DO: &str = "SELECT (SELECT count(*) FROM commands WHERE finished_at IS NULL)
    + (SELECT count(*) FROM delivery_cursors WHERE behind)
    + (SELECT count(*) FROM deliveries WHERE state = 'pending')
    + (SELECT count(*) FROM triggers WHERE next_due_at <= $1)";
/// Turns of bound sessions that no delivery tells.
const UNTOLD: &str = "SELECT count(*) FROM events JOIN bindings USING (org_id, session_id)
    WHERE events.kind = 'turn_ended' AND NOT EXISTS (
        SELECT FROM deliveries WHERE deliveries.org_id = events.org_id AND deliveries.binding_id = bindings.binding_id
            AND deliveries.sequence = events.sequence)";
const DELIVERIES: &str = "SELECT delivery_id::text, state, payload->'data'->>'text', deduplicates
    FROM deliveries JOIN channels USING (org_id, channel_id)";

pub(crate) async fn in_flight(url: &str) -> anyhow::Result<u64> {
    let count: i64 = sqlx::query_scalar(IN_FLIGHT).fetch_one(&mut connect(url).await?).await?;
    Ok(count.unsigned_abs())
}

/// Adds the runs that slots have started, by what this life knows.
pub(crate) async fn runs(url: &str, fired: &mut Fired) -> anyhow::Result<()> {
    let sql = "SELECT workflow_id, due_at, run_id FROM runs";
    let rows: Vec<(uuid::Uuid, Timestamp, uuid::Uuid)> =
        sqlx::query_as(sql).fetch_all(&mut connect(url).await?).await?;
    for (workflow, due_at, run) in rows {
        fired.entry((workflow.into(), due_at)).or_default().insert(run.into());
    }
    Ok(())
}

/// Waits until nothing is left to do of what was due at `due`.
pub(crate) async fn at_rest(url: &str, due: Timestamp, limit: Duration) -> anyhow::Result<()> {
    let (mut connection, start) = (connect(url).await?, Instant::now());
    loop {
        let to_do: i64 = sqlx::query_scalar(TO_DO).bind(due).fetch_one(&mut connection).await?;
        if to_do == 0 {
            return Ok(());
        }
        anyhow::ensure!(start.elapsed() < limit, "{to_do} things are still to be done after {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn judge(
    url: &str,
    told: &Shared,
    sink: &Sink,
    lineage: u64,
    fired: &Fired,
    until: Timestamp,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    messages(url, sink, lineage, tally).await?;
    slots(url, fired, until, tally).await?;
    tally.accepted_again += Acknowledged::of(told).accepted_again;
    resurrected(url, told, tally).await
}

async fn messages(url: &str, sink: &Sink, lineage: u64, tally: &mut Tally) -> anyhow::Result<()> {
    let (keyed, plain) = (sink.taken(lineage, true), sink.taken(lineage, false));
    tally.sent += (keyed.len() + plain.len()) as u64;
    // Whoever takes a key takes a message once for each id that it comes under.
    tally.renamed += keyed.values().map(|(ids, _)| ids.len() as u64 - 1).sum::<u64>();
    tally.repeated += plain.values().map(|(_, times)| times - 1).sum::<u64>();
    let mut connection = connect(url).await?;
    for row in sqlx::query(DELIVERIES).fetch_all(&mut connection).await? {
        let (id, state, text): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let taken = if row.get(3) { &keyed } else { &plain };
        let arrived = taken.get(&text).is_some_and(|(ids, _)| ids.contains(&id));
        match state.as_str() {
            "unknown" => tally.unknown += 1,
            "sent" if arrived => {}
            _ => tally.lost += 1,
        }
    }
    let untold: i64 = sqlx::query_scalar(UNTOLD).fetch_one(&mut connection).await?;
    tally.lost += untold.unsigned_abs();
    Ok(())
}

async fn slots(url: &str, fired: &Fired, until: Timestamp, tally: &mut Tally) -> anyhow::Result<()> {
    tally.slots += fired.len() as u64;
    tally.double_fired += fired.values().map(|runs| runs.len() as u64 - 1).sum::<u64>();
    let mut connection = connect(url).await?;
    let sql = "SELECT workflow_id, (spec->>'every_s')::bigint, (spec->>'anchor_at')::timestamptz FROM triggers";
    let triggers: Vec<(uuid::Uuid, i64, Timestamp)> = sqlx::query_as(sql).fetch_all(&mut connection).await?;
    for (workflow, every_s, anchor_at) in triggers {
        let sql = "SELECT due_at FROM slots WHERE workflow_id = $1 AND state <> 'skipped' AND due_at <= $2";
        let settled: Vec<Timestamp> =
            sqlx::query_scalar(sql).bind(workflow).bind(until).fetch_all(&mut connection).await?;
        let due = (until - anchor_at).num_seconds() / every_s;
        let expected = (1..=due).map(|slot| anchor_at + TimeDelta::seconds(slot * every_s));
        tally.slots_lost += expected.filter(|due_at| !settled.contains(due_at)).count() as u64;
    }
    Ok(())
}

async fn resurrected(url: &str, told: &Shared, tally: &mut Tally) -> anyhow::Result<()> {
    let (tokens, members, subjects) = {
        let told = Acknowledged::of(told);
        let accounts = |of: &std::collections::BTreeSet<ids::AccountId>| -> Vec<uuid::Uuid> {
            of.iter().map(|account| (*account).into()).collect()
        };
        let tokens: Vec<uuid::Uuid> = told.tokens.iter().map(|token| (*token).into()).collect();
        (tokens, accounts(&told.members), accounts(&told.subjects))
    };
    tally.taken_away += (tokens.len() + members.len() + subjects.len()) as u64;
    let alive = [
        ("SELECT count(*) FROM api_tokens WHERE token_id = ANY ($1) AND revoked_at IS NULL", tokens),
        ("SELECT count(*) FROM memberships WHERE account_id = ANY ($1)", members),
        ("SELECT count(*) FROM accounts WHERE account_id = ANY ($1) AND email LIKE 'p%@example.org'", subjects),
    ];
    let mut connection = connect(url).await?;
    for (sql, ids) in alive {
        let count: i64 = sqlx::query_scalar(sql).bind(ids).fetch_one(&mut connection).await?;
        tally.resurrected += count.unsigned_abs();
    }
    Ok(())
}
