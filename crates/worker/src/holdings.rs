//! The leases that this process holds, and how their turns are told to stop, or what people say to them.
//!
//! A process may lose a lease and take the same session again before whoever works under the first one has heard of it. Each has
//! its token: the older one is told that it is lost, and neither begins nor ends a turn of the newer.
//!
//! Not here: the database's view of them (`store::lease`). This is only what we believe.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use agents::{Inbox, Outbox, Steering};
use clock::Timestamp;
use ids::{OrgId, SessionId};
use store::{Lease, Steer};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default, Clone)]
pub(crate) struct Holdings(Arc<Mutex<HashMap<SessionId, Holding>>>);

#[derive(Debug)]
struct Holding {
    lease: Lease,
    lost: CancellationToken,
    turn: Option<Running>,
}

/// A turn that runs.
#[derive(Debug)]
struct Running {
    /// Of its command.
    ordinal: i64,
    cancel: CancellationToken,
    outbox: Outbox,
    /// The ordinal of the last prompt that was put into its inbox.
    given: i64,
}

/// A turn that runs, as it was when what people say to it was looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked {
    pub(crate) org: OrgId,
    pub(crate) session: SessionId,
    /// The ordinal of its command.
    pub(crate) turn: i64,
    /// That of the last prompt that it was given.
    pub(crate) given: i64,
}

/// A lease, for as long as it is worked under.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) lease: Lease,
    /// Cancelled when the lease is lost.
    pub(crate) lost: CancellationToken,
    holdings: Holdings,
}

impl Holdings {
    pub(crate) fn hold(&self, lease: Lease) -> Hold {
        let lost = CancellationToken::new();
        let mut held = self.lock();
        match held.get(&lease.session) {
            Some(newer) if newer.lease.token > lease.token => lost.cancel(),
            older => {
                if let Some(older) = older {
                    older.lost.cancel();
                }
                held.insert(lease.session, Holding { lease: lease.clone(), lost: lost.clone(), turn: None });
            }
        }
        drop(held);
        Hold { lease, lost, holdings: self.clone() }
    }

    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.lock().values().map(|holding| holding.lease.clone()).collect()
    }

    /// Of the leases that were `asked` for, those not among `renewed` are lost.
    pub(crate) fn renewed(&self, asked: &[Lease], renewed: &[SessionId], until: Timestamp) {
        let renewed: HashSet<&SessionId> = renewed.iter().collect();
        let mut held = self.lock();
        for lease in asked {
            // It may have been given up, or even taken again, since it was asked for.
            let same = held.get_mut(&lease.session).filter(|holding| holding.lease.token == lease.token);
            match same {
                Some(holding) if renewed.contains(&lease.session) => holding.lease.expires_at = until,
                Some(holding) => holding.lost.cancel(),
                None => {}
            }
        }
    }

    /// Leases that have run out, because the database could not be asked, count as lost.
    pub(crate) fn expire(&self, now: Timestamp) {
        for holding in self.lock().values().filter(|holding| holding.lease.expires_at <= now) {
            holding.lost.cancel();
        }
    }

    /// The turns that run.
    pub(crate) fn running(&self) -> Vec<Looked> {
        let held = self.lock();
        let running = |it: &Holding| {
            let (Lease { org, session, .. }, turn) = (&it.lease, it.turn.as_ref()?);
            Some(Looked { org: *org, session: *session, turn: turn.ordinal, given: turn.given })
        };
        held.values().filter_map(running).collect()
    }

    /// Cancels turns of commands that were there before the wish to abort, of those that ran when it was looked for.
    pub(crate) fn abort(&self, looked: &[Looked], aborting: &[(SessionId, i64)]) {
        let (mut held, ran) = (self.lock(), turns(looked));
        for (session, ordinal) in aborting {
            if let Some(turn) = still_running(&mut held, &ran, *session)
                && turn.ordinal < *ordinal
            {
                turn.cancel.cancel();
            }
        }
    }

    /// Puts prompts, in their order, into the inboxes of the turns that ran when they were looked for: the next turn may be there
    /// already, and they have ended with the one before. What finds no room is looked for again.
    pub(crate) fn steer(&self, looked: &[Looked], steering: Vec<Steer>) {
        let (mut held, ran) = (self.lock(), turns(looked));
        let mut full = HashSet::new();
        for Steer { session, command, ordinal, text } in steering {
            let turn = still_running(&mut held, &ran, session);
            let Some(turn) = turn.filter(|turn| turn.given < ordinal && turn.ordinal != ordinal) else { continue };
            // None may overtake one that found no room.
            if full.contains(&session) {
                continue;
            }
            if turn.outbox.try_send(Steering { command, ordinal, text }).is_ok() {
                turn.given = ordinal;
            } else {
                full.insert(session);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Holding>> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

fn turns(looked: &[Looked]) -> HashMap<SessionId, i64> {
    looked.iter().map(|looked| (looked.session, looked.turn)).collect()
}

fn still_running<'a>(
    held: &'a mut HashMap<SessionId, Holding>,
    ran: &HashMap<SessionId, i64>,
    session: SessionId,
) -> Option<&'a mut Running> {
    let turn = held.get_mut(&session)?.turn.as_mut()?;
    (ran.get(&session) == Some(&turn.ordinal)).then_some(turn)
}

impl Hold {
    /// A turn begins. What is given back is cancelled when somebody asks to abort it, and is where it finds what else people say.
    pub(crate) fn begin(&self, ordinal: i64) -> (CancellationToken, Inbox) {
        let (cancel, (outbox, inbox)) = (CancellationToken::new(), Inbox::open());
        self.set_turn(Some(Running { ordinal, cancel: cancel.clone(), outbox, given: 0 }));
        (cancel, inbox)
    }

    pub(crate) fn end(&self) {
        self.set_turn(None);
    }

    fn set_turn(&self, turn: Option<Running>) {
        let mut held = self.holdings.lock();
        let own = held.get_mut(&self.lease.session).filter(|holding| holding.lease.token == self.lease.token);
        if let Some(own) = own {
            own.turn = turn;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holdings.lock();
        if held.get(&self.lease.session).is_some_and(|holding| holding.lease.token == self.lease.token) {
            held.remove(&self.lease.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::session::FencingToken;
    use ids::CommandId;

    use super::*;

    fn lease(counter: i64) -> Lease {
        let token = FencingToken { generation: 1, counter };
        let [org, session, holder] = [1, 2, 3].map(uuid::Uuid::from_u128);
        Lease {
            org: org.into(),
            session: session.into(),
            token,
            holder: holder.into(),
            expires_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn steering(ordinal: i64) -> Vec<Steer> {
        let command: CommandId = uuid::Uuid::from_u128(4).into();
        vec![Steer { session: lease(1).session, command, ordinal, text: "say so".into() }]
    }

    #[test]
    fn a_turn_whose_lease_was_taken_again_here_does_not_end_the_one_that_follows() {
        let holdings = Holdings::default();
        let overslept = holdings.hold(lease(1));
        overslept.begin(1);
        let hold = holdings.hold(lease(2));
        assert!(overslept.lost.is_cancelled() && !hold.lost.is_cancelled());
        let (_, mut inbox) = hold.begin(1);
        overslept.end();
        overslept.begin(1);
        drop(overslept);
        holdings.steer(&holdings.running(), steering(2));
        assert_eq!(inbox.take().map(|steering| steering.ordinal), Some(2));
    }

    #[test]
    fn a_lease_that_comes_after_a_newer_one_is_lost() {
        let holdings = Holdings::default();
        let newer = holdings.hold(lease(2));
        assert!(holdings.hold(lease(1)).lost.is_cancelled());
        assert_eq!(holdings.leases(), std::slice::from_ref(&newer.lease));
        assert!(!newer.lost.is_cancelled());
    }

    #[test]
    fn what_was_said_to_a_turn_that_has_ended_meanwhile_is_not_for_the_next_one() {
        let holdings = Holdings::default();
        let hold = holdings.hold(lease(1));
        hold.begin(1);
        let looked = holdings.running();
        hold.end();
        let (cancel, mut inbox) = hold.begin(2);
        holdings.steer(&looked, steering(3));
        holdings.abort(&looked, &[(hold.lease.session, 4)]);
        assert_eq!((inbox.take(), cancel.is_cancelled()), (None, false));
        holdings.abort(&holdings.running(), &[(hold.lease.session, 4)]);
        assert!(cancel.is_cancelled());
    }
}
