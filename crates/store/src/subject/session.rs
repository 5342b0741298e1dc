//! One session of an erasure, in one transaction: its events, what they add up to, its commands, and if all of it goes its
//! artifacts, checkpoints and deliveries.
//!
//! Events keep their places, so the sequence has no hole; the projection is folded anew from what is left, so it is still
//! what the events add up to. Where events were compacted, what their base still tells of them goes. Whoever holds the session's lease loses it: what a worker has in memory was read before.
//!
//! Not here: which sessions.

use std::collections::HashMap;

use clock::{Sources, Timestamp};
use domain::erasure::{ERASED, Unsaid, without_content};
use domain::event::{Event, TurnOutcome};
use domain::projection::{Projection, SessionState};
use ids::{AccountId, CommandId, OrgId, SessionId};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::event::{self, EventRow};
use crate::{StoreError, blob_deletion, command, run, upload};

/// Events that are read and written at a time.
const PAGE: i64 = 500;

/// What was taken from a session.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) commands: i64,
    pub(super) events: i64,
    pub(super) artifacts: i64,
    pub(super) deliveries: i64,
    pub(super) blobs: i64,
}

type Key = (OrgId, SessionId);

/// What the events add up to when they were gone through.
struct Folded {
    projection: Projection,
    sequence: i64,
    /// The command of the newest turn.
    command: Option<CommandId>,
    changed: i64,
}

/// Takes what tells of the account out of a session; all of it if `whole`.
pub(super) async fn erase(
    tx: &mut PgConnection,
    sources: &Sources,
    account: AccountId,
    key: Key,
    whole: bool,
) -> Result<Taken, StoreError> {
    let during = || StoreError::during("subject_erase_session");
    let now = sources.now();
    lock(tx, key).await.map_err(during())?;
    let theirs = commands_of(tx, key, account).await.map_err(during())?;
    let mut folded = events(tx, key, &theirs, whole).await?;
    let commands = commands(tx, key, (!whole).then_some(account), now).await.map_err(during())?;
    let broken_off = break_off(tx, key, &mut folded, &theirs, whole, now).await.map_err(during())?;
    settle(tx, key, &folded, whole, broken_off, now).await.map_err(during())?;
    let mut taken = Taken { commands, events: folded.changed, ..Taken::default() };
    if whole {
        taken.deliveries = deliveries(tx, key, now).await.map_err(during())?;
        (taken.artifacts, taken.blobs) = files(tx, key, now).await.map_err(during())?;
    }
    Ok(taken)
}

/// As every writer of a session does first.
async fn lock(tx: &mut PgConnection, (org, session): Key) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- subject_lock_session
        SELECT 1 AS one FROM sessions WHERE org_id = $1 AND session_id = $2 FOR NO KEY UPDATE",
        org as OrgId,
        session as SessionId,
    )
    .fetch_one(tx)
    .await?;
    Ok(())
}

async fn commands_of(
    tx: &mut PgConnection,
    (org, session): Key,
    account: AccountId,
) -> Result<HashMap<CommandId, i64>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"-- subject_commands
        SELECT command_id AS "command_id: CommandId", ordinal FROM commands
        WHERE org_id = $1 AND session_id = $2 AND created_by = $3"#,
        org as OrgId,
        session as SessionId,
        account as AccountId,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.command_id, row.ordinal)).collect())
}

/// Goes through all events, page by page.
async fn events(
    tx: &mut PgConnection,
    key: Key,
    theirs: &HashMap<CommandId, i64>,
    whole: bool,
) -> Result<Folded, StoreError> {
    let mut unsaid = Unsaid::new(theirs);
    let mut folded = Folded { projection: Projection::default(), sequence: 0, command: None, changed: 0 };
    loop {
        let page = event::after(&mut *tx, key.0, key.1, folded.sequence, PAGE).await?;
        let Some(newest) = page.last() else { return Ok(folded) };
        folded.sequence = newest.sequence;
        let mut changed = Vec::new();
        for recorded in &page {
            let left = if whole { without_content(&recorded.event) } else { unsaid.apply(&recorded.event) };
            if let Event::TurnStarted { command_id, .. } = &left {
                folded.command = Some(*command_id);
            }
            folded.projection.apply(&left);
            if left != recorded.event {
                changed.push((recorded.sequence, left));
            }
        }
        folded.changed += i64::try_from(changed.len()).unwrap_or(i64::MAX);
        write(tx, key, &changed).await.map_err(StoreError::during("subject_erase_events"))?;
    }
}

async fn write(tx: &mut PgConnection, (org, session): Key, changed: &[(i64, Event)]) -> Result<(), sqlx::Error> {
    let sequences: Vec<i64> = changed.iter().map(|(sequence, _)| *sequence).collect();
    let payloads: Vec<Value> = changed.iter().map(|(_, event)| EventRow::from(event).payload).collect();
    sqlx::query!(
        "-- subject_erase_events
        UPDATE events SET payload = changed.payload
        FROM unnest($3::bigint[], $4::jsonb[]) AS changed (sequence, payload)
        WHERE org_id = $1 AND session_id = $2 AND events.sequence = changed.sequence",
        org as OrgId,
        session as SessionId,
        &sequences,
        &payloads,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Of one account, or all: what was asked for goes, and what is still to be done is refused.
async fn commands(
    tx: &mut PgConnection,
    (org, session): Key,
    account: Option<AccountId>,
    now: Timestamp,
) -> Result<i64, sqlx::Error> {
    let erased = sqlx::query!(
        "-- subject_erase_commands
        UPDATE commands SET
            payload = CASE kind
                WHEN 'prompt' THEN jsonb_build_object('text', $4::text)
                WHEN 'answer' THEN payload || jsonb_build_object('answer', $4::text)
                ELSE payload END,
            idempotency_key = 'erased:' || command_id,
            outcome = CASE
                WHEN state = 'pending' THEN 'the person who asked for it was erased'
                WHEN state IN ('failed', 'dead') THEN $4
                ELSE outcome END,
            state = CASE state WHEN 'pending' THEN 'refused' ELSE state END,
            finished_at = coalesce(finished_at, $5)
        WHERE org_id = $1 AND session_id = $2 AND ($3::uuid IS NULL OR created_by = $3)",
        org as OrgId,
        session as SessionId,
        account as Option<AccountId>,
        ERASED,
        now,
    )
    .execute(tx)
    .await?;
    Ok(rows(erased.rows_affected()))
}

/// A turn that was being carried out for a command that is refused now ends here, with an event. `false`: there is none.
async fn break_off(
    tx: &mut PgConnection,
    (org, session): Key,
    folded: &mut Folded,
    theirs: &HashMap<CommandId, i64>,
    whole: bool,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let Some(command) = folded.command else { return Ok(false) };
    let open = match folded.projection.state {
        SessionState::Running => whole || theirs.contains_key(&command),
        SessionState::AwaitingApproval | SessionState::AwaitingAnswer => whole,
        SessionState::Idle | SessionState::Failed => false,
    };
    if !open {
        return Ok(false);
    }
    let ended = Event::TurnEnded { command_id: command, outcome: TurnOutcome::Aborted, error: None };
    folded.projection.apply(&ended);
    folded.sequence += 1;
    let row = EventRow::from(&ended);
    sqlx::query!(
        "-- subject_break_off
        WITH behind AS (
            UPDATE delivery_cursors SET behind = true, updated_at = $6
            WHERE org_id = $1 AND session_id = $2 AND NOT behind
        ), session AS (
            UPDATE sessions SET feed_position = greatest(feed_position,
                ((SELECT max(generation) FROM generations) << 48) + pg_current_xact_id()::text::bigint)
            WHERE org_id = $1 AND session_id = $2 RETURNING feed_position
        )
        INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at, feed_position)
        SELECT $1, $2, $3, $4, $5, $6, feed_position FROM session",
        org as OrgId,
        session as SessionId,
        folded.sequence,
        row.kind,
        row.payload,
        now,
    )
    .execute(&mut *tx)
    .await?;
    let origin = command::origin(tx, org, session, command).await?;
    run::finish(tx, org, origin, false, now).await?;
    Ok(true)
}

/// Writes the projection and the session's row, whose lock is held, and takes its lease from whoever holds it.
async fn settle(
    tx: &mut PgConnection,
    (org, session): Key,
    folded: &Folded,
    whole: bool,
    broken_off: bool,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- subject_settle_session
        WITH projection AS (
            UPDATE projections SET sequence = $3, content = $4, updated_at = $5 WHERE org_id = $1 AND session_id = $2
        ), lease AS (
            UPDATE session_leases SET leased_until = NULL, holder = NULL, wake_at = $5
            WHERE org_id = $1 AND session_id = $2
        ), term AS (
            DELETE FROM session_terms WHERE $6 AND org_id = $1 AND session_id = $2
        )
        UPDATE sessions SET last_sequence = $3, fencing_counter = fencing_counter + 1,
            title = CASE WHEN $6 THEN $8 ELSE title END,
            tags = CASE WHEN $6 THEN '{}' ELSE tags END,
            version = CASE WHEN $6 THEN version + 1 ELSE version END,
            checkpoint_id = CASE WHEN $6 THEN NULL ELSE checkpoint_id END,
            blocked_on = CASE WHEN $7 THEN NULL ELSE blocked_on END
        WHERE org_id = $1 AND session_id = $2",
        org as OrgId,
        session as SessionId,
        folded.sequence,
        Json(&folded.projection) as Json<&Projection>,
        now,
        whole,
        broken_off,
        ERASED,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What was told of the session to threads. What waits, or may have arrived, is set aside: nobody sends it any more, unless
/// an operator retries it, and then what is left of it.
async fn deliveries(tx: &mut PgConnection, (org, session): Key, now: Timestamp) -> Result<i64, sqlx::Error> {
    let erased = sqlx::query!(
        "-- subject_erase_deliveries
        UPDATE deliveries SET
            payload = jsonb_set(payload, '{data,text}', to_jsonb($3::text), false),
            state = CASE WHEN state = 'sent' THEN state ELSE 'dead' END,
            last_error = CASE WHEN state = 'sent' THEN last_error ELSE 'the person whose session it was is erased' END,
            fencing_counter = fencing_counter + 1,
            leased_until = NULL,
            finished_at = coalesce(finished_at, $4)
        FROM bindings
        WHERE bindings.org_id = $1 AND bindings.session_id = $2
            AND deliveries.org_id = $1 AND deliveries.binding_id = bindings.binding_id",
        org as OrgId,
        session as SessionId,
        ERASED,
        now,
    )
    .execute(tx)
    .await?;
    Ok(rows(erased.rows_affected()))
}

/// Artifacts, checkpoints and uploads. Gives back how many artifacts and blobs went.
async fn files(tx: &mut PgConnection, (org, session): Key, now: Timestamp) -> Result<(i64, i64), sqlx::Error> {
    // First: one that is being completed is an artifact by the time that its lock is free, and goes with the others.
    let parts = upload::erase(tx, org, session, now).await?;
    let keys = sqlx::query!(
        r#"-- subject_erase_files
        WITH file AS (
            DELETE FROM checkpoint_blobs USING checkpoints
            WHERE checkpoint_blobs.org_id = $1 AND checkpoints.org_id = $1 AND checkpoints.session_id = $2
                AND checkpoint_blobs.checkpoint_id = checkpoints.checkpoint_id
            RETURNING blob_key
        ), checkpoint AS (
            DELETE FROM checkpoints WHERE org_id = $1 AND session_id = $2 RETURNING manifest_key
        ), artifact AS (
            DELETE FROM artifacts WHERE org_id = $1 AND session_id = $2 RETURNING blob_key
        )
        SELECT blob_key AS "key!", true AS "artifact!" FROM artifact
        UNION ALL SELECT manifest_key, false FROM checkpoint
        UNION ALL SELECT DISTINCT blob_key, false FROM file"#,
        org as OrgId,
        session as SessionId,
    )
    .fetch_all(&mut *tx)
    .await?;
    let artifacts = keys.iter().filter(|row| row.artifact).count();
    let keys: Vec<String> = keys.into_iter().map(|row| row.key).collect();
    let blobs = parts + blob_deletion::doom(tx, org, &keys, now).await?;
    Ok((rows(artifacts as u64), rows(blobs)))
}

fn rows(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
