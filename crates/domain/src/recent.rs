//! What was seen in the last few minutes, so much of it as fits.
//!
//! Two tables: what is noted goes into the newer one, and when that has served for [`PERIOD`], or is full, it takes the
//! place of the older one. So nothing is gone through, and what is noted again and again stays.
//!
//! Promised: never more than twice `MOST` are kept. Not promised: that something is still known; whoever asks has
//! another way.

use std::collections::HashMap;
use std::hash::Hash;

use chrono::TimeDelta;
use clock::Timestamp;

/// What is noted is known for so long, at most for twice as long, unless too much else is noted.
pub const PERIOD: TimeDelta = TimeDelta::minutes(5);
/// Of one table.
const MOST: usize = 10_000;

#[derive(Debug)]
pub struct Recent<K, V> {
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
    /// When the newer table has served.
    until: Timestamp,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { newer: HashMap::new(), older: HashMap::new(), until: Timestamp::UNIX_EPOCH }
    }
}

impl<K: Eq + Hash, V> Recent<K, V> {
    pub fn note(&mut self, key: K, value: V, now: Timestamp) {
        self.turn(now);
        if self.newer.len() >= MOST && !self.newer.contains_key(&key) {
            self.older = std::mem::take(&mut self.newer);
            self.until = now + PERIOD;
        }
        self.newer.insert(key, value);
    }

    pub fn get(&mut self, key: &K, now: Timestamp) -> Option<&V> {
        self.turn(now);
        self.newer.get(key).or_else(|| self.older.get(key))
    }

    /// It is known no longer.
    pub fn forget(&mut self, key: &K) {
        self.newer.remove(key);
        self.older.remove(key);
    }

    fn turn(&mut self, now: Timestamp) {
        if now < self.until {
            return;
        }
        let served = std::mem::take(&mut self.newer);
        self.older = if now < self.until + PERIOD { served } else { HashMap::new() };
        self.until = now + PERIOD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_known_for_a_while_and_as_long_as_it_is_noted_again() {
        let (mut recent, now) = (Recent::default(), Timestamp::UNIX_EPOCH + TimeDelta::days(1));
        recent.note("once", 1, now);
        recent.note("often", 1, now);
        let later = now + PERIOD;
        let mut known = |key, at| recent.get(&key, at).copied();
        assert_eq!((known("once", later), known("nobody", later)), (Some(1), None));
        recent.note("often", 2, later);
        let much_later = later + PERIOD;
        let mut known = |key, at| recent.get(&key, at).copied();
        assert_eq!((known("once", much_later), known("often", much_later)), (None, Some(2)));
        assert_eq!(known("often", much_later + PERIOD + PERIOD), None);
        recent.note("often", 3, much_later);
        recent.forget(&"often");
        assert_eq!(recent.get(&"often", much_later), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept_and_the_newest_stays() {
        let (mut recent, now) = (Recent::default(), Timestamp::UNIX_EPOCH + TimeDelta::days(1));
        for key in 0..5 * MOST {
            recent.note(key, (), now);
            assert!(recent.newer.len() + recent.older.len() <= 2 * MOST);
        }
        let last = 5 * MOST - 1;
        assert_eq!((recent.get(&last, now).is_some(), recent.get(&0, now).is_some()), (true, false));
    }
}
