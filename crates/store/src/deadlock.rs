//! Transactions that Postgres ended because they and others waited for each other.
//!
//! Turns, messages that come in and gateways take rows of one thread from different ends, and whoever removes a thread needs them
//! all. An order that suits each would cost every turn; a deadlock costs a second of one who removes something, once in a long
//! while. So those carry their transaction out again.
//!
//! Not here: statements that share a batch, which are asked for alone then (`batcher`).

/// How often a transaction is carried out that always ends in a deadlock.
const TRIES: u32 = 4;

/// Says "deadlock detected" (Postgres 15, appendix A).
const DEADLOCK_DETECTED: &str = "40P01";

/// How often one transaction was carried out.
#[derive(Debug, Default)]
pub(crate) struct Tries(u32);

impl Tries {
    /// Whether to carry it out again after this error. It has changed nothing.
    pub(crate) fn another(&mut self, error: &sqlx::Error) -> bool {
        self.0 += 1;
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        self.0 < TRIES && code.is_some_and(|code| code == DEADLOCK_DETECTED)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, PgConnection};

    use crate::testing::{Thread, waits};

    const ACTOR: &str = "account:1";
    const CURSOR: &str = "SELECT FROM delivery_cursors FOR UPDATE";

    /// Somebody who takes one row, lets `ours` begin until it waits for that, and takes the other one, which `ours` has. The other
    /// side's patience is longer, so that ours is ended.
    async fn cross(
        first: &'static str,
        second: &'static str,
        ours: impl AsyncFnOnce(&Thread) -> bool,
        begun: &'static str,
    ) {
        let thread = Thread::new().await;
        let mut other = PgConnection::connect_with(&thread.world.store.pool.connect_options()).await.unwrap();
        let mut tx = other.begin().await.unwrap();
        sqlx::query("SET LOCAL deadlock_timeout = '10min'").execute(&mut *tx).await.unwrap();
        sqlx::query(first).execute(&mut *tx).await.unwrap();
        let theirs = async {
            waits(&thread.world.store, begun).await;
            sqlx::query(second).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        let (done, ()) = tokio::join!(ours(&thread), theirs);
        assert!(done);
        let bindings = thread.world.store.binding_list(thread.world.org, None, 10).await.unwrap();
        assert_eq!(bindings, []);
    }

    #[tokio::test]
    async fn a_channel_that_is_closed_in_a_deadlock_is_closed_all_the_same() {
        let close = async |thread: &Thread| {
            thread.world.store.channel_close(thread.world.org, thread.cursor.channel_id, ACTOR).await.unwrap()
        };
        cross(CURSOR, "SELECT FROM channels FOR UPDATE", close, "-- channel_remove_cursors%").await;
    }

    #[tokio::test]
    async fn a_thread_that_is_unbound_in_a_deadlock_is_unbound_all_the_same() {
        let unbind = async |thread: &Thread| {
            thread.world.store.binding_remove(thread.world.org, thread.cursor.binding_id, ACTOR).await.unwrap()
        };
        cross("SELECT FROM bindings FOR UPDATE", CURSOR, unbind, "-- binding_forget_thread%").await;
    }
}
