//! Who shows tokens and browser sessions that are none, and how often they are looked up.
//!
//! Each look costs a statement. So an address has so many a minute that fail (`front`); when they are used up, what it
//! shows is refused unseen, except what was in force a moment ago in this process: whoever guesses from behind a proxy
//! does not lock out those at work behind it.
//!
//! Not promised: that everybody behind that proxy goes on. What was not used for a few minutes, or never here, waits
//! until nobody guesses any more, or another process is asked.
//!
//! Not here: text that can't be a token (refused by `auth` without a look, so it is not counted), who the peer is
//! (`front`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clock::{Sources, Timestamp};
use domain::rate::Network;
use domain::recent::Recent;
use front::Failures;
use store::StoreError;

use crate::problem::Problem;

/// Of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guesses {
    failures: Failures,
    /// The SHA-256 of what was in force lately.
    proven: Arc<Mutex<Recent<[u8; 32], ()>>>,
}

impl Guesses {
    /// Of each address. `0`: no limit.
    #[must_use]
    pub fn per_minute(failures: u32) -> Self {
        Self { failures: Failures::per_minute(failures), proven: Arc::default() }
    }

    /// What `look` finds under the SHA-256 that somebody shows, if there is to be a look.
    pub(crate) async fn looked_up<T>(
        &self,
        (from, hash): (Network, &[u8; 32]),
        sources: &Sources,
        look: impl Future<Output = Result<Option<T>, StoreError>>,
    ) -> Result<Option<T>, Problem> {
        if !self.failures.are_limited() {
            return Ok(look.await?);
        }
        let now = sources.now();
        let proven = self.is_proven(hash, now);
        if let Some(seconds) = (!proven).then(|| self.failures.take(from, now)).flatten() {
            Failures::count_refused("credential");
            return Err(Problem::too_many_guesses(seconds));
        }
        let found = look.await;
        match &found {
            // The next look at it is one of those that an address has.
            Ok(None) => self.proven().forget(hash),
            Ok(Some(_)) | Err(_) if !proven => self.failures.give_back(from),
            Ok(Some(_)) | Err(_) => {}
        }
        if let Ok(Some(_)) = found {
            self.prove(*hash, now);
        }
        Ok(found?)
    }

    /// Knows what was made here a moment ago, or found in force.
    pub(crate) fn prove(&self, hash: [u8; 32], now: Timestamp) {
        if self.failures.are_limited() {
            self.proven().note(hash, (), now);
        }
    }

    /// Counts a signature that was none. Seconds until the next is told so; `None`: this one still is.
    pub(crate) fn wrong_signature(&self, from: Network, now: Timestamp) -> Option<i64> {
        let wait = self.failures.take(from, now);
        if wait.is_some() {
            Failures::count_refused("signature");
        }
        wait
    }

    fn is_proven(&self, hash: &[u8; 32], now: Timestamp) -> bool {
        self.proven().get(hash, now).is_some()
    }

    /// Nothing is left half done under this lock.
    fn proven(&self) -> MutexGuard<'_, Recent<[u8; 32], ()>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use chrono::TimeDelta;
    use domain::tenancy::{Role, Scope};

    use crate::ApiToken;
    use crate::testing::{Answer, World, request};

    const PATH: &str = "/api/workspace";

    async fn from(world: &World, peer: &str, token: &str) -> Answer {
        let peer: SocketAddr = peer.parse().unwrap();
        world.send(request("GET", PATH, token).extension(ConnectInfo(peer)).body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn an_address_that_guesses_is_refused_unseen_and_harms_no_token_at_work() {
        let mut world = World::new().await;
        world.limit_guesses(2);
        let unused = world.member(world.org, Role::Member, &[Scope::Read]).await;
        let guess = ApiToken::generate(world.app.store.sources());
        world.get(PATH).await.expect(200);
        for _ in 0..2 {
            world.get_as(guess.expose(), PATH).await.expect_problem(401, "unauthenticated");
        }
        for token in [guess.expose(), &unused] {
            let refused = world.get_as(token, PATH).await;
            refused.expect_problem(429, "too_many_requests");
            assert_eq!(refused.headers["retry-after"], "30");
        }
        world.get(PATH).await.expect(200);
        from(&world, "192.0.2.1:7", &unused).await.expect(200);
        world.get_as(&unused, PATH).await.expect(200);
    }

    #[tokio::test]
    async fn guesses_at_the_same_time_are_counted_before_they_are_looked_up() {
        let mut world = World::new().await;
        world.limit_guesses(2);
        let guess = ApiToken::generate(world.app.store.sources());
        let answers = futures::future::join_all((0..10).map(|_| world.get_as(guess.expose(), PATH))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 2);
        assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 8);
    }

    #[tokio::test]
    async fn an_address_that_has_guessed_may_go_on_when_its_bucket_fills_and_is_not_looked_at_before() {
        let mut world = World::new().await;
        world.limit_guesses(2);
        let guess = ApiToken::generate(world.app.store.sources());
        let guess = guess.expose();
        for _ in 0..2 {
            from(&world, "[2001:db8::1]:7", guess).await.expect_problem(401, "unauthenticated");
        }
        from(&world, "[2001:db8::2]:7", guess).await.expect_problem(429, "too_many_requests");
        world.clock.advance(TimeDelta::seconds(30));
        from(&world, "[2001:db8::1]:7", guess).await.expect_problem(401, "unauthenticated");
        // Who asks now is told that nobody answers.
        world.close().await;
        from(&world, "[2001:db8::1]:7", guess).await.expect_problem(429, "too_many_requests");
        from(&world, "[2001:db8:0:1::1]:7", guess).await.expect_problem(500, "internal");
    }

    #[tokio::test]
    async fn a_token_is_known_from_its_making_on_and_no_longer_when_it_is_revoked() {
        let mut world = World::new().await;
        world.limit_guesses(1);
        let made = world.post("/api/tokens", serde_json::json!({"name": "t", "scopes": ["read"]})).await.expect(201);
        let made = made["token"].as_str().unwrap();
        let guess = ApiToken::generate(world.app.store.sources());
        world.get_as(guess.expose(), PATH).await.expect_problem(401, "unauthenticated");
        world.get_as(made, PATH).await.expect(200);
        world.delete(&format!("/api/tokens/{}", world.token_id(made).await)).await.expect(204);
        world.get_as(made, PATH).await.expect_problem(401, "unauthenticated");
        world.get_as(made, PATH).await.expect_problem(429, "too_many_requests");
    }

    #[tokio::test]
    async fn text_that_can_not_be_a_token_costs_nothing_and_is_not_counted() {
        let mut world = World::new().await;
        world.limit_guesses(1);
        for _ in 0..3 {
            world.get_as("cow_short", PATH).await.expect_problem(401, "unauthenticated");
        }
        let guess = ApiToken::generate(world.app.store.sources());
        world.get_as(guess.expose(), PATH).await.expect_problem(401, "unauthenticated");
    }
}
