//! Connections that are kept at hand for single statements, each there for the rows of one org, or of all.
//!
//! The pool asks the server whether a connection lives before it lends it and again when it comes back: three round trips
//! for a statement of one. Those that are kept here are lent as they are, unless they have rested for a while. One on
//! which anything went wrong, or whose borrower was dropped in mid-statement, is closed instead of being lent again.
//!
//! Where a wall stands between tenants (`wall`), a connection says once whose rows it is there for and is lent for those; it says
//! so anew, a round trip, only when none of them is free. So an installation with one org pays nothing, and one with many pays
//! where more orgs are at work than there are connections.
//!
//! Not guaranteed: that the first statement after the server went away succeeds. Its caller is told, as of any failure.
//!
//! Not here: transactions of several statements, which come from the pool.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::wall::{Reach, Wall};

/// A connection that nobody used for so long is asked whether it lives.
const RESTED: Duration = Duration::from_secs(1);
/// How long a borrower waits for its turn.
const TURN: Duration = Duration::from_secs(30);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: PgConnectOptions,
    wall: Wall,
    idle: Mutex<Vec<Resting>>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Resting {
    connection: PgConnection,
    /// What it said last. `None`: nothing, there was no wall.
    reach: Option<Reach>,
    since: Instant,
}

/// A connection, until it is given back with [`Lent::done`].
#[derive(Debug)]
pub(crate) struct Lent {
    connection: Option<PgConnection>,
    reach: Option<Reach>,
    shared: Arc<Shared>,
    _turn: OwnedSemaphorePermit,
}

impl Connections {
    /// At most `limit` at a time. None is opened before it is needed.
    pub(crate) fn new(options: PgConnectOptions, limit: u32, wall: Wall) -> Self {
        let turns = Arc::new(Semaphore::new(limit.max(1) as usize));
        Self(Arc::new(Shared { options, wall, idle: Mutex::default(), turns }))
    }

    pub(crate) async fn lend(&self, reach: Reach) -> Result<Lent, Error> {
        let turn = tokio::time::timeout(TURN, self.0.turns.clone().acquire_owned());
        let turn = turn.await.map_err(|_| Error::PoolTimedOut)?.map_err(|_| Error::PoolClosed)?;
        let (mut connection, said) = match self.rested(reach).await {
            Some(rested) => (rested.connection, rested.reach),
            None => (PgConnection::connect_with(&self.0.options).await?, None),
        };
        let reach = self.0.wall.stands(&mut connection).await?.then_some(reach);
        if let Some(reach) = reach.filter(|_| said != reach) {
            Wall::enter(&mut connection, reach).await?;
        }
        Ok(Lent { connection: Some(connection), reach, shared: self.0.clone(), _turn: turn })
    }

    /// One that was used before and lives: of those that are there for `reach` the newest, else the one that rested longest,
    /// which is missed least.
    async fn rested(&self, reach: Reach) -> Option<Resting> {
        loop {
            let mut resting = self.0.take(reach)?;
            if resting.since.elapsed() < RESTED || resting.connection.ping().await.is_ok() {
                return Some(resting);
            }
        }
    }

    /// Closes what rests. Whoever still borrows closes what it has.
    pub(crate) async fn close(&self) {
        self.0.turns.close();
        let resting = std::mem::take(&mut *self.0.idle());
        for Resting { connection, .. } in resting {
            // Nothing is lost with it.
            let _ = connection.close().await;
        }
    }
}

impl Shared {
    fn take(&self, reach: Reach) -> Option<Resting> {
        let mut idle = self.idle();
        let place = idle.iter().rposition(|resting| resting.reach == Some(reach)).unwrap_or(0);
        (!idle.is_empty()).then(|| idle.remove(place))
    }

    /// Nothing is left half done under this lock.
    fn idle(&self) -> MutexGuard<'_, Vec<Resting>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// Gives it back, after a statement that was carried out or refused as a whole.
    pub(crate) fn done(mut self) {
        if let Some(connection) = self.connection.take()
            && !self.shared.turns.is_closed()
        {
            self.shared.idle().push(Resting { connection, reach: self.reach, since: Instant::now() });
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("it is there until it is given back")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is there until it is given back")
    }
}

#[cfg(test)]
mod tests {
    use testkit::TestDatabase;

    use super::*;

    async fn backend(lent: &mut Lent) -> i32 {
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut **lent).await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_is_lent_again_and_one_that_was_not_given_back_is_not() {
        let database = TestDatabase::create().await;
        let connections = Connections::new(database.pool().connect_options().as_ref().clone(), 2, Wall::default());
        let mut first = connections.lend(Reach::Everywhere).await.unwrap();
        let pid = backend(&mut first).await;
        first.done();
        let mut again = connections.lend(Reach::Everywhere).await.unwrap();
        assert_eq!(backend(&mut again).await, pid);
        drop(again);
        let mut other = connections.lend(Reach::Everywhere).await.unwrap();
        assert_ne!(backend(&mut other).await, pid);
        other.done();
        connections.close().await;
        assert!(connections.lend(Reach::Everywhere).await.is_err());
    }
}
