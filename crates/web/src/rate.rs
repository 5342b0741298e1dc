//! How many requests a token or a browser session may make, in this process (`front`).
//!
//! Not promised: an exact number over several web processes; each counts for itself. Not here: quotas of an org
//! (`usage`), who has no token at all (refused by `auth` before it gets here, and limited by `guesses`).

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use front::Throttle;
use store::Credential;

use crate::app::App;
use crate::auth::Caller;
use crate::problem::Problem;

/// The buckets of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RateLimits(Throttle<Credential>);

impl RateLimits {
    /// `0`: no limit.
    #[must_use]
    pub fn per_minute(requests: u32) -> Self {
        Self(Throttle::per_minute("token", requests))
    }
}

/// Lets a caller's request through, if it may make another.
pub(crate) async fn admit(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let credential = request.extensions().get::<Caller>().ok_or_else(Problem::unauthenticated)?.credential;
    let Some(told) = app.rates.0.admit(credential, app.store.sources().now()) else {
        return Ok(next.run(request).await);
    };
    let mut response = match told.refused_for_s() {
        None => next.run(request).await,
        Some(seconds) => Problem::too_many(seconds).into_response(),
    };
    told.tell(response.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use chrono::TimeDelta;

    use crate::testing::World;

    const POLICY: &str = "ratelimit-policy";
    const LIMIT: &str = "ratelimit";

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
