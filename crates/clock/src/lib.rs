//! The injected clock and source of randomness.
//!
//! Everything below the binary is handed a [`Sources`]; `clippy.toml` forbids the global ones. So a test can hold time
//! still and repeat a world from a seed, and a decision never depends on anything that isn't in its arguments.
//!
//! Not here: timers. Waiting is tokio's business; only *what time it is* comes from here.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use rand_core::{Rng, SeedableRng};
use uuid::Uuid;

/// An instant, in UTC. Postgres keeps microseconds, so a clock never gives out anything finer: what is written reads
/// back equal.
pub type Timestamp = DateTime<Utc>;

/// Tells the time.
pub trait Clock: Debug + Send + Sync {
    /// The instant now, in whole microseconds.
    fn now(&self) -> Timestamp;
}

/// Gives random bytes.
pub trait Entropy: Debug + Send + Sync {
    /// Fills `buffer` with random bytes. [`SystemEntropy`]'s are fit for keys and tokens.
    fn fill(&self, buffer: &mut [u8]);
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        Self(Mutex::new(start.trunc_subsecs(6)))
    }

    /// Moves the clock. A negative step is allowed: real clocks are stepped back, too.
    pub fn advance(&self, step: TimeDelta) {
        let mut now = self.0.lock().expect("no holder of this lock can panic");
        *now += step;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no holder of this lock can panic")
    }
}

/// The operating system's generator, fit for keys.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's generator")]
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}

/// Repeatable bytes for tests and rehearsal worlds. Never for a real secret.
pub struct SeededEntropy(Mutex<rand_chacha::ChaCha12Rng>);

impl SeededEntropy {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(rand_chacha::ChaCha12Rng::seed_from_u64(seed)))
    }
}

impl Debug for SeededEntropy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SeededEntropy")
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().expect("no holder of this lock can panic").fill_bytes(buffer);
    }
}

/// The clock and the randomness that a part was given. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sources {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Sources {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// The machine's own clock and generator.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn fill(&self, buffer: &mut [u8]) {
        self.entropy.fill(buffer);
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A number in `0..bound`. The bias of the remainder is below 2^-32 for the small bounds that callers have.
    ///
    /// # Panics
    /// If `bound` is zero.
    #[must_use]
    pub fn below(&self, bound: u32) -> u32 {
        let wide = u64::from_le_bytes(self.bytes());
        u32::try_from(wide % u64::from(bound)).expect("a remainder is below its divisor")
    }

    /// A fresh id: a version 7 UUID of this clock's time and 74 random bits (RFC 9562, section 5.7).
    #[must_use]
    pub fn id<I: From<Uuid>>(&self) -> I {
        let millis = u64::try_from(self.now().timestamp_millis()).unwrap_or(0);
        I::from(uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still(seed: u64) -> (Arc<ManualClock>, Sources) {
        let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
        (clock.clone(), Sources::new(clock, Arc::new(SeededEntropy::new(seed))))
    }

    #[test]
    fn the_same_seed_gives_the_same_world() {
        assert_eq!(still(4).1.bytes::<32>(), still(4).1.bytes::<32>());
        assert_ne!(still(4).1.bytes::<32>(), still(5).1.bytes::<32>());
    }

    #[test]
    fn ids_made_later_sort_later() {
        let (clock, sources) = still(1);
        let earlier: Uuid = sources.id();
        clock.advance(TimeDelta::milliseconds(1));
        assert!(earlier < sources.id::<Uuid>());
        assert_eq!(earlier.get_version_num(), 7);
    }
}
