//! What several ask of the database as one statement: what is asked for while statements of its kind are under way for an org goes
//! with the next one.
//!
//! To start a statement of many arms, to commit it and to answer it costs as much as what it does for one session
//! (measured: 55 % of the server's time at the end of a turn). Who asks alone is answered at once and alone.
//!
//! Each is judged by itself: one that is fenced off takes nothing from the others. A session that somebody else has
//! locked is left out and asked for alone, so that nobody waits for another's lock. If the server refuses the whole, each is
//! asked for alone and has an answer of its own. A statement that takes longer than a second gives its place to another: a
//! connection that hangs holds up those who share the statement, and nobody else.
//!
//! What was asked goes on although its caller no longer waits for it, as a statement does that the server has been sent.
//!
//! Not here: the statements (`event`, `turn`, `command::taking`, `session::view`, `session::list`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ids::{OrgId, SessionId};
use tokio::sync::oneshot;

use crate::{Store, StoreError};

/// How long a statement keeps its place.
const PATIENCE: Duration = Duration::from_secs(1);
/// What one statement is asked.
const BATCH: usize = 64; // `asked` in the statements has the same bound.
/// Where a batch ends that is heavy before it is long.
const BYTES: usize = 1 << 20;

/// What can share a statement with others of its kind.
pub(crate) trait Ask: Debug + Sized + Send + Sync + 'static {
    type Done: Debug + Send + 'static;

    /// For errors.
    const STATEMENT: &'static str;

    /// Statements of this kind that are under way at once for an org. With two, half as many share one, and a prompt takes a fifth
    /// more of the server's time (measured).
    const UNDER_WAY: usize = 1;

    /// What it carries there or back, about.
    fn bytes(&self) -> usize;

    /// Two about the same session do not share a statement. `None`: they may.
    fn apart(&self) -> Option<SessionId> {
        None
    }

    /// All of `asked`, in one statement: an answer for each, in their order.
    fn carry_out(
        store: &Store,
        org: OrgId,
        asked: &[Self],
        locked: Locked,
    ) -> impl Future<Output = Result<Vec<Answered<Self::Done>>, sqlx::Error>> + Send;
}

/// What to do with sessions that somebody else has locked. Of no concern to who only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    LeaveOut,
    WaitFor,
}

/// What became of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered<D> {
    Done(D),
    /// Its token is not current. Nothing was written.
    FencedOff,
    /// Its session was locked. Nothing was written.
    LeftOut,
}

impl<D> Answered<D> {
    /// What the columns of a fenced write say: whether the session was locked by this statement, and whether the token was current.
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
pub(crate) struct Batcher<A: Ask> {
    lines: Arc<Mutex<HashMap<OrgId, Line<A>>>>,
    patience: Duration,
}

#[derive(Debug)]
struct Line<A: Ask> {
    under_way: usize,
    waiting: VecDeque<Asked<A>>,
}

#[derive(Debug)]
struct Asked<A: Ask> {
    ask: A,
    answer: oneshot::Sender<Result<A::Done, StoreError>>,
}

impl<A: Ask> Clone for Batcher<A> {
    fn clone(&self) -> Self {
        Self { lines: self.lines.clone(), patience: self.patience }
    }
}

impl<A: Ask> Default for Batcher<A> {
    fn default() -> Self {
        Self { lines: Arc::default(), patience: PATIENCE }
    }
}

impl<A: Ask> Batcher<A> {
    /// Asks, with others or alone.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if its token is not current.
    pub(crate) async fn ask(&self, store: &Store, org: OrgId, ask: A) -> Result<A::Done, StoreError> {
        let (answer, answered) = oneshot::channel();
        if let Some(turn) = self.join(org, Asked { ask, answer }) {
            turn.start(store.clone());
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::during(A::STATEMENT)(sqlx::Error::WorkerCrashed)))
    }

    /// A turn for whoever is first; `None`: others are under way, and the next of them takes it along.
    fn join(&self, org: OrgId, asked: Asked<A>) -> Option<Turn<A>> {
        let mut lines = self.lines();
        let line = lines.entry(org).or_insert_with(|| Line { under_way: 0, waiting: VecDeque::new() });
        line.waiting.push_back(asked);
        (line.under_way < A::UNDER_WAY).then(|| {
            line.under_way += 1;
            Turn { batcher: self.clone(), org, over: false }
        })
    }

    /// Nothing is left half done under this lock.
    fn lines(&self) -> MutexGuard<'_, HashMap<OrgId, Line<A>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Ask> Line<A> {
    /// Those at its head that may share a statement. The others keep their order.
    fn batch(&mut self) -> Vec<Asked<A>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let (mut about, mut left) = (HashSet::new(), VecDeque::new());
        while batch.len() < BATCH
            && let Some(next) = self.waiting.pop_front()
        {
            let full = !batch.is_empty() && bytes + next.ask.bytes() > BYTES;
            let apart = next.ask.apart().is_some_and(|session| !about.insert(session));
            if full || apart {
                left.push_back(next);
            } else {
                bytes += next.ask.bytes();
                batch.push(next);
            }
            if full {
                break;
            }
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        batch
    }
}

/// The right to have a statement under way. Given back when nobody waits, or when dropped in the middle.
#[derive(Debug)]
struct Turn<A: Ask> {
    batcher: Batcher<A>,
    org: OrgId,
    over: bool,
}

impl<A: Ask> Turn<A> {
    fn start(self, store: Store) {
        tokio::spawn(self.run(store));
    }

    async fn run(mut self, store: Store) {
        while let Some(batch) = self.batch() {
            let mut asking = std::pin::pin!(carry_out(&store, self.org, batch));
            if tokio::time::timeout(self.batcher.patience, &mut asking).await.is_err() {
                if let Some(next) = self.give_way() {
                    next.start(store.clone());
                }
                return asking.await;
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
    fn batch(&mut self) -> Option<Vec<Asked<A>>> {
        let mut lines = self.batcher.lines();
        let line = lines.get_mut(&self.org)?;
        if line.waiting.is_empty() {
            self.over = true;
            give_back(&mut lines, self.org);
            return None;
        }
        Some(line.batch())
    }
}

impl<A: Ask> Drop for Turn<A> {
    fn drop(&mut self) {
        if !self.over {
            give_back(&mut self.batcher.lines(), self.org);
        }
    }
}

/// With the last turn goes its line. Whoever waits in it, because the turn was dropped, is told by that.
fn give_back<A: Ask>(lines: &mut HashMap<OrgId, Line<A>>, org: OrgId) {
    if let Some(line) = lines.get_mut(&org) {
        line.under_way -= 1;
        if line.under_way == 0 {
            lines.remove(&org);
        }
    }
}

async fn carry_out<A: Ask>(store: &Store, org: OrgId, batch: Vec<Asked<A>>) {
    let (asked, answers): (Vec<A>, Vec<_>) = batch.into_iter().map(|asked| (asked.ask, asked.answer)).unzip();
    let answered = A::carry_out(store, org, &asked, Locked::LeaveOut).await;
    let mut asked = asked.into_iter().zip(answers).map(|(ask, answer)| Asked { ask, answer });
    match answered {
        Ok(answered) => {
            for (asked, answered) in asked.zip(answered) {
                asked.told(store, org, answered);
            }
        }
        // The server refused it, so nothing of it was written.
        Err(sqlx::Error::Database(_)) if asked.len() > 1 => {
            for asked in asked {
                tokio::spawn(asked.alone(store.clone(), org));
            }
        }
        Err(error) if asked.len() > 1 => {
            let error = Arc::new(error);
            for asked in asked {
                asked.failed(sqlx::Error::Io(io::Error::other(error.clone())));
            }
        }
        Err(error) => {
            if let Some(only) = asked.next() {
                only.failed(error);
            }
        }
    }
}

/// Whoever asked may be gone; the answers are for nobody then.
impl<A: Ask> Asked<A> {
    fn told(self, store: &Store, org: OrgId, answered: Answered<A::Done>) {
        let answer = match answered {
            Answered::Done(done) => Ok(done),
            Answered::FencedOff => Err(StoreError::LeaseLost),
            Answered::LeftOut => {
                tokio::spawn(self.alone(store.clone(), org));
                return;
            }
        };
        let _ = self.answer.send(answer);
    }

    fn failed(self, error: sqlx::Error) {
        let _ = self.answer.send(Err(StoreError::during(A::STATEMENT)(error)));
    }

    async fn alone(self, store: Store, org: OrgId) {
        match alone(&store, org, &self.ask).await {
            Ok(answer) => {
                let _ = self.answer.send(answer.ok_or(StoreError::LeaseLost));
            }
            Err(error) => self.failed(error),
        }
    }
}

/// One, which waits for whoever has its session locked. `None`: it is fenced off.
async fn alone<A: Ask>(store: &Store, org: OrgId, ask: &A) -> Result<Option<A::Done>, sqlx::Error> {
    let answered = A::carry_out(store, org, std::slice::from_ref(ask), Locked::WaitFor).await?.pop();
    match answered {
        Some(Answered::Done(done)) => Ok(Some(done)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
