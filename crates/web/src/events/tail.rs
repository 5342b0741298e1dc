//! The newest events of sessions that somebody follows: read once, whatever the number of readers.
//!
//! A tail is one task per followed session. It reads what is new when it is woken, makes the frames that streams send, and
//! keeps the newest. A reader that is within what is kept takes the frames from there; one that is further behind reads
//! the database a page at a time until it is. Nobody waits for anybody: a slow reader holds no event back and none in
//! memory.
//!
//! Not here: the HTTP side (`events`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use domain::event::Recorded;
use ids::{OrgId, SessionId};
use store::{Store, StoreError};
use tokio::sync::watch;

/// Events that a tail keeps.
const KEPT: usize = 256;
/// Bytes of their frames, at most; the newest event is kept whatever its size.
const KEPT_BYTES: usize = 256 * 1024;
/// Between two looks for new events that nobody told of.
const POLL: Duration = Duration::from_secs(1);
/// Events of one read.
pub(crate) const PAGE: i64 = 1_000;

/// An event as a stream sends it.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) sequence: i64,
    pub(crate) bytes: Bytes,
}

/// Consecutive events, up to the newest that the tail has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// The sequence before the first frame's.
    after: i64,
    frames: Arc<[Frame]>,
}

/// The tails of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tails(Arc<Mutex<Followers>>);

type Followers = HashMap<(OrgId, SessionId), watch::Sender<Kept>>;

/// A reader's side of a tail.
pub(crate) type Followed = watch::Receiver<Kept>;

impl Kept {
    /// The frames past `sequence`; `None`: they begin before what is kept.
    pub(crate) fn past(&self, sequence: i64) -> Option<&[Frame]> {
        let skip = usize::try_from(sequence.checked_sub(self.after)?).ok()?;
        Some(self.frames.get(skip..).unwrap_or_default())
    }

    fn last(&self) -> i64 {
        self.frames.last().map_or(self.after, |frame| frame.sequence)
    }

    /// With `new` at its end and no more than may be kept.
    fn with(&self, new: Vec<Frame>) -> Self {
        let all: Vec<Frame> = self.frames.iter().cloned().chain(new).collect();
        let mut bytes = 0;
        let fits = |frame: &&Frame| {
            bytes += frame.bytes.len();
            bytes <= KEPT_BYTES
        };
        let count = all.iter().rev().take(KEPT).take_while(fits).count().max(1);
        let frames: Arc<[Frame]> = all.into_iter().rev().take(count).rev().collect();
        Self { after: frames.first().map_or(self.after, |frame| frame.sequence - 1), frames }
    }
}

impl Tails {
    /// Follows a session of which `last` is known to be written. Its tail begins with its first reader and ends after its
    /// last.
    pub(crate) fn follow(&self, store: &Store, org: OrgId, session: SessionId, last: i64) -> Followed {
        let mut tails = locked(&self.0);
        if let Some(sender) = tails.get(&(org, session)) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Kept { after: last, ..Kept::default() });
        tails.insert((org, session), sender.clone());
        tokio::spawn(keep(self.clone(), store.clone(), org, session, sender));
        receiver
    }

    /// `true`: nobody reads, and the tail is gone.
    fn remove_unread(&self, org: OrgId, session: SessionId, sender: &watch::Sender<Kept>) -> bool {
        let mut tails = locked(&self.0);
        let unread = sender.receiver_count() == 0;
        if unread {
            tails.remove(&(org, session));
        }
        unread
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        locked(&self.0).is_empty()
    }

    fn remove(&self, org: OrgId, session: SessionId) {
        locked(&self.0).remove(&(org, session));
    }
}

async fn keep(tails: Tails, store: Store, org: OrgId, session: SessionId, sender: watch::Sender<Kept>) {
    let mut new = store.wakes().session(session);
    loop {
        match more(&store, org, session, &sender).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "streams of a session broke off");
                return tails.remove(org, session);
            }
        }
        tokio::select! {
            () = new.woken() => {}
            () = tokio::time::sleep(POLL) => {}
            () = sender.closed() => if tails.remove_unread(org, session, &sender) { return },
        }
    }
}

/// Reads what is new. `true`: there may be more.
async fn more(store: &Store, org: OrgId, session: SessionId, sender: &watch::Sender<Kept>) -> Result<bool, StoreError> {
    let last = sender.borrow().last();
    let events = store.events_after(org, session, last, PAGE).await?;
    let full = i64::try_from(events.len()).is_ok_and(|count| count == PAGE);
    if !events.is_empty() {
        let frames = events.iter().map(frame).collect();
        sender.send_modify(|kept| *kept = kept.with(frames));
    }
    Ok(full)
}

/// As `text/event-stream` writes it: no field holds a line break, for JSON escapes them.
pub(crate) fn frame(event: &Recorded) -> Frame {
    let item = serde_json::to_value(event).expect("an event is plain data");
    let kind = item["kind"].as_str().unwrap_or_default();
    let bytes = format!("id: {}\nevent: {kind}\ndata: {item}\n\n", event.sequence);
    Frame { sequence: event.sequence, bytes: bytes.into() }
}

/// Nothing is left half done under this lock.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(sequences: std::ops::RangeInclusive<i64>, size: usize) -> Vec<Frame> {
        sequences.map(|sequence| Frame { sequence, bytes: vec![b'x'; size].into() }).collect()
    }

    fn sequences(frames: &[Frame]) -> Vec<i64> {
        frames.iter().map(|frame| frame.sequence).collect()
    }

    #[test]
    fn a_reader_within_what_is_kept_gets_exactly_what_it_has_not_seen() {
        let kept = Kept { after: 7, ..Kept::default() }.with(frames(8..=10, 1));
        assert_eq!(sequences(kept.past(7).unwrap()), [8, 9, 10]);
        assert_eq!(sequences(kept.past(9).unwrap()), [10]);
        assert!(kept.past(10).unwrap().is_empty() && kept.past(11).unwrap().is_empty());
        assert!(kept.past(6).is_none(), "what came before is in the database");
    }

    #[test]
    fn what_is_kept_is_bounded_in_events_and_in_bytes() {
        let kept = Kept::default().with(frames(1..=300, 1)).with(frames(301..=310, 1));
        assert_eq!((kept.after, kept.frames.len(), kept.last()), (54, KEPT, 310));
        let kept = kept.with(frames(311..=313, KEPT_BYTES / 2));
        assert_eq!(sequences(&kept.frames), [312, 313]);
        assert_eq!(sequences(&kept.with(frames(314..=314, KEPT_BYTES * 2)).frames), [314]);
    }
}
