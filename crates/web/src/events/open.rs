//! How many streams of events a token or a browser session has open at this process, of sessions and feeds together.
//!
//! A stream costs a socket and some memory for as long as it lasts, and is one request, however long that is. So a
//! caller has a share of them, and whoever has all of it is told before another begins, while there is a status to say
//! it with.
//!
//! A stream counts from before its first word until it ended or its reader is gone, whichever comes first and in
//! whatever way: the guard goes with it. A reader that was cut off is noticed when its connection is (`cowork::serve`).
//!
//! Not promised: a number over several web processes; each counts for itself. Not here: how often somebody may ask
//! (`rate`), how many connections an address has (`cowork::serve::addresses`), who may read (`readers`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::Credential;

use crate::problem::Problem;

/// The streams that are open at this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OpenStreams(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    /// Of one credential. 0: as many as it likes.
    most: u32,
    /// Nobody who has none is in it.
    open: Mutex<HashMap<Credential, u32>>,
}

/// A stream that counts as open until this is dropped.
#[derive(Debug)]
#[must_use = "it counts only while this is kept"]
pub(crate) struct OpenStream {
    of: Arc<Counted>,
    credential: Credential,
}

impl OpenStreams {
    /// `0`: no limit.
    #[must_use]
    pub fn per_caller(most: u32) -> Self {
        Self(Arc::new(Counted { most, open: Mutex::default() }))
    }

    /// Makes room for one more, if the caller may have it.
    pub(crate) fn another(&self, credential: Credential) -> Result<OpenStream, Problem> {
        if !self.0.add(credential) {
            metrics::counter!("cowork_streams_refused_total").increment(1);
            return Err(Problem::too_many_streams(self.0.most));
        }
        metrics::gauge!("cowork_streams_open").increment(1.0);
        Ok(OpenStream { of: self.0.clone(), credential })
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> u32 {
        self.0.locked().values().sum()
    }
}

impl Counted {
    /// `false`: it has as many as it may.
    fn add(&self, credential: Credential) -> bool {
        let mut open = self.locked();
        let streams = open.entry(credential).or_default();
        let may = self.most == 0 || *streams < self.most;
        *streams += u32::from(may);
        may
    }

    fn remove(&self, credential: Credential) {
        if let Entry::Occupied(mut streams) = self.locked().entry(credential) {
            *streams.get_mut() -= 1;
            if *streams.get() == 0 {
                streams.remove();
            }
        }
    }

    /// Nothing is left half done under this lock, and nobody waits for anything while holding it.
    fn locked(&self) -> MutexGuard<'_, HashMap<Credential, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.of.remove(self.credential);
        metrics::gauge!("cowork_streams_open").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(number: u128) -> Credential {
        Credential::Token(uuid::Uuid::from_u128(number).into())
    }

    #[test]
    fn each_caller_has_a_share_of_its_own_and_what_it_closes_it_may_open_again() {
        let streams = OpenStreams::per_caller(2);
        let (ada, bob) = (credential(1), credential(2));
        let (first, second) = (streams.another(ada).unwrap(), streams.another(ada).unwrap());
        assert!(streams.another(ada).is_err());
        let other = streams.another(bob).unwrap();
        drop(first);
        let third = streams.another(ada).unwrap();
        assert!(streams.another(ada).is_err());
        drop((second, third, other));
        assert!(streams.0.locked().is_empty(), "nobody is remembered who has none");
    }

    #[test]
    fn without_a_bound_a_caller_has_as_many_as_it_likes() {
        let streams = OpenStreams::per_caller(0);
        let open: Vec<_> = (0..1_000).map(|_| streams.another(credential(1)).unwrap()).collect();
        assert_eq!(streams.count(), 1_000);
        drop(open);
        assert_eq!(streams.count(), 0);
    }
}
