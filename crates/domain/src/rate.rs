//! How often something may happen: a bucket for each who asks, of a minute's worth, that fills up steadily.
//!
//! A bucket is one instant, when it would be full again. So it costs a few bytes, and one that was quiet for a minute costs
//! nothing.
//!
//! Not here: who asks, and what they are told when it is too often.

use std::collections::HashMap;
use std::hash::Hash;

use clock::Timestamp;

/// Seconds in which a bucket fills up.
pub const WINDOW_S: i64 = 60;
const WINDOW_US: i64 = WINDOW_S * 1_000_000;
/// Buckets that are looked at again before a new one is remembered.
const CROWDED: usize = 10_000;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// So many more may follow at once; the bucket is full after so many seconds.
    Admitted { left: i64, full_in_s: i64 },
    /// The next one may come after so many seconds.
    Refused { retry_after_s: i64 },
}

#[derive(Debug)]
pub struct Buckets<K> {
    quota: i64,
    /// When each is full again, in microseconds. Absent: it is.
    full_at: HashMap<K, i64>,
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    /// Each of so many requests a minute, 1 at least.
    #[must_use]
    pub fn per_minute(requests: u32) -> Self {
        Self { quota: i64::from(requests).max(1), full_at: HashMap::new() }
    }

    /// Takes one request out of the bucket of `key`, if it has one left.
    pub fn admit(&mut self, key: K, now: Timestamp) -> Admission {
        let now = now.timestamp_micros();
        if self.full_at.len() >= CROWDED && !self.full_at.contains_key(&key) {
            self.full_at.retain(|_, at| *at > now);
        }
        let cost = WINDOW_US / self.quota;
        let bucket = self.full_at.entry(key).or_insert(now);
        let then = (*bucket).max(now) + cost;
        let over = then - now - WINDOW_US;
        if over > 0 {
            return Admission::Refused { retry_after_s: seconds(over) };
        }
        *bucket = then;
        Admission::Admitted { left: (WINDOW_US - (then - now)) / cost, full_in_s: seconds(then - now) }
    }
}

/// Whole seconds, rounded up.
fn seconds(micros: i64) -> i64 {
    (micros + 999_999) / 1_000_000
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    #[test]
    fn who_asks_too_often_is_told_when_to_go_on_and_others_are_not_held_up() {
        let (mut buckets, now) = (Buckets::per_minute(2), DateTime::UNIX_EPOCH);
        assert_eq!(buckets.admit(1, now), Admission::Admitted { left: 1, full_in_s: 30 });
        assert_eq!(buckets.admit(1, now), Admission::Admitted { left: 0, full_in_s: 60 });
        assert_eq!(buckets.admit(1, now), Admission::Refused { retry_after_s: 30 });
        assert_eq!(buckets.admit(2, now), Admission::Admitted { left: 1, full_in_s: 30 });
        let later = now + TimeDelta::seconds(30);
        assert_eq!(buckets.admit(1, later), Admission::Admitted { left: 0, full_in_s: 60 });
    }

    #[test]
    fn those_that_are_quiet_are_forgotten() {
        let (mut buckets, now) = (Buckets::per_minute(60), DateTime::UNIX_EPOCH);
        for key in 0..CROWDED {
            buckets.admit(key, now);
        }
        buckets.admit(CROWDED, now + TimeDelta::seconds(2));
        assert_eq!(buckets.full_at.len(), 1);
    }
}
