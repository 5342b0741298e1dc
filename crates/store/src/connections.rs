//! Connections that are kept at hand for the statements of the hot path.
//!
//! The pool asks the server whether a connection lives before it lends it and again when it comes back: three round trips
//! for a statement of one. Those that are kept here are lent as they are, unless they have rested for a while. One on
//! which anything went wrong, or whose borrower was dropped in mid-statement, is closed instead of being lent again.
//!
//! Not guaranteed: that the first statement after the server went away succeeds. Its caller is told, as of any failure.
//!
//! Not here: which statements use them; those that are rare stay with the pool.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    idle: Mutex<Vec<Resting>>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Resting {
    connection: PgConnection,
    since: Instant,
}

/// A connection, until it is given back with [`Lent::done`].
#[derive(Debug)]
pub(crate) struct Lent {
    connection: Option<PgConnection>,
    shared: Arc<Shared>,
    _turn: OwnedSemaphorePermit,
}

impl Connections {
    /// At most `limit` at a time. None is opened before it is needed.
    pub(crate) fn new(options: PgConnectOptions, limit: u32) -> Self {
        let turns = Arc::new(Semaphore::new(limit.max(1) as usize));
        Self(Arc::new(Shared { options, idle: Mutex::default(), turns }))
    }

    pub(crate) async fn lend(&self) -> Result<Lent, Error> {
        let turn = tokio::time::timeout(TURN, self.0.turns.clone().acquire_owned());
        let turn = turn.await.map_err(|_| Error::PoolTimedOut)?.map_err(|_| Error::PoolClosed)?;
        let connection = match self.rested().await {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.0.options).await?,
        };
        Ok(Lent { connection: Some(connection), shared: self.0.clone(), _turn: turn })
    }

    /// One that was used before and lives.
    async fn rested(&self) -> Option<PgConnection> {
        loop {
            let Resting { mut connection, since } = self.0.idle().pop()?;
            if since.elapsed() < RESTED || connection.ping().await.is_ok() {
                return Some(connection);
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
            self.shared.idle().push(Resting { connection, since: Instant::now() });
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
        let connections = Connections::new(database.pool().connect_options().as_ref().clone(), 2);
        let mut first = connections.lend().await.unwrap();
        let pid = backend(&mut first).await;
        first.done();
        let mut again = connections.lend().await.unwrap();
        assert_eq!(backend(&mut again).await, pid);
        drop(again);
        let mut other = connections.lend().await.unwrap();
        assert_ne!(backend(&mut other).await, pid);
        other.done();
        connections.close().await;
        assert!(connections.lend().await.is_err());
    }
}
