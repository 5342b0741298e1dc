//! Those who follow: readers of single sessions and one of the org's feed, who come back with what they have seen last whenever
//! a stream breaks off or is silent for too long.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use ids::SessionId;
use tokio::task::JoinSet;

use super::{PATIENCE, Person};
use crate::told::Seen;

/// Events that are asked for at a time.
const PAGE: u32 = 200;

/// How far the readers are. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The last sequence that each reader of a session has seen.
    sessions: Arc<Mutex<BTreeMap<SessionId, Arc<AtomicI64>>>>,
}

impl Progress {
    fn of(&self, session: SessionId) -> Arc<AtomicI64> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).entry(session).or_default().clone()
    }

    /// The last sequence that was seen of each session that is followed.
    pub(crate) fn last(&self) -> Vec<(SessionId, i64)> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().map(|(session, last)| (*session, last.load(Ordering::SeqCst))).collect()
    }
}

/// They stay until they are dropped.
pub(crate) fn follow_all(person: &Person, progress: &Progress) -> JoinSet<()> {
    let mut readers = JoinSet::new();
    for session in person.place.busy.iter().chain(&person.place.deciding) {
        readers.spawn(follow(person.clone(), *session, progress.of(*session)));
    }
    readers.spawn(feed(person.clone()));
    readers
}

async fn follow(person: Person, session: SessionId, last: Arc<AtomicI64>) {
    loop {
        let after = last.load(Ordering::SeqCst);
        let stream = tokio::time::timeout(PATIENCE, person.operator.event_stream(session, after)).await;
        if let Ok(Ok(stream)) = stream {
            read(&person, stream, |event| {
                let seen = Seen { reader: session.to_string(), session, sequence: event.sequence };
                person.told.record().seen.push(seen);
                last.store(event.sequence, Ordering::SeqCst);
            })
            .await;
        }
        person.moment(20, 200).await;
    }
}

/// From the first event that there is: in pages up to the present, then as a stream.
async fn feed(person: Person) {
    let mut after: Option<String> = None;
    loop {
        let page = tokio::time::timeout(PATIENCE, person.operator.feed_list(after.as_deref(), PAGE)).await;
        if let Ok(Ok(page)) = page {
            let caught_up = page.items.is_empty();
            for event in page.items {
                fed(&person, event.session_id, event.event.sequence);
                after = Some(event.place);
            }
            if let (true, Some(place)) = (caught_up, after.clone()) {
                let stream = tokio::time::timeout(PATIENCE, person.operator.feed_stream(Some(&place))).await;
                if let Ok(Ok(stream)) = stream {
                    read(&person, stream, |event| {
                        fed(&person, event.session_id, event.event.sequence);
                        after = Some(event.place);
                    })
                    .await;
                }
            }
        }
        person.moment(20, 200).await;
    }
}

fn fed(person: &Person, session: SessionId, sequence: i64) {
    person.told.record().fed.push(Seen { reader: "feed".to_owned(), session, sequence });
}

/// Until the stream ends, breaks off, or is silent for so long that whoever sends may be asleep.
async fn read<T>(person: &Person, stream: impl Stream<Item = Result<T, client::Error>>, mut take: impl FnMut(T)) {
    let silence = Duration::from_millis((1_000 + person.dice.below(4_000)).into());
    let mut stream = pin!(stream);
    while let Ok(Some(Ok(event))) = tokio::time::timeout(silence, stream.next()).await {
        take(event);
    }
}
