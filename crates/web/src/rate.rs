//! How many requests a token or a browser session may make, in this process (`domain::rate`).
//!
//! Limits are told in the fields of draft-ietf-httpapi-ratelimit-headers.
//!
//! Not promised: an exact number over several web processes; each counts for itself. Not here: quotas of an org (`usage`), who
//! has no token at all (refused by `auth` before it gets here).

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::rate::{Admission, Buckets, WINDOW_S};
use store::Credential;

use crate::app::App;
use crate::auth::Caller;
use crate::problem::Problem;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The buckets of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RateLimits(Option<Arc<Limits>>);

#[derive(Debug)]
struct Limits {
    policy: HeaderValue,
    buckets: Mutex<Buckets<Credential>>,
}

impl RateLimits {
    /// `0`: no limit.
    #[must_use]
    pub fn per_minute(requests: u32) -> Self {
        let policy = HeaderValue::from_str(&format!("\"token\";q={requests};w={WINDOW_S}")).expect("it is ASCII");
        let limits = Limits { policy, buckets: Mutex::new(Buckets::per_minute(requests)) };
        Self((requests > 0).then(|| Arc::new(limits)))
    }
}

/// Lets a caller's request through, if it may make another.
pub(crate) async fn admit(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(limits) = &app.rates.0 else { return Ok(next.run(request).await) };
    let credential = request.extensions().get::<Caller>().ok_or_else(Problem::unauthenticated)?.credential;
    let admission = {
        let mut buckets = limits.buckets.lock().expect("no holder of this lock can panic");
        buckets.admit(credential, app.store.sources().now())
    };
    let (mut response, told) = match admission {
        Admission::Admitted { left, full_in_s } => (next.run(request).await, (left, full_in_s)),
        Admission::Refused { retry_after_s } => {
            let retry_after = u32::try_from(retry_after_s).unwrap_or(u32::MAX);
            (Problem::too_many(retry_after).into_response(), (0, retry_after_s))
        }
    };
    tell(response.headers_mut(), &limits.policy, told);
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
}
