//! The task that owns a chain: gathers calls into segments and puts one after the other.
//!
//! A segment that was begun is put until the store takes it, however long that is: dropping it would leave a hole or
//! two segments with one place. Callers give up by themselves; what they left in the queue is dropped unwritten.
//!
//! Not here: how long a call waits (`ledger`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use clock::Sources;
use ids::WriterId;
use metrics::{counter, gauge, histogram};
use objects::{Objects, ObjectsError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::LedgerError;
use crate::fence;
use crate::ledger::{Identity, Settings, State};
use crate::segment::{Link, MAX_BODY, Segment};

/// Records of one call, waiting.
pub(crate) struct Request {
    pub(crate) encoded: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) reply: oneshot::Sender<Result<(), LedgerError>>,
    pub(crate) _room: OwnedSemaphorePermit,
}

pub(crate) struct Writer {
    objects: Objects,
    identity: Identity,
    sources: Sources,
    settings: Settings,
    state: Arc<State>,
    /// Of the next segment; its instant is filled in when it is closed.
    next: Link,
    /// The ledger is known to be this system's, and to know of this generation.
    claimed: bool,
    /// When the last segment was closed, and the last full one.
    closed: Option<Instant>,
    full: Option<Instant>,
    /// Taken from the queue, but did not fit.
    carried: Option<Request>,
}

#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    count: u32,
    replies: Vec<oneshot::Sender<Result<(), LedgerError>>>,
    room: Vec<OwnedSemaphorePermit>,
}

/// A segment on its way.
struct Closed {
    key: String,
    bytes: Bytes,
    stored: bool,
}

impl Writer {
    pub(crate) fn new(
        objects: Objects,
        identity: Identity,
        writer: WriterId,
        sources: Sources,
        settings: Settings,
        state: Arc<State>,
    ) -> Self {
        let next = Link {
            generation: identity.generation,
            writer,
            sequence: 1,
            at: DateTime::UNIX_EPOCH,
            previous: [0; 32],
            previous_at: DateTime::UNIX_EPOCH,
        };
        Self {
            objects,
            identity,
            sources,
            settings,
            state,
            next,
            claimed: false,
            closed: None,
            full: None,
            carried: None,
        }
    }

    pub(crate) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>, closing: CancellationToken) {
        describe();
        while let Some(batch) = self.gather(&mut requests, &closing).await {
            let segment = self.close(&batch);
            let written = self.settle(segment, &batch, &closing).await;
            for reply in batch.replies {
                // A caller that has given up does not hear of it.
                let _ = reply.send(written.clone());
            }
            if let Err(error) = written {
                *self.state.broken.lock().expect("no holder of this lock can panic") = Some(error);
                return;
            }
        }
    }

    /// The next calls that are written together. `None`: there will be no more.
    async fn gather(
        &mut self,
        requests: &mut mpsc::UnboundedReceiver<Request>,
        closing: &CancellationToken,
    ) -> Option<Batch> {
        let mut batch = Batch::default();
        let mut close_by = None;
        loop {
            let request = match self.carried.take() {
                Some(request) => Some(request),
                None => match requests.try_recv() {
                    Ok(request) => Some(request),
                    Err(_) if batch.count == 0 => Some(next(requests, closing).await?),
                    Err(_) if batch.count as usize >= self.settings.full || closing.is_cancelled() => None,
                    Err(_) => {
                        let now = Instant::now();
                        let last = *close_by.get_or_insert(now + self.settings.linger);
                        let spaced = self.closed.map_or(now, |closed| closed + self.spacing(now));
                        let until = last.min(spaced.max(now + self.settings.quiet));
                        timeout_at(until, requests.recv()).await.ok().flatten()
                    }
                },
            };
            let Some(request) = request else {
                return Some(batch);
            };
            if let Some(unfit) = batch.take(request) {
                self.carried = Some(unfit);
                return Some(batch);
            }
        }
    }

    fn spacing(&self, now: Instant) -> Duration {
        let busy = self.full.is_some_and(|full| now < full + self.settings.linger);
        if busy { self.settings.spacing_when_busy.min(self.settings.spacing) } else { self.settings.spacing }
    }

    fn close(&mut self, batch: &Batch) -> Closed {
        self.closed = Some(Instant::now());
        if batch.count as usize >= self.settings.full {
            self.full = self.closed;
        }
        self.next.at = self.sources.now();
        let (bytes, checksum) = Segment::seal(self.identity.system, &self.next, batch.count, &batch.body);
        let key = self.next.key().to_string();
        self.next.sequence += 1;
        self.next.previous = checksum;
        self.next.previous_at = self.next.at;
        Closed { key, bytes: bytes.into(), stored: false }
    }

    /// Tries until the store has taken the segment and said that no newer generation has begun.
    async fn settle(
        &mut self,
        mut segment: Closed,
        batch: &Batch,
        closing: &CancellationToken,
    ) -> Result<(), LedgerError> {
        let began = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            let attempt = timeout(self.settings.attempt, self.attempt(&mut segment)).await;
            let error = match attempt {
                Ok(Ok(())) => {
                    self.succeeded(batch.count, began);
                    return Ok(());
                }
                Ok(Err(error)) if !error.retryable() => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => LedgerError::Unavailable { during: "waiting for the store", source: None },
            };
            self.failed(&error);
            if closing.is_cancelled() && batch.replies.iter().all(oneshot::Sender::is_closed) {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.settings.pause);
        }
    }

    async fn attempt(&mut self, segment: &mut Closed) -> Result<(), LedgerError> {
        if !self.claimed {
            fence::claim_system(&self.objects, self.identity.system).await?;
            fence::supersede(&self.objects, self.identity).await?;
            self.claimed = true;
        }
        if !segment.stored {
            match self.objects.put(&segment.key, segment.bytes.clone()).await {
                Ok(_) => segment.stored = true,
                Err(ObjectsError::Conflict(_)) => return Err(LedgerError::TwoWriters { writer: self.next.writer }),
                Err(error) => return Err(LedgerError::unavailable("putting a segment", error)),
            }
        }
        check_fence(&self.objects, self.identity.generation).await
    }

    fn succeeded(&self, records: u32, began: Instant) {
        if self.state.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the recovery ledger can be written again");
        }
        gauge!("cowork_ledger_unavailable").set(0.0);
        counter!("cowork_ledger_segments_total").increment(1);
        counter!("cowork_ledger_records_total").increment(records.into());
        histogram!("cowork_ledger_write_ms").record(began.elapsed().as_secs_f64() * 1_000.0);
    }

    fn failed(&self, error: &LedgerError) {
        if !self.state.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = error as &dyn std::error::Error, "the recovery ledger can't be written");
        }
        *self.state.last.lock().expect("no holder of this lock can panic") = Some(error.clone());
        gauge!("cowork_ledger_unavailable").set(1.0);
        counter!("cowork_ledger_write_failures_total").increment(1);
    }
}

impl Batch {
    /// Gives the request back if it does not fit. One whose caller has given up is dropped.
    fn take(&mut self, request: Request) -> Option<Request> {
        if request.reply.is_closed() {
            return None;
        }
        if self.count > 0 && self.body.len() + request.encoded.len() > MAX_BODY {
            return Some(request);
        }
        self.body.extend(&request.encoded);
        self.count += request.count;
        self.replies.push(request.reply);
        self.room.push(request._room);
        None
    }
}

/// The next request. When the ledger is being closed: only what waits already.
async fn next(requests: &mut mpsc::UnboundedReceiver<Request>, closing: &CancellationToken) -> Option<Request> {
    tokio::select! {
        biased;
        () = closing.cancelled() => {
            requests.close();
            requests.recv().await
        }
        request = requests.recv() => request,
    }
}

/// # Errors
/// `Fenced` if a generation newer than `generation` has begun.
pub(crate) async fn check_fence(objects: &Objects, generation: i64) -> Result<(), LedgerError> {
    match fence::newer_than(objects, generation).await? {
        Some(generation) => Err(LedgerError::Fenced { generation }),
        None => Ok(()),
    }
}

fn describe() {
    measures::gauge("cowork_ledger_unavailable", "1 while the recovery ledger can't be written");
    measures::counter("cowork_ledger_write_failures_total", "attempts at the recovery ledger that failed");
    measures::counter("cowork_ledger_segments_total", "objects that were added to the recovery ledger");
    measures::counter("cowork_ledger_records_total", "records that were added to the recovery ledger");
    measures::histogram("cowork_ledger_write_ms", "from closing a segment to its being durable and fenced");
}
