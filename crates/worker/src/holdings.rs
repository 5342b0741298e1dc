//! The leases that this process holds, and how their turns are told to stop, or what people say to them.
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
        self.lock().insert(lease.session, Holding { lease: lease.clone(), lost: lost.clone(), turn: None });
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

    /// The sessions whose turns run, each with the ordinal of the last prompt that its turn was given.
    pub(crate) fn running(&self) -> Vec<(OrgId, SessionId, i64)> {
        let held = self.lock();
        let running = |it: &Holding| Some((it.lease.org, it.lease.session, it.turn.as_ref()?.given));
        held.values().filter_map(running).collect()
    }

    /// Cancels the turns of commands that were there before the wish to abort.
    pub(crate) fn abort(&self, aborting: &[(SessionId, i64)]) {
        let held = self.lock();
        for (session, ordinal) in aborting {
            if let Some(turn) = held.get(session).and_then(|holding| holding.turn.as_ref())
                && turn.ordinal < *ordinal
            {
                turn.cancel.cancel();
            }
        }
    }

    /// Puts prompts, in their order, into the inboxes of the turns that run. What finds no room is looked for again.
    pub(crate) fn steer(&self, steering: Vec<Steer>) {
        let mut held = self.lock();
        let mut full = HashSet::new();
        for Steer { session, command, ordinal, text } in steering {
            let turn = held.get_mut(&session).and_then(|holding| holding.turn.as_mut());
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

impl Hold {
    /// A turn begins. What is given back is cancelled when somebody asks to abort it, and is where it finds what else people say.
    pub(crate) fn begin(&self, ordinal: i64) -> (CancellationToken, Inbox) {
        let (cancel, (outbox, inbox)) = (CancellationToken::new(), Inbox::open());
        if let Some(holding) = self.holdings.lock().get_mut(&self.lease.session) {
            holding.turn = Some(Running { ordinal, cancel: cancel.clone(), outbox, given: 0 });
        }
        (cancel, inbox)
    }

    pub(crate) fn end(&self) {
        if let Some(holding) = self.holdings.lock().get_mut(&self.lease.session) {
            holding.turn = None;
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
