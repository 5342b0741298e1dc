//! Clocks and randomness for tests.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use clock::{ManualClock, SeededEntropy, Sources};

/// A world that repeats: a clock that stands still until it is moved (at 2024-10-04T00:00:00Z), and randomness from
/// `seed`.
#[must_use]
pub fn sources(seed: u64) -> (Arc<ManualClock>, Sources) {
    let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
    (clock.clone(), Sources::new(clock, Arc::new(SeededEntropy::new(seed))))
}

/// The machine's own clock and randomness, for tests of what runs against real time.
#[must_use]
pub fn system_sources() -> Sources {
    Sources::system()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_world_starts_at_a_known_instant() {
        assert_eq!(sources(1).1.now().to_rfc3339(), "2024-10-04T00:00:00+00:00");
    }
}
