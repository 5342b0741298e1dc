//! How many requests a token or a browser session may make, in this process.
//!
//! A bucket of a minute's requests that fills up steadily, kept as one instant: when it would be full again. So a token costs
//! 24 bytes, and one that was quiet for a minute costs nothing. Limits are told in the fields of
//! draft-ietf-httpapi-ratelimit-headers.
//!
//! Not promised: an exact number over several web processes; each counts for itself. Not here: quotas of an org (`usage`), who
//! has no token at all (refused by `auth` before it gets here).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use clock::Timestamp;
use store::Credential;

use crate::app::App;
use crate::auth::Caller;
use crate::problem::Problem;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Seconds in which a bucket fills up.
const WINDOW_S: i64 = 60;
const WINDOW_US: i64 = WINDOW_S * 1_000_000;
/// Callers that are looked at again before a new one is remembered.
const CROWDED: usize = 10_000;

/// The buckets of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RateLimits(Option<Arc<Buckets>>);

#[derive(Debug)]
struct Buckets {
    quota: i64,
    policy: HeaderValue,
    /// When the bucket of a caller is full again, in microseconds. Absent: it is.
    full_at: Mutex<HashMap<Credential, i64>>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    /// So many more may follow at once; the bucket is full after so many seconds.
    Admitted { left: i64, full_in_s: i64 },
    /// The next one may come after so many seconds.
    Refused { retry_after_s: i64 },
}

impl RateLimits {
    /// `0`: no limit.
    #[must_use]
    pub fn per_minute(requests: u32) -> Self {
        let quota = i64::from(requests);
        let policy = HeaderValue::from_str(&format!("\"token\";q={quota};w={WINDOW_S}")).expect("it is ASCII");
        Self((quota > 0).then(|| Arc::new(Buckets { quota, policy, full_at: Mutex::default() })))
    }
}

impl Buckets {
    fn admit(&self, credential: Credential, now: Timestamp) -> Admission {
        let now = now.timestamp_micros();
        let mut full_at = self.full_at.lock().expect("no holder of this lock can panic");
        if full_at.len() >= CROWDED && !full_at.contains_key(&credential) {
            full_at.retain(|_, at| *at > now);
        }
        let cost = WINDOW_US / self.quota;
        let bucket = full_at.entry(credential).or_insert(now);
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

/// Lets a caller's request through, if it may make another.
pub(crate) async fn admit(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(buckets) = &app.rates.0 else { return Ok(next.run(request).await) };
    let credential = request.extensions().get::<Caller>().ok_or_else(Problem::unauthenticated)?.credential;
    let admission = buckets.admit(credential, app.store.sources().now());
    let (mut response, told) = match admission {
        Admission::Admitted { left, full_in_s } => (next.run(request).await, (left, full_in_s)),
        Admission::Refused { retry_after_s } => {
            let retry_after = u32::try_from(retry_after_s).unwrap_or(u32::MAX);
            (Problem::too_many(retry_after).into_response(), (0, retry_after_s))
        }
    };
    tell(response.headers_mut(), &buckets.policy, told);
    Ok(response)
}

fn tell(headers: &mut HeaderMap, policy: &HeaderValue, (left, seconds): (i64, i64)) {
    headers.insert(POLICY, policy.clone());
    let limit = format!("\"token\";r={left};t={seconds}");
    headers.insert(LIMIT, HeaderValue::from_str(&limit).expect("it is ASCII"));
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn a_token_that_asks_too_often_is_told_when_to_go_on() {
        let mut world = World::new().await;
        world.limit(3);
        let mut left = Vec::new();
        for _ in 0..3 {
            let answer = world.get("/api/usage").await;
            answer.expect(200);
            assert_eq!(answer.headers[POLICY], "\"token\";q=3;w=60");
            left.push(answer.headers[LIMIT].to_str().unwrap().to_owned());
        }
        assert_eq!(left, ["\"token\";r=2;t=20", "\"token\";r=1;t=40", "\"token\";r=0;t=60"]);
        let refused = world.get("/api/usage").await;
        refused.expect_problem(429, "too_many_requests");
        assert_eq!(
            (&refused.headers["retry-after"], &refused.headers[LIMIT]),
            (&HeaderValue::from_static("20"), &HeaderValue::from_static("\"token\";r=0;t=20"),)
        );
        let (_, other) = world.other_org().await;
        world.get_as(&other, "/api/usage").await.expect(200);
        world.clock.advance(TimeDelta::seconds(20));
        world.get("/api/usage").await.expect(200);
        world.get("/api/usage").await.expect_problem(429, "too_many_requests");
    }

    #[test]
    fn tokens_that_are_quiet_are_forgotten() {
        let RateLimits(Some(buckets)) = RateLimits::per_minute(60) else { panic!("there is a limit") };
        let (_, sources) = testkit::sources(1);
        for _ in 0..CROWDED {
            buckets.admit(Credential::Token(sources.id()), sources.now());
        }
        let later = sources.now() + TimeDelta::seconds(2);
        buckets.admit(Credential::Token(sources.id()), later);
        assert_eq!(buckets.full_at.lock().unwrap().len(), 1);
    }
}
