//! The ledger as those see it who write to it.
//!
//! Promised: when `record` has returned `Ok`, the records are durable, and no newer generation had begun when the store
//! was asked after that. Not promised: that records of a call that failed, or was dropped, are not there. Whoever
//! records an intent must count on it being found although nothing left.
//!
//! Not here: how calls are gathered into segments and put (`writer`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::{Sources, Timestamp};
use ids::{SystemId, WriterId};
use objects::Objects;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::codec::MAX_RECORD;
use crate::compact::{self, Compacted, Compaction};
use crate::error::LedgerError;
use crate::fence;
use crate::record::Record;
use crate::segment::MAX_BODY;
use crate::writer::{self, Request, Writer};

/// Whose ledger it is, and which life of it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub system: SystemId,
    pub generation: i64,
    /// When a restore began this generation: the first who reaches a ledger that does not know of it fences the older ones
    /// there. `None`: no restore began it, or it is a drill's copy, which fences nobody.
    pub supersedes: Option<Timestamp>,
}

/// How calls are gathered. Under load segments are large and few; a call that is alone waits for `quiet` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A segment is closed when nothing more came for this long.
    pub quiet: Duration,
    /// Between the closing of two segments, as long as neither is full.
    pub spacing: Duration,
    /// The same where one was full in the last `linger`: many are at work, who wait for what a full one left over.
    pub spacing_when_busy: Duration,
    /// The longest that a record waits for others.
    pub linger: Duration,
    /// Records for which a segment is worth closing at once.
    pub full: usize,
    /// Records that may wait. Further calls wait until there is room.
    pub waiting: usize,
    /// How long a call waits for its records to be durable, all in all.
    pub patience: Duration,
    /// How long one request to the object store may take before it is made again.
    pub attempt: Duration,
    /// The longest pause between two attempts at a store that fails.
    pub pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(4),
            spacing: Duration::from_millis(40),
            spacing_when_busy: Duration::from_millis(15),
            linger: Duration::from_millis(200),
            full: 256,
            waiting: 65_536,
            patience: Duration::from_secs(10),
            attempt: Duration::from_secs(5),
            pause: Duration::from_secs(1),
        }
    }
}

/// Records of one request to the writer. A longer call is several.
const AT_ONCE: usize = 1_024;
const _: () = assert!(AT_ONCE * MAX_RECORD <= MAX_BODY);

/// One writer's open ledger. Cheap to clone; all clones write one chain. Dropping the last one lets what waits be
/// written, and waits for nothing: see [`Ledger::close`].
#[derive(Debug, Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    objects: Objects,
    identity: Identity,
    settings: Settings,
    requests: mpsc::UnboundedSender<Request>,
    /// One permit for each record that waits.
    room: Arc<Semaphore>,
    state: Arc<State>,
    closing: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer tells about itself.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Set from a failed attempt on, until the next one that succeeds.
    pub(crate) failing: AtomicBool,
    /// Why nothing more will ever be written.
    pub(crate) broken: Mutex<Option<LedgerError>>,
    /// The last failure.
    pub(crate) last: Mutex<Option<LedgerError>>,
}

impl Ledger {
    /// Does not touch the store: an installation whose ledger can't be reached starts all the same, and its effects
    /// wait. `writer` must be new, and only this ledger's. Needs a tokio runtime.
    #[must_use]
    pub fn open(objects: Objects, identity: Identity, writer: WriterId, sources: Sources, settings: Settings) -> Self {
        let (requests, received) = mpsc::unbounded_channel();
        let state = Arc::new(State::default());
        let closing = CancellationToken::new();
        let writer = Writer::new(objects.clone(), identity, writer, sources, settings, state.clone());
        let task = tokio::spawn(writer.run(received, closing.clone()));
        let room = Arc::new(Semaphore::new(settings.waiting.max(AT_ONCE)));
        let task = Mutex::new(Some(task));
        Self { shared: Arc::new(Shared { objects, identity, settings, requests, room, state, closing, task }) }
    }

    #[must_use]
    pub fn identity(&self) -> Identity {
        self.shared.identity
    }

    /// Whether this process may act: the ledger is this system's, and no newer generation has begun. To be asked at
    /// start, and now and then by a process that records nothing. Tells a ledger of this generation that does not know of
    /// it: see [`Identity::supersedes`].
    ///
    /// # Errors
    /// `Fenced`, `AnotherSystem`, `NewerFormat`: stop. `Unavailable`: go on without effects.
    pub async fn check(&self) -> Result<(), LedgerError> {
        let Shared { objects, identity, settings, .. } = &*self.shared;
        let check = async {
            match fence::check_system(objects, identity.system).await {
                Ok(()) | Err(LedgerError::Empty) => {}
                failed => return failed,
            }
            fence::supersede(objects, *identity).await?;
            writer::check_fence(objects, identity.generation).await
        };
        let late = || LedgerError::Unavailable { during: "looking for a newer generation", source: None };
        tokio::time::timeout(settings.attempt, check).await.unwrap_or_else(|_| Err(late()))
    }

    /// Bundles what this ledger's writers have closed, and drops what is older than the retention. See [`compact::compact`].
    ///
    /// # Errors
    /// Then some of it is done, and the same may be tried again.
    pub async fn compact(&self, now: Timestamp, ages: Compaction) -> Result<Compacted, LedgerError> {
        let Shared { objects, identity, .. } = &*self.shared;
        compact::compact(objects, identity.system, now, ages).await
    }

    /// Whether the last attempt at the store succeeded. While it is `false`, new effects had better not be begun.
    #[must_use]
    pub fn available(&self) -> bool {
        !self.shared.state.failing.load(Ordering::Relaxed)
    }

    /// Writes records, together with those of other calls. No records, no write.
    ///
    /// # Errors
    /// After any error, nothing of what the records announce may happen. `Unavailable` may be tried again; after the
    /// others this ledger takes nothing more.
    pub async fn record(&self, records: Vec<Record>) -> Result<(), LedgerError> {
        let waiting = records.chunks(AT_ONCE).map(|some| self.one_request(some));
        let all = futures::future::try_join_all(waiting);
        match tokio::time::timeout(self.shared.settings.patience, all).await {
            Ok(recorded) => recorded.map(|_| ()),
            Err(_) => Err(self.shared.state.last_failure()),
        }
    }

    async fn one_request(&self, records: &[Record]) -> Result<(), LedgerError> {
        let shared = &self.shared;
        if let Some(error) = shared.state.broken() {
            return Err(error);
        }
        let count = u32::try_from(records.len()).expect("a request is short");
        let mut encoded = Vec::new();
        for record in records {
            record.encode(&mut encoded);
        }
        let room = shared.room.clone().acquire_many_owned(count).await.map_err(|_| LedgerError::Closed)?;
        let (reply, answered) = oneshot::channel();
        let request = Request { encoded, count, reply, _room: room };
        shared.requests.send(request).map_err(|_| shared.state.gone())?;
        answered.await.unwrap_or_else(|_| Err(shared.state.gone()))
    }

    /// Writes what waits and ends; later calls find the ledger closed. Waits as long as a call would.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        let task = self.shared.task.lock().expect("no holder of this lock can panic").take();
        if let Some(task) = task
            && tokio::time::timeout(self.shared.settings.patience, task).await.is_err()
        {
            tracing::warn!("the recovery ledger was closed before all that waited was written");
        }
    }
}

impl State {
    fn broken(&self) -> Option<LedgerError> {
        self.broken.lock().expect("no holder of this lock can panic").clone()
    }

    fn gone(&self) -> LedgerError {
        self.broken().unwrap_or(LedgerError::Closed)
    }

    fn last_failure(&self) -> LedgerError {
        let last = self.last.lock().expect("no holder of this lock can panic").clone();
        let unanswered = LedgerError::Unavailable { during: "waiting for the store", source: None };
        if self.failing.load(Ordering::Relaxed) { last.unwrap_or(unanswered) } else { unanswered }
    }
}
