//! Row 5, session projection parity: every session's projection stands at its last event, and is what its events add
//! up to; the API lists the sessions that the backup had, each at the sequence that it had.
//!
//! Not here: the fold itself (`fold`).

use std::collections::HashMap;

use archive::Manifest;
use client::Client;
use ids::{OrgId, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::Inquiry;
use crate::backup::Backup;
use crate::copy_text;
use crate::fold::{Fold, differing_fields};

/// A session as the backup knew it: a line of the probe `sessions`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SessionRow {
    pub(crate) org_id: OrgId,
    pub(crate) session_id: SessionId,
    pub(crate) last_sequence: i64,
}

/// What one session's events gave, folded by the judge.
#[derive(Debug)]
struct Refolded {
    events: i64,
    last_sequence: i64,
    content: Value,
    damage: Option<String>,
}

type Key = (OrgId, SessionId);

/// What the database part of this row saw.
#[derive(Debug)]
pub(crate) struct Read {
    refolded: HashMap<Key, Refolded>,
    /// Sequence and content of each stored projection.
    stored: HashMap<Key, (i64, Value)>,
}

/// Reads every event and every projection, and folds.
pub(crate) async fn read(manifest: &Manifest, database_url: &str) -> anyhow::Result<Read> {
    let sql = |name: &str| {
        let probe = manifest.probe(name);
        probe.map(|probe| probe.sql.as_str()).ok_or_else(|| anyhow::anyhow!("the manifest has no probe {name}"))
    };
    let mut connection = PgConnection::connect(database_url).await?;
    let refolded = refold(&mut connection, sql("session_events")?).await?;
    let stored = stored_projections(&mut connection, sql("session_projections")?).await?;
    Ok(Read { refolded, stored })
}

/// Folds rows of (org, session, sequence, kind, payload) in this order.
async fn refold(connection: &mut PgConnection, sql: &str) -> anyhow::Result<HashMap<Key, Refolded>> {
    let mut done = HashMap::new();
    let mut current: Option<(Key, Fold, Refolded)> = None;
    copy_text::each_row::<anyhow::Error>(connection, sql, |columns| {
        let [Some(org), Some(session), Some(sequence), Some(kind), Some(payload)] = columns else {
            anyhow::bail!("an event has a column that is NULL");
        };
        let (key, sequence): (Key, i64) = ((org.parse()?, session.parse()?), sequence.parse()?);
        if current.as_ref().is_none_or(|(open, ..)| *open != key) {
            finish(&mut done, current.take());
            let fresh = Refolded { events: 0, last_sequence: 0, content: Value::Null, damage: None };
            current = Some((key, Fold::default(), fresh));
        }
        let (_, fold, refolded) = current.as_mut().expect("it was just set");
        refolded.step(fold, sequence, kind, payload);
        Ok(())
    })
    .await?;
    finish(&mut done, current);
    Ok(done)
}

fn finish(done: &mut HashMap<Key, Refolded>, session: Option<(Key, Fold, Refolded)>) {
    if let Some((key, fold, refolded)) = session {
        done.insert(key, Refolded { content: fold.content(), ..refolded });
    }
}

impl Refolded {
    fn step(&mut self, fold: &mut Fold, sequence: i64, kind: &str, payload: &str) {
        if sequence != self.last_sequence + 1 && self.damage.is_none() {
            self.damage = Some(format!("event {sequence} follows event {}", self.last_sequence));
        }
        if let Err(error) = fold.apply(kind, payload) {
            self.damage.get_or_insert(format!("event {sequence} can't be read: {error}"));
        }
        self.events += 1;
        self.last_sequence = sequence;
    }
}

/// Rows of (org, session, sequence, content).
async fn stored_projections(connection: &mut PgConnection, sql: &str) -> anyhow::Result<HashMap<Key, (i64, Value)>> {
    let mut stored = HashMap::new();
    copy_text::each_row::<anyhow::Error>(connection, sql, |columns| {
        let [Some(org), Some(session), Some(sequence), Some(content)] = columns else {
            anyhow::bail!("a projection has a column that is NULL");
        };
        stored.insert((org.parse()?, session.parse()?), (sequence.parse()?, serde_json::from_str(content)?));
        Ok(())
    })
    .await?;
    Ok(stored)
}

/// Judges what was read against the sessions that the backup had.
pub(crate) fn judge(inquiry: &mut Inquiry, backup: &Backup, read: &Read) {
    let sessions: Vec<SessionRow> =
        inquiry.learn("the backup's sessions", backup.probe("sessions")).unwrap_or_default();
    let events: i64 = read.refolded.values().map(|refolded| refolded.events).sum();
    inquiry.record(
        "parity",
        &json!({"sessions": sessions.len(), "projections": read.stored.len(), "events_folded": events}),
    );
    for session in &sessions {
        judge_session(inquiry, session, read);
    }
    let known = read.stored.keys().chain(read.refolded.keys());
    let expected: std::collections::HashSet<Key> = sessions.iter().map(|row| (row.org_id, row.session_id)).collect();
    for (_, session) in known.filter(|key| !expected.contains(key)) {
        inquiry.fault("session_added", format!("session {session} has rows that the backup did not have"));
    }
}

fn judge_session(inquiry: &mut Inquiry, row: &SessionRow, read: &Read) {
    let (session, key) = (row.session_id, (row.org_id, row.session_id));
    let (Some(refolded), Some((sequence, content))) = (read.refolded.get(&key), read.stored.get(&key)) else {
        inquiry.fault("session_missing", format!("session {session} has lost its projection or all its events"));
        return;
    };
    if let Some(damage) = &refolded.damage {
        inquiry.fault("event_damage", format!("the events of session {session} are damaged: {damage}"));
    }
    inquiry.expect(refolded.last_sequence == row.last_sequence, "event_sequence", || {
        format!("session {session} ends at event {}, the backup had {}", refolded.last_sequence, row.last_sequence)
    });
    inquiry.expect(*sequence == row.last_sequence, "projection_sequence", || {
        format!("the projection of session {session} stands at {sequence}, its last event is {}", row.last_sequence)
    });
    inquiry.expect(*content == refolded.content, "projection_content", || {
        let fields = differing_fields(content, &refolded.content).join(", ");
        format!("the projection of session {session} is not what its events add up to; it differs in: {fields}")
    });
}

/// Judges what the API says: all sessions of the org, each at the sequence that the backup had.
pub(crate) async fn judge_api(inquiry: &mut Inquiry, backup: &Backup, operator: &Client) {
    let sessions: Vec<SessionRow> =
        inquiry.learn("the backup's sessions", backup.probe("sessions")).unwrap_or_default();
    let mut by_org: HashMap<OrgId, HashMap<SessionId, i64>> = HashMap::new();
    for row in &sessions {
        by_org.entry(row.org_id).or_default().insert(row.session_id, row.last_sequence);
    }
    for (org, expected) in by_org {
        let client = operator.in_org(org);
        let Some(listed) = inquiry.learn("the session list could not be read", crate::api::sessions(&client).await)
        else {
            continue;
        };
        let seen: HashMap<SessionId, i64> = listed.iter().map(|s| (s.session_id, s.last_sequence)).collect();
        for (session, sequence) in &expected {
            inquiry.expect(seen.get(session) == Some(sequence), "session_listed", || {
                let seen = seen.get(session).map_or("not at all".to_owned(), |seen| format!("at event {seen}"));
                format!("the API lists session {session} {seen}, the backup had event {sequence}")
            });
        }
        inquiry.expect(seen.len() == expected.len(), "session_count", || {
            format!("the API lists {} sessions of org {org}, the backup had {}", seen.len(), expected.len())
        });
        sample_projection(inquiry, &client, expected.into_iter().next()).await;
    }
}

/// One session page per org, as a person would open it.
async fn sample_projection(inquiry: &mut Inquiry, client: &Client, sample: Option<(SessionId, i64)>) {
    let Some((session, sequence)) = sample else { return };
    if let Some(view) = inquiry.learn("a session could not be read", client.session_get(session).await) {
        inquiry.expect(view.projection.sequence >= sequence, "projection_served", || {
            format!("the API serves session {session} at {}, its last event is {sequence}", view.projection.sequence)
        });
    }
}
