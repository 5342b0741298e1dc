//! How often somebody who is known may ask, and how it is told: in the fields of draft-ietf-httpapi-ratelimit-headers.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use clock::Timestamp;
use domain::rate::{Admission, Buckets, WINDOW_S};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The buckets of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Throttle<K>(Option<Arc<Limit<K>>>);

#[derive(Debug)]
struct Limit<K> {
    name: &'static str,
    policy: HeaderValue,
    buckets: Mutex<Buckets<K>>,
}

/// What became of a request, and what is told of it.
#[derive(Debug, Clone)]
pub struct Told {
    name: &'static str,
    policy: HeaderValue,
    admission: Admission,
}

impl<K: Copy + Eq + Hash> Throttle<K> {
    /// `name` is what clients read of whose limit it is: a word in ASCII. `0`: no limit.
    #[must_use]
    pub fn per_minute(name: &'static str, requests: u32) -> Self {
        let policy = HeaderValue::from_str(&format!("\"{name}\";q={requests};w={WINDOW_S}")).expect("it is ASCII");
        let limit = Limit { name, policy, buckets: Mutex::new(Buckets::per_minute(requests)) };
        Self((requests > 0).then(|| Arc::new(limit)))
    }

    /// `None`: there is no limit.
    #[must_use]
    pub fn admit(&self, key: K, now: Timestamp) -> Option<Told> {
        let Limit { name, policy, buckets } = &**self.0.as_ref()?;
        // Nothing is left half done under this lock.
        let admission = buckets.lock().unwrap_or_else(PoisonError::into_inner).admit(key, now);
        Some(Told { name, policy: policy.clone(), admission })
    }
}

impl Told {
    /// Seconds after which the next one may come. `None`: this one was admitted.
    #[must_use]
    pub fn refused_for_s(&self) -> Option<i64> {
        match self.admission {
            Admission::Admitted { .. } => None,
            Admission::Refused { retry_after_s } => Some(retry_after_s),
        }
    }

    /// Writes the fields of an answer.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let (left, seconds) = match self.admission {
            Admission::Admitted { left, full_in_s } => (left, full_in_s),
            Admission::Refused { retry_after_s } => (0, retry_after_s),
        };
        let limit = format!("\"{}\";r={left};t={seconds}", self.name);
        headers.insert(POLICY, self.policy.clone());
        headers.insert(LIMIT, HeaderValue::from_str(&limit).expect("it is ASCII"));
    }
}
