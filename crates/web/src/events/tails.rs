//! Tails: the newest events of what somebody follows, read once, whatever the number of readers.
//!
//! A tail is one task for each session or org that is followed. It reads what is new when it is woken, and keeps the newest. A
//! reader that is within what is kept takes it from there; one that is further behind reads the database a page at a time until
//! it is. Nobody waits for anybody: a slow reader holds no event back and none in memory.
//!
//! Not here: reading what is new (`session`, `feed`), the streams (`follow`), who may read them (`readers`).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::feed::FeedPlace;
use ids::{OrgId, SessionId};
use store::{EventsWaiter, StoreError};
use tokio::sync::watch;

use crate::events::kept::{Frame, Kept};
use crate::events::readers::Readers;

/// Between two looks for new events that nobody told of.
const POLL: Duration = Duration::from_secs(1);
/// Between two looks for events that are there and may not be read yet: doubled each time, until it is [`POLL`].
const HELD_BACK: Duration = Duration::from_millis(2);

/// The tails of a process, and who reads them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tails {
    pub(crate) sessions: Registry<(OrgId, SessionId), i64>,
    pub(crate) feeds: Registry<OrgId, FeedPlace>,
    pub(crate) readers: Readers,
}

/// Tails of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Registry<K, P>(Arc<Mutex<HashMap<K, watch::Sender<Kept<P>>>>>);

/// A reader's side of a tail.
pub(crate) type Followed<P> = watch::Receiver<Kept<P>>;

/// What a look for new events found.
#[derive(Debug)]
pub(crate) struct Look<P> {
    pub(crate) frames: Vec<Frame<P>>,
    pub(crate) next: Next,
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There may be more.
    AtOnce,
    /// There is more, and it may not be read yet.
    Soon,
    /// When somebody tells.
    Later,
}

impl<K, P> Default for Registry<K, P> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, P> Registry<K, P>
where
    K: Copy + Eq + Hash + Send + 'static,
    P: Copy + Ord + Send + Sync + 'static,
{
    /// Follows what `key` names, of which everything up to `after` is known to be there. Its tail begins with its first reader
    /// and ends after its last. `look` reads what is past a place, `new` waits for hints.
    pub(crate) fn follow<L, F>(&self, key: K, after: P, new: impl FnOnce() -> EventsWaiter, look: L) -> Followed<P>
    where
        L: Fn(P) -> F + Send + 'static,
        F: Future<Output = Result<Look<P>, StoreError>> + Send + 'static,
    {
        let mut tails = self.locked();
        if let Some(sender) = tails.get(&key) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Kept::nothing_after(after));
        tails.insert(key, sender.clone());
        tokio::spawn(keep(self.clone(), key, sender, new(), look));
        receiver
    }

    /// `true`: nobody reads, and the tail is gone.
    fn remove_unread(&self, key: K, sender: &watch::Sender<Kept<P>>) -> bool {
        let mut tails = self.locked();
        let unread = sender.receiver_count() == 0;
        if unread {
            tails.remove(&key);
        }
        unread
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.locked().is_empty()
    }

    /// Nothing is left half done under this lock.
    fn locked(&self) -> MutexGuard<'_, HashMap<K, watch::Sender<Kept<P>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn keep<K, P, L, F>(tails: Registry<K, P>, key: K, sender: watch::Sender<Kept<P>>, mut new: EventsWaiter, look: L)
where
    K: Copy + Eq + Hash + Send + 'static,
    P: Copy + Ord + Send + Sync + 'static,
    L: Fn(P) -> F,
    F: Future<Output = Result<Look<P>, StoreError>>,
{
    let mut held_back = HELD_BACK;
    loop {
        let last = sender.borrow().last();
        let Look { frames, next } = match look(last).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "streams of events broke off");
                tails.locked().remove(&key);
                return;
            }
        };
        if !frames.is_empty() {
            sender.send_modify(|kept| *kept = kept.with(frames));
        }
        let wait = match next {
            Next::AtOnce => continue,
            Next::Soon => {
                held_back = (held_back * 2).min(POLL);
                held_back
            }
            Next::Later => {
                held_back = HELD_BACK;
                POLL
            }
        };
        tokio::select! {
            () = new.woken() => {}
            () = tokio::time::sleep(wait) => {}
            () = sender.closed() => if tails.remove_unread(key, &sender) { return },
        }
    }
}
