//! How many of something each may have at a time: a count for each who has any, and a guard that counts until it is dropped.
//!
//! What nobody has is not remembered, so there are no more counts than guards.
//!
//! Not here: what is shared, and what somebody is told who has all of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cheap to clone.
#[derive(Debug)]
pub struct Shares<K: Copy + Eq + Hash>(Arc<Taken<K>>);

/// Counts for whoever took it until this is dropped.
#[derive(Debug)]
#[must_use = "it counts only while this is kept"]
pub struct Share<K: Copy + Eq + Hash> {
    of: Arc<Taken<K>>,
    key: K,
}

#[derive(Debug)]
struct Taken<K> {
    /// 0: as many as they like.
    most: u32,
    counts: Mutex<HashMap<K, u32>>,
}

impl<K: Copy + Eq + Hash> Shares<K> {
    /// So many for each. `0`: no bound.
    #[must_use]
    pub fn of(most: u32) -> Self {
        Self(Arc::new(Taken { most, counts: Mutex::default() }))
    }

    /// How many each may have; `0`: no bound.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.0.most
    }

    /// `None`: `key` has as many as it may.
    pub fn another(&self, key: K) -> Option<Share<K>> {
        let mut counts = self.0.counts();
        let has = counts.entry(key).or_default();
        if self.0.most > 0 && *has >= self.0.most {
            return None;
        }
        *has += 1;
        Some(Share { of: self.0.clone(), key })
    }

    /// Those of all together.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.counts().values().sum()
    }

    /// Who has any.
    #[must_use]
    pub fn holders(&self) -> usize {
        self.0.counts().len()
    }
}

impl<K: Copy + Eq + Hash> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Taken<K> {
    /// Nothing is left half done under this lock, and nobody waits for anything while holding it.
    fn counts(&self) -> MutexGuard<'_, HashMap<K, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut has) = self.of.counts().entry(self.key) {
            *has.get_mut() -= 1;
            if *has.get() == 0 {
                has.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_of_its_own_and_what_is_given_back_may_be_taken_again() {
        let shares = Shares::of(2);
        let (first, second) = (shares.another("ada").unwrap(), shares.another("ada").unwrap());
        assert!(shares.another("ada").is_none());
        let other = shares.another("bob").unwrap();
        drop(first);
        let third = shares.another("ada").unwrap();
        assert!(shares.another("ada").is_none());
        assert_eq!((shares.count(), shares.holders()), (3, 2));
        drop((second, third, other));
        assert_eq!(shares.holders(), 0, "nobody is remembered who has none");
    }

    #[test]
    fn without_a_bound_everybody_has_as_many_as_they_like() {
        let shares = Shares::of(0);
        let all: Vec<_> = (0..1_000).map(|_| shares.another(1).unwrap()).collect();
        assert_eq!(shares.count(), 1_000);
        drop(all);
        assert_eq!((shares.count(), shares.holders()), (0, 0));
    }
}
