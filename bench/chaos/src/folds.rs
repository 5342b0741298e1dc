//! Every session's projection against a fold of its events, from nothing.
//!
//! The fold is the system's own: this finds events that a projection missed or has twice. That the fold itself is right is the
//! drill's matter, whose judge folds with code of its own.

use domain::event::Event;
use domain::projection::Projection;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{query_as, query_scalar};
use uuid::Uuid;

use crate::judge::Violation;

const LAW: &str = "projections-are-folds";
const SENTENCE: &str = "a projection is what the events of its session add up to";

pub(crate) async fn compare(connection: &mut PgConnection) -> anyhow::Result<Vec<Violation>> {
    let sessions: Vec<(Uuid, Value)> =
        query_as("SELECT session_id, content FROM projections ORDER BY session_id").fetch_all(&mut *connection).await?;
    let mut broken = Vec::new();
    for (session, content) in &sessions {
        let events: Vec<Value> = query_scalar(
            "SELECT jsonb_build_object('kind', kind, 'payload', payload) FROM events WHERE session_id = $1 ORDER BY sequence",
        )
        .bind(session)
        .fetch_all(&mut *connection)
        .await?;
        if !is_fold_of(content, events)? {
            broken.push(session.to_string());
        }
    }
    let found = format!("{} of {} sessions, such as {}", broken.len(), sessions.len(), broken.join(", "));
    Ok(if broken.is_empty() { Vec::new() } else { vec![Violation::new(LAW, SENTENCE, found)] })
}

fn is_fold_of(content: &Value, events: Vec<Value>) -> serde_json::Result<bool> {
    let events = events.into_iter().map(serde_json::from_value).collect::<Result<Vec<Event>, _>>()?;
    Ok(json!(Projection::rebuild(&events)) == *content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projection_that_missed_an_event_is_no_fold() {
        let created = json!({"kind": "session_created", "payload": {"title": "t", "agent": "scripted"}});
        let started = json!({"kind": "turn_started", "payload": {"command_id": Uuid::nil(), "attempt": 1}});
        let short: Event = serde_json::from_value(created.clone()).unwrap();
        let content = json!(Projection::rebuild([&short]));
        assert!(is_fold_of(&content, vec![created.clone()]).unwrap());
        assert!(!is_fold_of(&content, vec![created, started]).unwrap());
    }
}
