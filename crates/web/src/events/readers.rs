//! Who reads streams, and that a stream ends with its reader's right to read it.
//!
//! A request is judged when it comes (`auth`, `gate`), and a stream outlives that by hours. So one task of a process
//! judges all its readers again, as if they came now: when somebody tells that identities changed, when one of their
//! credentials ends by itself, and every few seconds in case that nobody told. It asks for a thousand credentials with
//! a statement, however many streams each of them has open, and every quarter of a second at most. A stream that ends
//! says nothing of it: whoever comes back is told with a status.
//!
//! Promised: a stream ends within [`POLL`] and the time of a look after its right went, at any process. If the database
//! does not answer [`FAILURES`] looks in a row, all streams end.
//!
//! Not promised: that what was handed to a connection already is taken back. To read a stream is no use of a browser
//! session, so one that does nothing else ends when it was idle for too long.
//!
//! Not here: what a credential gives (`store::standing`), how many streams it may have (`open`), other ends of a stream
//! (`follow`).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use chrono::TimeDelta;
use clock::Timestamp;
use domain::tenancy::permitted;
use futures::{Stream, StreamExt as _};
use ids::OrgId;
use store::{Credential, Standing, StoreError};
use tokio::sync::watch;

use crate::app::App;
use crate::auth::{Caller, may_act_in};
use crate::events::open::OpenStream;
use crate::gate::Gate;
use crate::problem::Problem;
use crate::sign_in::SignIn;

/// Between two looks that nobody asked for.
const POLL: Duration = Duration::from_secs(5);
/// Between two looks, at least.
const GAP: Duration = Duration::from_millis(250);
/// Looks that fail in a row before nobody reads on.
const FAILURES: u32 = 3;

/// Somebody who reads: what they showed, where they read, and what that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    pub(crate) org: OrgId,
    home: OrgId,
    credential: Credential,
    gate: Gate,
}

impl FromRequestParts<App> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().ok_or_else(Problem::unauthenticated)?;
        let gate = parts.extensions.get::<MatchedPath>().and_then(|path| Gate::of(path, &parts.method));
        let gate = gate.ok_or_else(Problem::unauthenticated)?;
        Ok(Self { org: caller.org, home: caller.home, credential: caller.credential, gate })
    }
}

impl Reader {
    /// Makes room for a stream, before anything is done for it.
    pub(crate) fn opens(self, app: &App) -> Result<OpenStream, Problem> {
        app.streams.another(self.credential)
    }

    /// `stream`, for as long as this reader may read it. `open` is given up with it.
    pub(crate) fn reads<S: Stream>(
        self,
        app: &App,
        open: OpenStream,
        stream: S,
    ) -> impl Stream<Item = S::Item> + use<S> {
        let mut right = app.tails.readers.join(app, self);
        stream.take_until(async move {
            let _open = open;
            // Nothing is ever sent: this is over when the sender is gone.
            let _ = right.changed().await;
        })
    }

    /// As `auth` and `gate` judge who comes now.
    fn may(&self, standing: &Standing) -> bool {
        let permissions = permitted(standing.permissions, &standing.scopes);
        self.gate.lets_through(permissions) && may_act_in(self.org, self.home, permissions)
    }
}

/// The readers of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readers(Arc<Mutex<Present>>);

#[derive(Debug, Default)]
struct Present {
    /// What keeps a reader's streams open. They end when it is dropped.
    rights: HashMap<Reader, watch::Sender<()>>,
    /// Whether there is a task that judges them.
    judged: bool,
}

impl Readers {
    fn join(&self, app: &App, reader: Reader) -> watch::Receiver<()> {
        let mut present = self.locked();
        let right = present.rights.entry(reader).or_default().subscribe();
        if !present.judged {
            present.judged = true;
            tokio::spawn(Judge { readers: self.clone(), over: false }.run(app.clone()));
        }
        right
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.locked().rights.len()
    }

    /// Nothing is left half done under this lock.
    fn locked(&self) -> MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Judges readers again and again. If it breaks down nobody reads on.
#[derive(Debug)]
struct Judge {
    readers: Readers,
    over: bool,
}

impl Judge {
    /// Until nobody reads.
    async fn run(mut self, app: App) {
        let mut changed = app.store.wakes().identities();
        let mut failed = 0;
        while let Some(readers) = self.present() {
            let ends_at = match self.judge(&app, &readers).await {
                Ok(ends_at) => {
                    failed = 0;
                    ends_at
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "nobody knows who may read on");
                    failed += 1;
                    None
                }
            };
            if failed == FAILURES {
                return;
            }
            tokio::time::sleep(GAP).await;
            tokio::select! {
                () = changed.woken() => {}
                () = tokio::time::sleep(pause(ends_at, app.store.sources().now())) => {}
                () = app.shutdown.cancelled() => return,
            }
        }
    }

    /// `None`: nobody reads, and this is over. Under one lock, so that nobody joins in between.
    fn present(&mut self) -> Option<Vec<Reader>> {
        let mut present = self.readers.locked();
        present.rights.retain(|_, right| right.receiver_count() > 0);
        self.over = present.rights.is_empty();
        present.judged = !self.over;
        (!self.over).then(|| present.rights.keys().copied().collect())
    }

    /// Ends the streams of those who may not read them any more. Gives back when the next credential ends by itself.
    async fn judge(&self, app: &App, readers: &[Reader]) -> Result<Option<Timestamp>, StoreError> {
        let credentials: HashSet<_> = readers.iter().map(|reader| (reader.home, reader.credential)).collect();
        let credentials: Vec<_> = credentials.into_iter().collect();
        // Without a provider cookies count for nothing.
        let idle = app.sign_in.as_ref().map_or(TimeDelta::zero(), SignIn::idle);
        let standings = app.store.credential_standings(&credentials, idle).await?;
        let may = |reader: &Reader| {
            standings.get(&(reader.home, reader.credential)).is_some_and(|standing| reader.may(standing))
        };
        let mut present = self.readers.locked();
        for reader in readers.iter().filter(|reader| !may(reader)) {
            present.rights.remove(reader);
        }
        Ok(standings.values().filter_map(|standing| standing.ends_at).min())
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if !self.over {
            *self.readers.locked() = Present::default();
        }
    }
}

/// Until the next look that nobody asks for.
fn pause(ends_at: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = ends_at.map(|ends_at| (ends_at - now).to_std().unwrap_or_default());
    left.map_or(POLL, |left| left.min(POLL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_is_when_a_credential_ends_and_never_far_away() {
        let now = Timestamp::UNIX_EPOCH;
        let ends_in = |millis| Some(now + TimeDelta::milliseconds(millis));
        assert_eq!(pause(None, now), POLL);
        assert_eq!(pause(ends_in(3_000), now), Duration::from_secs(3));
        assert_eq!(pause(ends_in(3_600_000), now), POLL);
        assert_eq!(pause(ends_in(-1), now), Duration::ZERO);
    }
}
