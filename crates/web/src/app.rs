//! What every handler is given.

use std::ops::Deref;
use std::sync::Arc;

use billing::Billing;
use chrono::TimeDelta;
use domain::egress::Egress;
use effects::Effects;
use objects::Objects;
use providers::Providers;
use repositories::Repositories;
use secrets::{ConfiguredSecrets, CookieKeys, Kms, SecretBytes, SecretReader};
use store::{Generation, Store};
use tokio_util::sync::CancellationToken;

use crate::drills::DrillRecords;
use crate::events::open::OpenStreams;
use crate::events::tails::Tails;
use crate::guesses::Guesses;
use crate::metrics::Exposition;
use crate::problem::Problem;
use crate::rate::RateLimits;
use crate::sign_in::SignIn;

/// The parts of the web role, shared. Every layer around a handler has a clone for every request: with all parts in it, their
/// reference counts were an eighth of what a list took.
#[derive(Debug, Clone)]
pub struct App(Arc<AppParts>);

impl App {
    #[must_use]
    pub fn new(parts: AppParts) -> Self {
        Self(Arc::new(parts))
    }

    #[cfg(test)]
    pub(crate) fn parts_mut(&mut self) -> &mut AppParts {
        Arc::make_mut(&mut self.0)
    }
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

/// The parts of the web role.
#[derive(Debug, Clone)]
pub struct AppParts {
    pub store: Store,
    pub effects: Effects,
    pub objects: Objects,
    pub kms: Arc<dyn Kms>,
    pub secrets: Arc<AppSecrets>,
    /// The generation that this process serves; it is read once, when the process starts.
    pub generation: Generation,
    /// Version of the program, as people see it.
    pub build: &'static str,
    /// How long the recovery ledger is kept.
    pub ledger_retention: TimeDelta,
    /// `None`: nobody signs in with a browser, and cookies count for nothing.
    pub sign_in: Option<SignIn>,
    /// Where channels may lead. The gateway is told the same, and asks again when it connects.
    pub egress: Egress,
    /// Whom keys that users bring are from. A drill copy has none.
    pub providers: Providers,
    /// What drills of this system left.
    pub drills: DrillRecords,
    /// What is offered, and who is paid for it. A drill copy pays nobody.
    pub billing: Billing,
    /// The way to repositories that project sources are made of. A drill copy has none.
    pub repositories: Repositories,
    pub rates: RateLimits,
    pub guesses: Guesses,
    /// Of each caller, and how many it may have.
    pub streams: OpenStreams,
    pub metrics: Exposition,
    /// The newest events of sessions that are followed.
    pub tails: Tails,
    /// Cancelled when the process drains: streams end, so that their clients go elsewhere.
    pub shutdown: CancellationToken,
}

impl App {
    /// Waits until the recovery ledger knows of what was taken out of force: only then it is answered that it is. It is in
    /// force here already, and whoever asks again is told when it is remembered.
    pub(crate) async fn remember(&self) -> Result<(), Problem> {
        if self.effects.flush().await { Ok(()) } else { Err(Problem::not_remembered()) }
    }
}

/// What handlers need of the configured secrets.
#[derive(Debug)]
pub struct AppSecrets {
    /// The references, for diagnostics: whether each resolves is asked anew each time.
    pub configured: ConfiguredSecrets,
    pub reader: SecretReader,
    /// What channels' signing secrets are derived from. Its version is in `configured`.
    pub channel: SecretBytes,
    /// What browsers carry for us is sealed with them.
    pub cookie: CookieKeys,
}

#[cfg(test)]
mod tests {
    use clock::Timestamp;
    use domain::tenancy::{Role, Scope};
    use ledger::{Reader, Record};
    use testkit::{FaultyStore, Mood};

    use super::*;
    use crate::testing::World;

    async fn told(world: &World, ledger: &FaultyStore) -> Vec<Record> {
        let (system, now) = (world.app.generation.system_id, testkit::system_sources().now());
        let reader = Reader::open(Objects::over(ledger.calm()), system, now).await.unwrap();
        let (mut entries, mut all) = (reader.entries(Timestamp::UNIX_EPOCH), Vec::new());
        while let Some(entry) = entries.next().await.unwrap() {
            all.push(entry.record);
        }
        all
    }

    async fn account_of(world: &World, token: &str) -> ids::AccountId {
        let workspace = world.get_as(token, "/api/workspace").await.expect(200);
        workspace["account"]["account_id"].as_str().unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn a_revocation_is_in_force_at_once_and_answered_when_it_is_remembered() {
        let mut world = World::new().await;
        let ledger = world.moody_ledger();
        let revoked = world.member(world.org, Role::Member, &[Scope::Read]).await;
        let token = world.token_id(&revoked).await;
        let path = format!("/api/tokens/{token}");
        ledger.set(Mood { fail: 100, ..Mood::default() });
        for _ in 0..2 {
            let refused = world.delete(&path).await;
            refused.expect_problem(503, "not_remembered");
            assert_eq!(refused.headers["retry-after"], "5");
            world.get_as(&revoked, "/api/workspace").await.expect_problem(401, "unauthenticated");
        }
        ledger.set(Mood::default());
        world.delete(&path).await.expect(204);
        assert!(told(&world, &ledger).await.contains(&Record::TokenRevoked { org: world.org, token }));
    }

    #[tokio::test]
    async fn whoever_asks_again_to_remove_a_member_hears_that_it_is_gone_when_that_is_remembered() {
        let mut world = World::new().await;
        let ledger = world.moody_ledger();
        let member = world.member(world.org, Role::Member, &[Scope::Read]).await;
        let account = account_of(&world, &member).await;
        let path = format!("/api/members/{account}");
        ledger.set(Mood { fail: 100, ..Mood::default() });
        for _ in 0..2 {
            world.delete(&path).await.expect_problem(503, "not_remembered");
            world.get_as(&member, "/api/workspace").await.expect_problem(401, "unauthenticated");
        }
        ledger.set(Mood::default());
        world.delete(&path).await.expect_problem(404, "not_found");
        assert!(told(&world, &ledger).await.contains(&Record::MemberRemoved { org: world.org, account }));
    }

    #[tokio::test]
    async fn an_erasure_is_said_to_have_begun_when_it_is_remembered() {
        let mut world = World::new().await;
        let ledger = world.moody_ledger();
        let member = world.member(world.org, Role::Member, &[Scope::Read]).await;
        let account = account_of(&world, &member).await;
        let path = format!("/api/subjects/{account}");
        ledger.set(Mood { fail: 100, ..Mood::default() });
        world.delete(&path).await.expect_problem(503, "not_remembered");
        ledger.set(Mood::default());
        world.delete(&path).await.expect(202);
        let erased =
            |record: &Record| matches!(record, Record::SubjectErased { account: whom, .. } if *whom == account);
        assert!(told(&world, &ledger).await.iter().any(erased));
    }
}
