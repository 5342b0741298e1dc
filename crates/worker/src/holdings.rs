//! The leases that this process holds, and how their turns are told to stop.
//!
//! Not here: the database's view of them (`store::lease`). This is only what we believe.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use clock::Timestamp;
use ids::{OrgId, SessionId};
use store::Lease;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default, Clone)]
pub(crate) struct Holdings(Arc<Mutex<HashMap<SessionId, Holding>>>);

#[derive(Debug)]
struct Holding {
    lease: Lease,
    lost: CancellationToken,
    /// The turn that runs: its command's ordinal, and what cancels it.
    turn: Option<(i64, CancellationToken)>,
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

    pub(crate) fn running(&self) -> Vec<(OrgId, SessionId)> {
        let held = self.lock();
        held.values().filter(|holding| holding.turn.is_some()).map(|it| (it.lease.org, it.lease.session)).collect()
    }

    /// Cancels the turns of commands that were there before the wish to abort.
    pub(crate) fn abort(&self, aborting: &[(SessionId, i64)]) {
        let held = self.lock();
        for (session, ordinal) in aborting {
            if let Some((running, cancel)) = held.get(session).and_then(|holding| holding.turn.as_ref())
                && running < ordinal
            {
                cancel.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Holding>> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

impl Hold {
    /// A turn begins. What is given back is cancelled when somebody asks to abort it.
    pub(crate) fn begin(&self, ordinal: i64) -> CancellationToken {
        let cancel = CancellationToken::new();
        if let Some(holding) = self.holdings.lock().get_mut(&self.lease.session) {
            holding.turn = Some((ordinal, cancel.clone()));
        }
        cancel
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
