//! Writes of several sessions as one statement: what is asked for while statements of its kind are under way for an org goes
//! with the next one.
//!
//! To start a statement of many arms, to commit it and to answer it costs as much as what it does for one session
//! (measured: 55 % of the server's time at the end of a turn). A write that comes alone is carried out at once and alone.
//!
//! Each write is judged by itself: one that is fenced off takes nothing from the others. A session that somebody else has
//! locked is left out and written alone, so that nobody waits for another's lock. If the server refuses the whole, each is
//! carried out alone and has an answer of its own. A statement that takes longer than a second gives its place to another: a
//! connection that hangs holds up those who share the statement, and nobody else.
//!
//! A write goes on although its caller no longer waits for it, as a statement does that the server has been sent.
//!
//! Not here: the statements (`event`, `turn`).

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ids::OrgId;
use tokio::sync::oneshot;

use crate::{Store, StoreError};

/// Statements of one kind that are under way at once for an org. With more, fewer writes share one.
const UNDER_WAY: usize = 2;
/// How long a statement keeps its place.
const PATIENCE: Duration = Duration::from_secs(1);
/// Writes that one statement carries out.
const BATCH: usize = 64; // `asked` in the statements has the same bound.
/// Where a batch ends that is heavy before it is long.
const BYTES: usize = 1 << 20;

/// A write that can share a statement with others of its kind.
pub(crate) trait Write: Debug + Sized + Send + Sync + 'static {
    type Done: Debug + Send + 'static;

    /// For errors.
    const STATEMENT: &'static str;

    /// What it carries, about.
    fn bytes(&self) -> usize;

    /// All of `writes`, in one statement: an answer for each, in their order.
    fn carry_out(
        store: &Store,
        org: OrgId,
        writes: &[Self],
        locked: Locked,
    ) -> impl Future<Output = Result<Vec<Written<Self::Done>>, sqlx::Error>> + Send;
}

/// What to do with sessions that somebody else has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    LeaveOut,
    WaitFor,
}

/// What became of one write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written<D> {
    Done(D),
    /// Its token is not current. Nothing was written.
    FencedOff,
    /// Its session was locked. Nothing was written.
    LeftOut,
}

impl<D> Written<D> {
    /// What the answer's columns say: whether the session was locked by this statement, and whether the token was current.
    pub(crate) fn read(locked: bool, current: bool, waited: Locked, done: impl FnOnce() -> D) -> Self {
        match (locked, current) {
            (_, true) => Self::Done(done()),
            (false, false) if waited == Locked::LeaveOut => Self::LeftOut,
            _ => Self::FencedOff,
        }
    }
}

/// Cheap to clone.
#[derive(Debug)]
pub(crate) struct Batcher<W: Write> {
    lines: Arc<Mutex<HashMap<OrgId, Line<W>>>>,
    patience: Duration,
}

#[derive(Debug)]
struct Line<W: Write> {
    under_way: usize,
    waiting: VecDeque<Asked<W>>,
}

#[derive(Debug)]
struct Asked<W: Write> {
    write: W,
    answer: oneshot::Sender<Result<W::Done, StoreError>>,
}

impl<W: Write> Clone for Batcher<W> {
    fn clone(&self) -> Self {
        Self { lines: self.lines.clone(), patience: self.patience }
    }
}

impl<W: Write> Default for Batcher<W> {
    fn default() -> Self {
        Self { lines: Arc::default(), patience: PATIENCE }
    }
}

impl<W: Write> Batcher<W> {
    /// Carries `write` out, with others or alone.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if its token is not current.
    pub(crate) async fn write(&self, store: &Store, org: OrgId, write: W) -> Result<W::Done, StoreError> {
        let (answer, answered) = oneshot::channel();
        if let Some(turn) = self.join(org, Asked { write, answer }) {
            turn.start(store.clone());
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::during(W::STATEMENT)(sqlx::Error::WorkerCrashed)))
    }

    /// A turn for whoever is first; `None`: others are under way, and the next of them takes it along.
    fn join(&self, org: OrgId, asked: Asked<W>) -> Option<Turn<W>> {
        let mut lines = self.lines();
        let line = lines.entry(org).or_insert_with(|| Line { under_way: 0, waiting: VecDeque::new() });
        line.waiting.push_back(asked);
        (line.under_way < UNDER_WAY).then(|| {
            line.under_way += 1;
            Turn { batcher: self.clone(), org, over: false }
        })
    }

    /// Nothing is left half done under this lock.
    fn lines(&self) -> MutexGuard<'_, HashMap<OrgId, Line<W>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have a statement under way. Given back when nobody waits, or when dropped in the middle.
#[derive(Debug)]
struct Turn<W: Write> {
    batcher: Batcher<W>,
    org: OrgId,
    over: bool,
}

impl<W: Write> Turn<W> {
    fn start(self, store: Store) {
        tokio::spawn(self.run(store));
    }

    async fn run(mut self, store: Store) {
        while let Some(batch) = self.batch() {
            let mut writing = std::pin::pin!(carry_out(&store, self.org, batch));
            if tokio::time::timeout(self.batcher.patience, &mut writing).await.is_err() {
                if let Some(next) = self.give_way() {
                    next.start(store.clone());
                }
                return writing.await;
            }
        }
    }

    /// Ends this turn while its statement goes on. With others waiting it is theirs.
    fn give_way(&mut self) -> Option<Self> {
        let mut lines = self.batcher.lines();
        self.over = true;
        if lines.get(&self.org).is_some_and(|line| line.waiting.is_empty()) {
            give_back(&mut lines, self.org);
            return None;
        }
        Some(Self { batcher: self.batcher.clone(), org: self.org, over: false })
    }

    /// `None`: nobody waits, and the turn is over. Under one lock, so that nobody joins in between.
    fn batch(&mut self) -> Option<Vec<Asked<W>>> {
        let mut lines = self.batcher.lines();
        let line = lines.get_mut(&self.org)?;
        if line.waiting.is_empty() {
            self.over = true;
            give_back(&mut lines, self.org);
            return None;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = line.waiting.front()
            && batch.len() < BATCH
            && (batch.is_empty() || bytes + next.write.bytes() <= BYTES)
        {
            bytes += next.write.bytes();
            batch.extend(line.waiting.pop_front());
        }
        Some(batch)
    }
}

impl<W: Write> Drop for Turn<W> {
    fn drop(&mut self) {
        if !self.over {
            give_back(&mut self.batcher.lines(), self.org);
        }
    }
}

/// With the last turn goes its line. Whoever waits in it, because the turn was dropped, is told by that.
fn give_back<W: Write>(lines: &mut HashMap<OrgId, Line<W>>, org: OrgId) {
    if let Some(line) = lines.get_mut(&org) {
        line.under_way -= 1;
        if line.under_way == 0 {
            lines.remove(&org);
        }
    }
}

async fn carry_out<W: Write>(store: &Store, org: OrgId, batch: Vec<Asked<W>>) {
    let (writes, answers): (Vec<W>, Vec<_>) = batch.into_iter().map(|asked| (asked.write, asked.answer)).unzip();
    let written = W::carry_out(store, org, &writes, Locked::LeaveOut).await;
    let asked = writes.into_iter().zip(answers).map(|(write, answer)| Asked { write, answer });
    match written {
        Ok(written) => {
            for (asked, written) in asked.zip(written) {
                asked.told(store, org, written);
            }
        }
        // The server refused it, so nothing of it was written.
        Err(sqlx::Error::Database(_)) if asked.len() > 1 => {
            for asked in asked {
                tokio::spawn(asked.alone(store.clone(), org));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for asked in asked {
                asked.failed(sqlx::Error::Io(io::Error::other(error.clone())));
            }
        }
    }
}

/// Whoever asked may be gone; the answers are for nobody then.
impl<W: Write> Asked<W> {
    fn told(self, store: &Store, org: OrgId, written: Written<W::Done>) {
        let answer = match written {
            Written::Done(done) => Ok(done),
            Written::FencedOff => Err(StoreError::LeaseLost),
            Written::LeftOut => {
                tokio::spawn(self.alone(store.clone(), org));
                return;
            }
        };
        let _ = self.answer.send(answer);
    }

    fn failed(self, error: sqlx::Error) {
        let _ = self.answer.send(Err(StoreError::during(W::STATEMENT)(error)));
    }

    async fn alone(self, store: Store, org: OrgId) {
        match alone(&store, org, &self.write).await {
            Ok(answer) => {
                let _ = self.answer.send(answer.ok_or(StoreError::LeaseLost));
            }
            Err(error) => self.failed(error),
        }
    }
}

/// One write, which waits for whoever has its session locked. `None`: it is fenced off.
async fn alone<W: Write>(store: &Store, org: OrgId, write: &W) -> Result<Option<W::Done>, sqlx::Error> {
    let written = W::carry_out(store, org, std::slice::from_ref(write), Locked::WaitFor).await?.pop();
    match written {
        Some(Written::Done(done)) => Ok(Some(done)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
