//! How often something may happen: a bucket for each who asks, of a minute's worth, that fills up steadily.
//!
//! A bucket is one instant, when it would be full again. So it costs a few bytes, and one that was quiet for a minute
//! costs nothing. There are at most `CROWDED`; while so many are in use, all who come newly share one.
//!
//! Not here: who asks, and what they are told when it is too often; several processes (each counts for itself).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clock::Timestamp;

/// Seconds in which a bucket fills up.
pub const WINDOW_S: i64 = 60;
const WINDOW_US: i64 = WINDOW_S * 1_000_000;
/// Buckets that are remembered. Before another one is, those that are full again are forgotten.
const CROWDED: usize = 10_000;
/// Between two looks at which are full again: a look goes through all.
const LOOK_EVERY_US: i64 = 1_000_000;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// So many more may follow at once; the bucket is full after so many seconds.
    Admitted { left: i64, full_in_s: i64 },
    /// The next one may come after so many seconds.
    Refused { retry_after_s: i64 },
}

/// Where a request is from, as far as that is told apart: one address, or of IPv6 the 64 bits that one subscriber has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// `None`: nobody knows where from. All such are one.
    #[must_use]
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => {
                let [first, second, third, fourth, ..] = address.segments();
                Self(Ipv6Addr::new(first, second, third, fourth, 0, 0, 0, 0).into())
            }
            Some(address) => Self(address),
            None => Self(Ipv4Addr::UNSPECIFIED.into()),
        }
    }
}

#[derive(Debug)]
pub struct Buckets<K> {
    /// Microseconds in which one request's worth flows in.
    cost: i64,
    /// When each is full again, in microseconds. Absent: it is.
    full_at: HashMap<K, i64>,
    /// The same for the one that those share who find no room.
    shared_full_at: i64,
    /// When it may be looked again at which are full.
    look_at: i64,
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    /// Each of so many requests a minute, 1 at least.
    #[must_use]
    pub fn per_minute(requests: u32) -> Self {
        let cost = (WINDOW_US / i64::from(requests).max(1)).max(1);
        Self { cost, full_at: HashMap::new(), shared_full_at: i64::MIN, look_at: i64::MIN }
    }

    /// Takes one request out of the bucket of `key`, if it has one left.
    pub fn admit(&mut self, key: K, now: Timestamp) -> Admission {
        let now = now.timestamp_micros();
        let then = self.full_again_at(key, now).max(now) + self.cost;
        let over = then - now - WINDOW_US;
        if over > 0 {
            return Admission::Refused { retry_after_s: seconds(over) };
        }
        if self.has_room(&key) {
            self.full_at.insert(key, then);
        } else {
            self.shared_full_at = then;
        }
        Admission::Admitted { left: (WINDOW_US - (then - now)) / self.cost, full_in_s: seconds(then - now) }
    }

    /// Puts back what was taken for `key`.
    pub fn give_back(&mut self, key: &K) {
        let has_room = self.has_room(key);
        match self.full_at.get_mut(key) {
            Some(full_at) => *full_at -= self.cost,
            None if !has_room => self.shared_full_at = self.shared_full_at.saturating_sub(self.cost),
            // It was full again and forgotten.
            None => {}
        }
    }

    /// When the bucket that `key` has, or would have, is full again. One that is full may have been so for long.
    fn full_again_at(&mut self, key: K, now: i64) -> i64 {
        if !self.has_room(&key) && now >= self.look_at {
            self.full_at.retain(|_, at| *at > now);
            self.look_at = now + LOOK_EVERY_US;
        }
        let none = if self.has_room(&key) { i64::MIN } else { self.shared_full_at };
        self.full_at.get(&key).copied().unwrap_or(none)
    }

    fn has_room(&self, key: &K) -> bool {
        self.full_at.len() < CROWDED || self.full_at.contains_key(key)
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

    #[test]
    fn there_is_an_end_to_the_buckets_and_who_finds_no_room_shares_one() {
        let (mut buckets, now) = (Buckets::per_minute(2), DateTime::UNIX_EPOCH);
        for key in 0..CROWDED {
            buckets.admit(key, now);
        }
        assert_eq!(buckets.admit(CROWDED, now), Admission::Admitted { left: 1, full_in_s: 30 });
        assert_eq!(buckets.admit(CROWDED + 1, now), Admission::Admitted { left: 0, full_in_s: 60 });
        assert_eq!(buckets.admit(CROWDED + 2, now), Admission::Refused { retry_after_s: 30 });
        assert_eq!(buckets.admit(0, now), Admission::Admitted { left: 0, full_in_s: 60 }, "it has its own");
        assert_eq!(buckets.full_at.len(), CROWDED);
        let later = now + TimeDelta::seconds(31);
        assert_eq!(buckets.admit(CROWDED + 2, later), Admission::Admitted { left: 1, full_in_s: 30 });
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (mut buckets, now) = (Buckets::per_minute(1), DateTime::UNIX_EPOCH);
        buckets.give_back(&1);
        assert_eq!(buckets.admit(1, now), Admission::Admitted { left: 0, full_in_s: 60 });
        buckets.give_back(&2);
        assert_eq!(buckets.admit(1, now), Admission::Refused { retry_after_s: 60 });
        buckets.give_back(&1);
        assert_eq!(buckets.admit(1, now), Admission::Admitted { left: 0, full_in_s: 60 });
    }

    #[test]
    fn a_subscriber_is_one_network_however_many_addresses_it_has() {
        let of = |address: &str| Network::of(Some(address.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!(Network::of(None), Network::of(None));
    }
}
