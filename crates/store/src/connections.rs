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
//! A statement keeps the plan that it got while its tables were nearly empty, and what costs nothing then may read all rows of an org
//! a minute later: ending a turn was seen to read 4,000 commands. The server notices when it next analyzes the table, after a
//! minute or so; a young connection has its plans made anew earlier.
//!
//! Not guaranteed: that the first statement after the server went away succeeds. Its caller is told, as of any failure.
//!
//! Not here: transactions of several statements, which come from the pool.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Error, Executor as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::wall::{Reach, Wall};

/// A connection that nobody used for so long is asked whether it lives.
const RESTED: Duration = Duration::from_secs(1);
/// How long a borrower waits for its turn.
const TURN: Duration = Duration::from_secs(30);

/// How old a connection is when its plans are made anew.
const REPLANNED_AT: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16), Duration::from_secs(64)];

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: PgConnectOptions,
    wall: Wall,
    idle: Mutex<Vec<Resting>>,
    turns: Arc<Semaphore>,
    replanned_at: [Duration; 4],
}

#[derive(Debug)]
struct Kept {
    connection: PgConnection,
    /// What it said last. `None`: nothing, there was no wall.
    reach: Option<Reach>,
    opened: Instant,
    /// How often its plans were made anew.
    replanned: usize,
}

#[derive(Debug)]
struct Resting {
    kept: Kept,
    since: Instant,
}

/// A connection, until it is given back with [`Lent::done`].
#[derive(Debug)]
pub(crate) struct Lent {
    kept: Option<Kept>,
    shared: Arc<Shared>,
    _turn: OwnedSemaphorePermit,
}

impl Connections {
    /// At most `limit` at a time. None is opened before it is needed.
    pub(crate) fn new(options: PgConnectOptions, limit: u32, wall: Wall) -> Self {
        Self::replanning(options, limit, wall, REPLANNED_AT)
    }

    fn replanning(options: PgConnectOptions, limit: u32, wall: Wall, replanned_at: [Duration; 4]) -> Self {
        let turns = Arc::new(Semaphore::new(limit.max(1) as usize));
        Self(Arc::new(Shared { options, wall, idle: Mutex::default(), turns, replanned_at }))
    }

    pub(crate) async fn lend(&self, reach: Reach) -> Result<Lent, Error> {
        let turn = tokio::time::timeout(TURN, self.0.turns.clone().acquire_owned());
        let turn = turn.await.map_err(|_| Error::PoolTimedOut)?.map_err(|_| Error::PoolClosed)?;
        let mut kept = match self.rested(reach).await {
            Some(rested) => rested,
            None => Kept::open(&self.0.options).await?,
        };
        kept.replan(&self.0.replanned_at).await?;
        let said = self.0.wall.stands(&mut kept.connection).await?.then_some(reach);
        if let Some(reach) = said.filter(|_| said != kept.reach) {
            Wall::enter(&mut kept.connection, reach).await?;
        }
        kept.reach = said;
        Ok(Lent { kept: Some(kept), shared: self.0.clone(), _turn: turn })
    }

    /// One that was used before and lives: of those that are there for `reach` the newest, else the one that rested longest,
    /// which is missed least.
    async fn rested(&self, reach: Reach) -> Option<Kept> {
        loop {
            let Resting { mut kept, since } = self.0.take(reach)?;
            if since.elapsed() < RESTED || kept.connection.ping().await.is_ok() {
                return Some(kept);
            }
        }
    }

    /// Closes what rests. Whoever still borrows closes what it has.
    pub(crate) async fn close(&self) {
        self.0.turns.close();
        let resting = std::mem::take(&mut *self.0.idle());
        for Resting { kept, .. } in resting {
            // Nothing is lost with it.
            let _ = kept.connection.close().await;
        }
    }
}

impl Kept {
    async fn open(options: &PgConnectOptions) -> Result<Self, Error> {
        let connection = PgConnection::connect_with(options).await?;
        Ok(Self { connection, reach: None, opened: Instant::now(), replanned: 0 })
    }

    /// Has its plans made anew, if it has come to an age for that since the last time.
    async fn replan(&mut self, ages: &[Duration]) -> Result<(), Error> {
        let due = ages.iter().filter(|age| self.opened.elapsed() >= **age).count();
        if due > self.replanned {
            self.connection.execute("-- connection_replan\nDISCARD PLANS").await?;
            self.replanned = due;
        }
        Ok(())
    }
}

impl Shared {
    fn take(&self, reach: Reach) -> Option<Resting> {
        let mut idle = self.idle();
        let place = idle.iter().rposition(|resting| resting.kept.reach == Some(reach)).unwrap_or(0);
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
        if let Some(kept) = self.kept.take()
            && !self.shared.turns.is_closed()
        {
            self.shared.idle().push(Resting { kept, since: Instant::now() });
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.kept.as_ref().expect("it is there until it is given back").connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.kept.as_mut().expect("it is there until it is given back").connection
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

    /// The only one that is there, which once got a plan that it would not get now: the one for no rows at all.
    async fn with_an_old_plan(ages: [Duration; 4]) -> (TestDatabase, Connections) {
        let database = TestDatabase::create().await;
        let options = database.pool().connect_options().as_ref().clone();
        let connections = Connections::replanning(options, 1, Wall::default(), ages);
        let mut lent = connections.lend(Reach::Everywhere).await.unwrap();
        for sql in [
            "CREATE TEMPORARY TABLE many (n int PRIMARY KEY)",
            "SET plan_cache_mode = force_generic_plan; SET enable_bitmapscan = off",
            "PREPARE find (int) AS SELECT FROM many WHERE n = $1",
            "SET enable_indexscan = off; SET enable_indexonlyscan = off",
            "EXECUTE find (1)",
            "RESET enable_indexscan; RESET enable_indexonlyscan; SET enable_seqscan = off",
        ] {
            sqlx::raw_sql(sql).execute(&mut *lent).await.unwrap();
        }
        lent.done();
        (database, connections)
    }

    async fn plan(connections: &Connections) -> String {
        let mut lent = connections.lend(Reach::Everywhere).await.unwrap();
        let plan = sqlx::raw_sql("EXPLAIN EXECUTE find (1)").fetch_one(&mut *lent).await.unwrap();
        lent.done();
        sqlx::Row::get(&plan, 0)
    }

    #[tokio::test]
    async fn a_connection_that_comes_of_age_has_its_plans_made_anew_once() {
        let (_database, young) = with_an_old_plan([Duration::MAX; 4]).await;
        assert!(plan(&young).await.starts_with("Seq Scan"), "a plan is kept");
        let (_database, grown) = with_an_old_plan([Duration::from_nanos(1); 4]).await;
        assert!(plan(&grown).await.starts_with("Seq Scan"), "it was of age when it was opened");
        let (_database, growing) = with_an_old_plan(REPLANNED_AT).await;
        growing.0.idle()[0].kept.opened = Instant::now().checked_sub(REPLANNED_AT[1]).unwrap();
        assert!(plan(&growing).await.starts_with("Index"), "it is planned anew");
        assert_eq!(growing.0.idle()[0].kept.replanned, 2);
    }
}
