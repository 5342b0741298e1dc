//! How often what an address shows may be wrong.
//!
//! Who looks something up takes one of them before ([`Failures::take`]), and gives it back if nothing was wrong. So what is
//! looked up at the same time is counted, too, and so is who goes away meanwhile.
//!
//! Not here: what goes on being looked at although its address has used its failures up; each role knows that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clock::Timestamp;
use domain::rate::{Admission, Buckets, Network};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Failures(Option<Arc<Mutex<Buckets<Network>>>>);

impl Failures {
    /// `0`: no limit.
    #[must_use]
    pub fn per_minute(failures: u32) -> Self {
        Self((failures > 0).then(|| Arc::new(Mutex::new(Buckets::per_minute(failures)))))
    }

    #[must_use]
    pub fn are_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Takes one. Seconds until there is one again; `None`: it is taken.
    #[must_use]
    pub fn take(&self, from: Network, now: Timestamp) -> Option<i64> {
        match self.buckets()?.admit(from, now) {
            Admission::Admitted { .. } => None,
            Admission::Refused { retry_after_s } => Some(retry_after_s),
        }
    }

    /// Nothing was wrong.
    pub fn give_back(&self, from: Network) {
        if let Some(mut buckets) = self.buckets() {
            buckets.give_back(&from);
        }
    }

    /// Says what is counted, of requests that show one of `whats`.
    pub fn describe(whats: impl IntoIterator<Item = &'static str>) {
        let description = "requests of addresses from which too much was wrong, by what they showed";
        measures::counter_by("cowork_guesses_refused_total", description, "what", whats);
    }

    /// Counts a request that was refused unseen; `what` it showed: `credential` or `signature`.
    pub fn count_refused(what: &'static str) {
        metrics::counter!("cowork_guesses_refused_total", "what" => what).increment(1);
    }

    /// Nothing is left half done under this lock.
    fn buckets(&self) -> Option<MutexGuard<'_, Buckets<Network>>> {
        self.0.as_ref().map(|buckets| buckets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
