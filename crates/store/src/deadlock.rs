//! Transactions that Postgres ended because they and others waited for each other.
//!
//! Turns, messages that come in and gateways take rows of one thread from different ends, and whoever removes a thread needs them
//! all. An order that suits each would cost every turn; a deadlock costs one of them a second, once in a long while. So whoever was
//! ended carries its transaction out again: who removes something ([`Tries`]), and a message (`inbound`).
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
        self.0 < TRIES && is(error)
    }
}

/// Whether the transaction was ended for a deadlock. It has changed nothing.
pub(crate) fn is(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == DEADLOCK_DETECTED)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, PgConnection};

    use super::is;
    use crate::InboundMessage;
    use crate::testing::{Thread, waits};

    const ACTOR: &str = "account:1";
    const CURSOR: &str = "SELECT FROM delivery_cursors FOR UPDATE";

    /// Somebody who takes one row, lets `ours` begin until it waits for that, and takes the other one, which `ours` has. The other
    /// side looks for a deadlock later, so ours is ended; unless it looked before there was one, and then all begins anew.
    async fn cross([first, second]: [&'static str; 2], ours: impl AsyncFn(&Thread), begun: &'static str) -> Thread {
        for _ in 0..10 {
            let thread = Thread::new().await;
            let mut other = PgConnection::connect_with(&thread.world.store.pool.connect_options()).await.unwrap();
            let mut tx = other.begin().await.unwrap();
            sqlx::query("SET LOCAL deadlock_timeout = '3s'").execute(&mut *tx).await.unwrap();
            sqlx::query(first).execute(&mut *tx).await.unwrap();
            let theirs = async {
                waits(&thread.world.store, begun).await;
                let taken = sqlx::query(second).execute(&mut *tx).await;
                tx.rollback().await.unwrap();
                taken
            };
            let ((), taken) = tokio::join!(ours(&thread), theirs);
            match taken {
                Ok(_) => return thread,
                Err(error) => assert!(is(&error), "{error}"),
            }
        }
        panic!("the other side was ended each time");
    }

    async fn bindings(thread: &Thread) -> usize {
        thread.world.store.binding_list(thread.world.org, None, 10).await.unwrap().len()
    }

    #[tokio::test]
    async fn a_channel_that_is_closed_in_a_deadlock_is_closed_all_the_same() {
        let close = async |thread: &Thread| {
            let Thread { world, cursor } = thread;
            assert!(world.store.channel_close(world.org, cursor.channel_id, ACTOR).await.unwrap());
        };
        let rows = [CURSOR, "SELECT FROM channels FOR UPDATE"];
        let thread = cross(rows, close, "-- channel_remove_cursors%").await;
        assert_eq!(bindings(&thread).await, 0);
    }

    #[tokio::test]
    async fn a_thread_that_is_unbound_in_a_deadlock_is_unbound_all_the_same() {
        let unbind = async |thread: &Thread| {
            let Thread { world, cursor } = thread;
            assert!(world.store.binding_remove(world.org, cursor.binding_id, ACTOR).await.unwrap());
        };
        let rows = ["SELECT FROM bindings FOR UPDATE", CURSOR];
        let thread = cross(rows, unbind, "-- binding_forget_thread%").await;
        assert_eq!(bindings(&thread).await, 0);
    }

    #[tokio::test]
    async fn a_message_that_comes_in_in_a_deadlock_is_a_prompt_all_the_same() {
        let write = async |thread: &Thread| {
            let Thread { world, cursor } = thread;
            let channel = world.store.channel_get(world.org, cursor.channel_id).await.unwrap().unwrap();
            let message = InboundMessage {
                provider_event_id: "1".into(),
                thread: cursor.thread.clone(),
                text: "hi".into(),
                sender: None,
                digest: [1; 32],
            };
            let received = world.store.inbound_receive(1, &channel, &message).await.unwrap();
            assert!(received.command.is_some() && !received.duplicate);
        };
        let rows = ["SELECT FROM sessions FOR UPDATE", "SELECT FROM bindings FOR UPDATE"];
        let thread = cross(rows, write, "-- %").await;
        let commands =
            thread.world.store.commands_list(thread.world.org, thread.cursor.session_id, 0, 10).await.unwrap();
        assert_eq!(commands.len(), 1);
    }
}
