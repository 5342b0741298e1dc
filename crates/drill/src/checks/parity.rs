//! Row 5, session projection parity: every session's projection stands at its last event, and is what its events add
//! up to; the API lists the sessions that the backup had, each at the sequence that it had.
//!
//! Not here: the fold itself (`fold`).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use client::Client;
use ids::{OrgId, SessionId};
use serde::Deserialize;
use serde_json::Value;

use super::Inquiry;
use crate::backup::Backup;
use crate::fold::{BASE, Fold, differing_fields};
use crate::report::Code;
use crate::said::{Heard, Sentence, facts, say};

/// A session as the backup knew it: a line of the probe `sessions`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SessionRow {
    pub(crate) org_id: OrgId,
    pub(crate) session_id: SessionId,
    pub(crate) last_sequence: i64,
}

/// What one session's events gave, folded by the judge.
#[derive(Debug, Default)]
struct Refolded {
    fold: Fold,
    events: i64,
    last_sequence: i64,
    /// Where its base is, if it begins with one.
    base: Option<i64>,
    /// Events whose predecessors have not come yet: a table has no order.
    early: BTreeMap<i64, (String, String)>,
    damage: Option<Sentence>,
}

type Key = (OrgId, SessionId);

/// What the tables of events and projections hold.
#[derive(Debug, Default)]
pub(crate) struct Read {
    refolded: HashMap<Key, Refolded>,
    /// Sequence and content of each stored projection.
    stored: HashMap<Key, (i64, Value)>,
}

impl Read {
    /// Takes a row of the probe `session_events`: org, session, sequence, kind, payload.
    pub(crate) fn take_event(&mut self, columns: &[Option<Cow<'_, str>>]) -> anyhow::Result<()> {
        let [Some(org), Some(session), Some(sequence), Some(kind), Some(payload)] = columns else {
            anyhow::bail!("an event has a column that is NULL");
        };
        let refolded = self.refolded.entry((org.parse()?, session.parse()?)).or_default();
        refolded.take(sequence.parse()?, kind, payload);
        Ok(())
    }

    /// Takes a row of the probe `session_projections`: org, session, sequence, content.
    pub(crate) fn take_projection(&mut self, columns: &[Option<Cow<'_, str>>]) -> anyhow::Result<()> {
        let [Some(org), Some(session), Some(sequence), Some(content)] = columns else {
            anyhow::bail!("a projection has a column that is NULL");
        };
        self.stored.insert((org.parse()?, session.parse()?), (sequence.parse()?, serde_json::from_str(content)?));
        Ok(())
    }

    /// Events that were folded, of all sessions.
    pub(crate) fn events(&self) -> i64 {
        self.refolded.values().map(|refolded| refolded.events).sum()
    }

    /// How many sessions have a stored projection.
    pub(crate) fn projections(&self) -> usize {
        self.stored.len()
    }

    /// Says that no row will come any more.
    pub(crate) fn finish(&mut self) {
        self.refolded.values_mut().for_each(Refolded::finish);
    }
}

impl Refolded {
    fn take(&mut self, sequence: i64, kind: &str, payload: &str) {
        self.events += 1;
        if self.base.is_some_and(|base| sequence < base) {
            return self.stands_before_the_base(sequence);
        }
        // A base has no predecessors; a session without any begins with event 1.
        let begins = kind == BASE && self.last_sequence == 0;
        if sequence != self.last_sequence + 1 && !begins {
            let earlier = self.early.insert(sequence, (kind.to_owned(), payload.to_owned()));
            if earlier.is_some() || sequence <= self.last_sequence {
                self.damage.get_or_insert(say!("event {} is there twice", sequence));
            }
            return;
        }
        if begins {
            self.base = Some(sequence);
            let after = self.early.split_off(&sequence);
            for (before, _) in std::mem::replace(&mut self.early, after) {
                self.stands_before_the_base(before);
            }
        }
        self.step(sequence, kind, payload);
        while let Some((kind, payload)) = self.early.remove(&(self.last_sequence + 1)) {
            self.step(self.last_sequence + 1, &kind, &payload);
        }
    }

    fn stands_before_the_base(&mut self, sequence: i64) {
        self.damage.get_or_insert(say!("event {} stands before the base, which has taken its place", sequence));
    }

    fn step(&mut self, sequence: i64, kind: &str, payload: &str) {
        if kind == BASE && self.last_sequence > 0 {
            self.damage.get_or_insert(say!("event {} is a base, and follows event {}", sequence, self.last_sequence));
        }
        if let Err(error) = self.fold.apply(kind, payload) {
            self.damage.get_or_insert(say!("event {} can't be read: {}", sequence, Heard::of(error)));
        }
        self.last_sequence = sequence;
    }

    /// Events that still wait for a predecessor wait for one that is not there.
    fn finish(&mut self) {
        for (sequence, (kind, payload)) in std::mem::take(&mut self.early) {
            self.damage.get_or_insert(say!("event {} follows event {}", sequence, self.last_sequence));
            self.step(sequence, &kind, &payload);
        }
    }
}

/// Judges what was read against the sessions that the backup had.
pub(crate) fn judge(inquiry: &mut Inquiry, backup: &Backup, read: &Read) {
    let sessions: Vec<SessionRow> =
        inquiry.learn("the backup's sessions", backup.probe("sessions")).unwrap_or_default();
    inquiry.record(
        "parity",
        &facts!({"sessions": sessions.len(), "projections": read.projections(), "events_folded": read.events()}),
    );
    for session in &sessions {
        judge_session(inquiry, session, read);
    }
    let known = read.stored.keys().chain(read.refolded.keys());
    let expected: std::collections::HashSet<Key> = sessions.iter().map(|row| (row.org_id, row.session_id)).collect();
    for (_, session) in known.filter(|key| !expected.contains(key)) {
        inquiry.fault(Code::SessionAdded, say!("session {} has rows that the backup did not have", session));
    }
}

fn judge_session(inquiry: &mut Inquiry, row: &SessionRow, read: &Read) {
    let (session, key) = (row.session_id, (row.org_id, row.session_id));
    let (Some(refolded), Some((sequence, content))) = (read.refolded.get(&key), read.stored.get(&key)) else {
        inquiry.fault(Code::SessionMissing, say!("session {} has lost its projection or all its events", session));
        return;
    };
    if let Some(damage) = &refolded.damage {
        inquiry.fault(Code::EventDamage, say!("the events of session {} are damaged: {}", session, damage));
    }
    inquiry.expect(refolded.last_sequence == row.last_sequence, Code::EventSequence, || {
        say!("session {} ends at event {}, the backup had {}", session, refolded.last_sequence, row.last_sequence)
    });
    inquiry.expect(*sequence == row.last_sequence, Code::ProjectionSequence, || {
        say!("the projection of session {} stands at {}, its last event is {}", session, sequence, row.last_sequence)
    });
    let expected = refolded.fold.content();
    inquiry.expect(*content == expected, Code::ProjectionContent, || {
        let fields = differing_fields(content, &expected);
        say!("the projection of session {} is not what its events add up to; it differs in: {}", session, fields)
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
            inquiry.expect(seen.get(session) == Some(sequence), Code::SessionListed, || {
                let seen = seen.get(session).map_or("not at all".into(), |seen| say!("at event {}", seen));
                say!("the API lists session {} {}, the backup had event {}", session, seen, sequence)
            });
        }
        inquiry.expect(seen.len() == expected.len(), Code::SessionCount, || {
            say!("the API lists {} sessions of org {}, the backup had {}", seen.len(), org, expected.len())
        });
        sample_projection(inquiry, &client, expected.into_iter().next()).await;
    }
}

/// One session page per org, as a person would open it.
async fn sample_projection(inquiry: &mut Inquiry, client: &Client, sample: Option<(SessionId, i64)>) {
    let Some((session, sequence)) = sample else { return };
    if let Some(view) = inquiry.learn("a session could not be read", client.session_get(session).await) {
        inquiry.expect(view.projection.sequence >= sequence, Code::ProjectionServed, || {
            say!("the API serves session {} at {}, its last event is {}", session, view.projection.sequence, sequence)
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(text))
    }

    /// Messages with these sequences; one with a `b` before it is a base without anything in it.
    fn read(sequences: &[&str]) -> Refolded {
        let (mut read, id) = (Read::default(), "00000000-0000-0000-0000-000000000001");
        for sequence in sequences {
            let message = json!({"message_id": "m", "role": "agent", "text": sequence}).to_string();
            let base = json!({"projection": Fold::default().content()}).to_string();
            let (sequence, kind, payload) = match sequence.strip_prefix('b') {
                Some(sequence) => (sequence, BASE, base),
                None => (*sequence, "message_appended", message),
            };
            let columns = [text(id), text(id), text(sequence), text(kind), text(&payload)];
            read.take_event(&columns).unwrap();
        }
        read.finish();
        read.refolded.into_values().next().unwrap()
    }

    #[test]
    fn events_are_folded_in_their_order_whatever_the_tables() {
        let refolded = read(&["3", "1", "4", "2"]);
        assert_eq!(refolded.damage, None);
        assert_eq!(refolded.fold.content()["messages"][0]["excerpt"], "1234");
    }

    #[test]
    fn a_hole_and_a_repeat_are_damage() {
        assert_eq!(read(&["1", "2", "4"]).damage.unwrap().as_str(), "event 4 follows event 2");
        assert_eq!(read(&["1", "2", "2"]).damage.unwrap().as_str(), "event 2 is there twice");
    }

    #[test]
    fn a_session_may_begin_with_a_base_whatever_the_order_of_the_table() {
        for rows in [["b5", "6", "7"], ["6", "b5", "7"], ["7", "6", "b5"]] {
            let refolded = read(&rows);
            assert_eq!((refolded.damage.as_ref(), refolded.last_sequence), (None, 7), "{rows:?}");
            assert_eq!(refolded.fold.content()["messages"][0]["excerpt"], "67");
        }
    }

    #[test]
    fn a_base_that_is_missing_or_not_the_first_is_damage() {
        assert_eq!(read(&["6", "7"]).damage.unwrap().as_str(), "event 6 follows event 0");
        assert_eq!(read(&["b5", "7"]).damage.unwrap().as_str(), "event 7 follows event 5");
        assert_eq!(read(&["1", "b2", "3"]).damage.unwrap().as_str(), "event 2 is a base, and follows event 1");
        for rows in [["b5", "4", "6"], ["4", "b5", "6"]] {
            let refolded = read(&rows);
            assert!(refolded.damage.unwrap().as_str().starts_with("event 4 stands before the base"), "{rows:?}");
            assert_eq!((refolded.last_sequence, refolded.early.len()), (6, 0));
        }
    }
}
