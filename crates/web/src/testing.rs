//! The world of this crate's tests: the whole router on a database of its own, called in this process.
//!
//! Time stands still at 2024-10-04 and randomness is seeded, so that answers can be compared whole.
//!
//! Not here: other roles. Nothing runs a command or sends a delivery.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use billing::Billing;
use bytes::Bytes;
use clock::{ManualClock, Sources};
use domain::egress::Egress;
use domain::plan::Plans;
use domain::tenancy::{Role, RoleName, Scope};
use ids::{AccountId, OrgId, TokenId};
use objects::Objects;
use providers::Providers;
use repositories::Repositories;
use secrets::{ConfiguredSecrets, CookieKeys, SecretReader};
use serde_json::Value;
use store::{Credential, Environment, FirstOrg, Generation, NewMember, NewToken, Store};
use testkit::{FaultyStore, TestDatabase};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    ApiToken, App, AppParts, AppSecrets, DrillRecords, Exposition, Guesses, OpenStreams, RateLimits, SignIn,
    SignInSettings,
};

/// An installation with one org, its owner, and an operator's token of that owner.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) org: OrgId,
    pub(crate) owner: AccountId,
    /// Scopes read, write, operator.
    pub(crate) operator: String,
    router: Router,
    folder: tempfile::TempDir,
    _database: TestDatabase,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

static SECRETS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let value = || hex::encode(Sources::system().bytes::<32>());
    ConfiguredSecrets::NAMES.into_iter().map(|name| (name.to_owned(), value())).collect()
});

impl World {
    pub(crate) async fn new() -> Self {
        let (database, folder) = (TestDatabase::create().await, tempfile::tempdir().unwrap());
        let (clock, sources) = testkit::sources(1);
        let store = Store::from_pool(database.pool(), sources);
        store.migrate().await.unwrap();
        let app = app(store, folder.path()).await;
        let token = ApiToken::generate(app.store.sources());
        let owner = NewMember { email: "ada@example.org".into(), display_name: "Ada".into(), role: Role::Owner.into() };
        let scopes = [Scope::Read, Scope::Write, Scope::Operator];
        let first = FirstOrg { name: "Acme", owner, token: new_token(&token, &scopes) };
        let (org, owner) = app.store.org_create_first(first, "role:admin").await.unwrap().unwrap();
        Self {
            router: crate::router(app.clone()),
            app,
            clock,
            org: org.org_id,
            owner: owner.account_id,
            operator: token.expose().to_owned(),
            folder,
            _database: database,
        }
    }

    /// Lets people sign in with a browser from now on.
    pub(crate) fn sign_in(&mut self, settings: SignInSettings) {
        let sign_in = Some(SignIn::new(settings, self.app.store.sources().clone()).unwrap());
        self.app.parts_mut().sign_in = sign_in;
        self.router = crate::router(self.app.clone());
    }

    /// A ledger from now on that can be put into a bad mood, and that nobody waits for long.
    pub(crate) fn moody_ledger(&mut self) -> Arc<FaultyStore> {
        let store = Arc::new(FaultyStore::new(1));
        let millis = Duration::from_millis;
        let settings = ledger::Settings { patience: millis(100), pause: millis(10), ..ledger::Settings::default() };
        let effects = effects(&self.app.store, &self.app.generation, Objects::over(store.clone()), settings);
        self.app.parts_mut().effects = effects;
        self.router = crate::router(self.app.clone());
        store
    }

    /// Lets channels lead into a network that is not public from now on.
    pub(crate) fn allow(&mut self, network: &str) {
        self.app.parts_mut().egress = Egress::allowing(vec![network.parse().unwrap()]);
        self.router = crate::router(self.app.clone());
    }

    /// Has others asked about keys from now on.
    pub(crate) fn ask(&mut self, providers: Providers) {
        self.app.parts_mut().providers = providers;
        self.router = crate::router(self.app.clone());
    }

    /// Has drills read as `records` say from now on.
    pub(crate) fn drills(&mut self, records: DrillRecords) {
        self.app.parts_mut().drills = records;
        self.router = crate::router(self.app.clone());
    }

    /// Where drills are read from, and beside it the findings file.
    pub(crate) fn drill_folder(&self) -> PathBuf {
        self.folder.path().join("drills")
    }

    /// Offers other plans, and pays somebody else, from now on.
    pub(crate) fn bill(&mut self, billing: Billing) {
        self.app.parts_mut().billing = billing;
        self.router = crate::router(self.app.clone());
    }

    /// Fetches repositories from this machine from now on, by way of `folder`.
    pub(crate) fn fetch_from_here(&mut self, folder: &Path) {
        let egress = Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()]);
        self.app.parts_mut().repositories = Repositories::over(egress, folder.to_owned());
        self.router = crate::router(self.app.clone());
    }

    /// Lets each token make so many requests a minute from now on.
    pub(crate) fn limit(&mut self, per_minute: u32) {
        self.app.parts_mut().rates = RateLimits::per_minute(per_minute);
        self.router = crate::router(self.app.clone());
    }

    /// Lets each caller have so many streams open from now on.
    pub(crate) fn limit_streams(&mut self, per_caller: u32) {
        self.app.parts_mut().streams = OpenStreams::per_caller(per_caller);
        self.router = crate::router(self.app.clone());
    }

    /// Looks at so many guesses of an address a minute from now on.
    pub(crate) fn limit_guesses(&mut self, per_minute: u32) {
        self.app.parts_mut().guesses = Guesses::per_minute(per_minute);
        self.router = crate::router(self.app.clone());
    }

    /// Takes the database away: every statement fails from now on.
    pub(crate) async fn close(&self) {
        self.app.store.close().await;
    }

    /// The token of a new account that is `role` in `org`.
    pub(crate) async fn member(&self, org: OrgId, role: impl Into<RoleName>, scopes: &[Scope]) -> String {
        let text = ApiToken::generate(self.app.store.sources());
        let email = format!("{}@example.org", text.last_four().to_lowercase());
        let new = NewMember { email, display_name: "Member".into(), role: role.into() };
        let member = self.app.store.member_add(org, &new, "role:test").await.unwrap().unwrap();
        let token = NewToken { account: member.account_id, ..new_token(&text, scopes) };
        self.app.store.token_create(org, &token, "role:test").await.unwrap().unwrap();
        text.expose().to_owned()
    }

    /// Another org, and the token of its owner with scopes read and write.
    pub(crate) async fn other_org(&self) -> (OrgId, String) {
        let org = self.app.store.org_create("Other", "role:test").await.unwrap().org_id;
        (org, self.member(org, Role::Owner, &[Scope::Read, Scope::Write]).await)
    }

    pub(crate) async fn token_id(&self, token: &str) -> TokenId {
        let hash = ApiToken::parse(token).unwrap().hash();
        match self.app.store.token_identify(&hash).await.unwrap().unwrap().credential {
            Credential::Token(token) => token,
            other => panic!("{other:?} is no token"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as(&self.operator, path).await
    }

    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.send(request("GET", path, token).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_as(&self.operator, path, body).await
    }

    pub(crate) async fn post_as(&self, token: &str, path: &str, body: Value) -> Answer {
        let request = request("POST", path, token).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.put_as(&self.operator, path, body).await
    }

    pub(crate) async fn put_as(&self, token: &str, path: &str, body: Value) -> Answer {
        self.change("PUT", token, path, &body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.patch_as(&self.operator, path, body).await
    }

    pub(crate) async fn patch_as(&self, token: &str, path: &str, body: Value) -> Answer {
        self.change("PATCH", token, path, &body).await
    }

    /// For what has the ETag `tag`.
    pub(crate) async fn patch_if(&self, path: &str, tag: &str, body: Value) -> Answer {
        let request = request("PATCH", path, &self.operator).header("content-type", "application/json");
        self.send(request.header("if-match", tag).body(Body::from(body.to_string())).unwrap()).await
    }

    async fn change(&self, method: &str, token: &str, path: &str, body: &Value) -> Answer {
        let request = request(method, path, token).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.delete_as(&self.operator, path).await
    }

    pub(crate) async fn delete_as(&self, token: &str, path: &str) -> Answer {
        self.send(request("DELETE", path, token).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that it is a problem with this status and code.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()));
        problem
    }
}

pub(crate) fn request(method: &str, path: &str, token: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"))
}

async fn app(store: Store, folder: &std::path::Path) -> App {
    let configured = configured();
    let reader = SecretReader::new(folder, SECRETS.clone());
    let resolved = configured.resolve_all(&reader).unwrap();
    let generation = store.generation_initialise(Environment::Production).await.unwrap();
    let remembering = Objects::open_folder(&folder.join("ledger")).unwrap();
    App::new(AppParts {
        effects: effects(&store, &generation, remembering, ledger::Settings::default()),
        generation,
        objects: Objects::open_folder(folder).unwrap(),
        kms: Arc::new(resolved.kms(store.sources().clone()).unwrap()),
        secrets: Arc::new(AppSecrets {
            configured,
            reader,
            channel: resolved.channel,
            cookie: CookieKeys::derive(&resolved.cookie),
        }),
        build: "test",
        ledger_retention: chrono::TimeDelta::days(30),
        sign_in: None,
        egress: Egress::default(),
        providers: Providers::none(),
        drills: DrillRecords::new(Some(folder.join("drills")), Some(folder.join("findings.json")), None),
        billing: Billing::manual(Plans::default(), chrono::TimeDelta::days(7)),
        repositories: Repositories::none(),
        rates: RateLimits::per_minute(0),
        guesses: Guesses::per_minute(0),
        streams: OpenStreams::per_caller(0),
        metrics: Exposition::new(String::new),
        tails: crate::events::tails::Tails::default(),
        shutdown: CancellationToken::new(),
        store,
    })
}

fn effects(store: &Store, generation: &Generation, objects: Objects, settings: ledger::Settings) -> effects::Effects {
    let identity =
        ledger::Identity { system: generation.system_id, generation: generation.generation, supersedes: None };
    let sources = testkit::system_sources();
    let ledger = ledger::Ledger::open(objects, identity, sources.id(), sources, settings);
    effects::Effects::new(store.clone(), ledger, ledger::DigestKey::derive(b"a test"))
}

fn configured() -> ConfiguredSecrets {
    let mut secrets = ConfiguredSecrets::generated();
    for named in [
        &mut secrets.adapter_key,
        &mut secrets.oidc_client,
        &mut secrets.cookie,
        &mut secrets.gateway,
        &mut secrets.channel,
    ] {
        named.reference = format!("env:{}", named.name).parse().unwrap();
    }
    secrets
}

/// Of nobody yet.
fn new_token(text: &ApiToken, scopes: &[Scope]) -> NewToken {
    NewToken {
        account: AccountId::from(uuid::Uuid::nil()),
        name: "test".into(),
        hash: text.hash(),
        prefix: text.prefix(),
        last_four: text.last_four(),
        scopes: scopes.to_vec(),
        expires_at: None,
    }
}
