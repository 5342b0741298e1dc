//! An org on a database of its own, gateways on demand, and a worker's part played by hand.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use clock::Sources;
use domain::channel::{ChannelKind, DeliveryState};
use domain::command::{CommandState, Wish};
use domain::egress::Egress;
use domain::event::{Event, MessageRole, TurnOutcome};
use domain::policy::Policy;
use domain::schedule::{MissedPolicy, NewTrigger, OverlapPolicy, TriggerSpec, WorkflowState};
use domain::tenancy::{Role, Scope};
use domain::version::Expected;
use effects::Effects;
use gateway::{ChannelSecret, GatewayConfig, Parts, StartError};
use ids::{ChannelId, OrgId, SessionId, TriggerId, WorkflowId};
use ledger::{DigestKey, Identity, Ledger, Reader, Settings, Summary};
use objects::Objects;
use secrets::{SecretBytes, derive_channel_secret, derive_trigger_secret};
use store::{
    Append, Delivery, Environment, Finish, FirstOrg, Generation, Lease, NewBinding, NewChannel, NewCommand, NewMember,
    NewSession, NewToken, NewWorkflow, Store,
};
use testkit::{FaultyStore, TestDatabase};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct World {
    pub(crate) store: Store,
    /// Where the ledger's objects go.
    pub(crate) ledger: Arc<FaultyStore>,
    effects: Effects,
    pub(crate) generation: Generation,
    pub(crate) org: OrgId,
    pub(crate) shutdown: CancellationToken,
    pub(crate) secret: SecretBytes,
    pub(crate) database: TestDatabase,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of(Environment::Production, testkit::system_sources()).await
    }

    pub(crate) async fn of(environment: Environment, sources: Sources) -> Self {
        let database = TestDatabase::create().await;
        let store = Store::from_pool(database.pool(), sources);
        store.migrate().await.unwrap();
        let generation = store.generation_initialise(environment).await.unwrap();
        let owner = NewMember { email: "ada@example.org".into(), display_name: "Ada".into(), role: Role::Owner.into() };
        let token = NewToken {
            account: uuid::Uuid::nil().into(),
            name: "test".into(),
            hash: store.sources().bytes(),
            prefix: "cow_frst".into(),
            last_four: "last".into(),
            scopes: vec![Scope::Read],
            expires_at: None,
        };
        let first = FirstOrg { name: "Acme", owner, token };
        let org = store.org_create_first(first, "role:test").await.unwrap().unwrap().0.org_id;
        let secret = SecretBytes::new(store.sources().bytes::<32>().to_vec());
        let ledger = Arc::new(FaultyStore::new(1));
        // Impatient: it gives up after a moment.
        let patience = Duration::from_millis(300);
        let effects = effects(&store, &generation, Objects::over(ledger.clone()), &secret, patience);
        let shutdown = CancellationToken::new();
        Self { store, ledger, effects, generation, org, shutdown, secret, database }
    }

    pub(crate) fn parts(&self) -> Parts {
        let channel_secret = ChannelSecret::new("1", self.secret.clone());
        Parts {
            store: self.store.clone(),
            effects: self.effects.clone(),
            generation: self.generation.clone(),
            channel_secret,
            calls_per_minute: 0,
            messages_per_minute: 0,
            wrong_signatures_per_minute: 0,
        }
    }

    /// Starts a gateway that is in a hurry.
    pub(crate) fn gateway(&self) -> JoinHandle<Result<(), StartError>> {
        self.gateway_with(config())
    }

    pub(crate) fn gateway_with(&self, config: GatewayConfig) -> JoinHandle<Result<(), StartError>> {
        tokio::spawn(gateway::run(self.parts(), config, self.shutdown.clone()))
    }

    /// Stops a gateway, and starts one that may call sinks in its place.
    pub(crate) async fn restart(&mut self, gateway: JoinHandle<Result<(), StartError>>) {
        self.stop(gateway).await;
        self.gateway();
    }

    /// Sends until `count` deliveries are sent, and stops.
    pub(crate) async fn send(&mut self, count: usize) {
        let gateway = self.gateway();
        self.until(DeliveryState::Sent, count).await;
        self.stop(gateway).await;
    }

    /// Has a gateway render all that was said, and stops it.
    pub(crate) async fn render(&mut self) {
        let gateway = self.gateway();
        self.rendered().await;
        self.stop(gateway).await;
    }

    async fn stop(&mut self, gateway: JoinHandle<Result<(), StartError>>) {
        self.shutdown.cancel();
        gateway.await.unwrap().unwrap();
        self.shutdown = CancellationToken::new();
    }

    /// The same system in a generation of its own, on the rows of `database`.
    pub(crate) fn living_on(&self, database: TestDatabase, store: Store, generation: Generation) -> Self {
        let objects = Objects::over(self.ledger.clone());
        let effects = effects(&store, &generation, objects, &self.secret, Duration::from_millis(300));
        let (ledger, secret, shutdown) = (self.ledger.clone(), self.secret.clone(), CancellationToken::new());
        Self { store, ledger, effects, generation, org: self.org, shutdown, secret, database }
    }

    pub(crate) async fn channel(&self, destination: &str) -> ChannelId {
        self.channel_that(destination, true).await
    }

    pub(crate) async fn channel_that(&self, destination: &str, deduplicates: bool) -> ChannelId {
        let new = NewChannel {
            org: self.org,
            kind: ChannelKind::Webhook,
            name: "ops".into(),
            destination: destination.parse().unwrap(),
            secret_version: "1".into(),
            deduplicates,
        };
        self.store.channel_create(&new, "role:test").await.unwrap().channel_id
    }

    /// Has the org's policy allow these agents. `None`: any.
    pub(crate) async fn allow_agents(&self, agents: Option<Vec<String>>) {
        let policy = Policy { agents, ..Policy::default() };
        self.store.policy_put(self.org, &policy, &Expected::Anything, "role:test").await.unwrap();
    }

    pub(crate) fn signing_secret(&self, channel: ChannelId) -> String {
        derive_channel_secret(&self.secret, channel)
    }

    /// An active workflow that says thanks, with one webhook trigger, and the trigger's signing secret.
    pub(crate) async fn called(&self, overlap_policy: OverlapPolicy) -> (WorkflowId, TriggerId, String) {
        let new = NewWorkflow {
            org: self.org,
            name: "triage".into(),
            agent: "scripted".into(),
            prompt: "say thanks".into(),
            state: WorkflowState::Active,
            missed_policy: MissedPolicy::Skip,
            missed_window_s: 0,
            overlap_policy,
            secret_version: "1".into(),
            triggers: vec![NewTrigger::new(TriggerSpec::Webhook {}, self.store.sources().now()).unwrap()],
        };
        let workflow = self.store.workflow_create(&new, "role:test").await.unwrap();
        let trigger = self.store.trigger_list(self.org, &[workflow]).await.unwrap().remove(0).trigger_id;
        (workflow, trigger, derive_trigger_secret(&self.secret, trigger, 1))
    }

    /// A fresh session, bound to `thread`.
    pub(crate) async fn thread(&self, channel: ChannelId, thread: &str) -> SessionId {
        let new = NewSession { org: self.org, created_by: None, title: "t".into(), agent: "scripted".into() };
        let session = self.store.session_create(self.generation.generation, &new).await.unwrap();
        let new = NewBinding { org: self.org, channel, thread: thread.into(), session };
        self.store.binding_create(&new, "role:test").await.unwrap();
        session
    }

    /// A turn in which the agent says `text`.
    pub(crate) async fn turn(&self, session: SessionId, text: &str) {
        self.enqueue(session).await;
        self.work(text).await;
    }

    /// A prompt.
    pub(crate) async fn enqueue(&self, session: SessionId) {
        let new = NewCommand {
            org: self.org,
            session,
            wish: Wish::Prompt { text: "go on".into() },
            idempotency_key: self.store.sources().id::<uuid::Uuid>().to_string(),
            created_by: None,
        };
        self.store.command_enqueue(&new).await.unwrap();
    }

    /// Claims as a worker does: again, while a gateway that renders holds the session's row.
    async fn claim(&self) -> Lease {
        let (store, sources) = (&self.store, self.store.sources());
        let claimed = RefCell::new(None);
        testkit::wait_until("the session can be claimed", || async {
            let until = sources.now() + chrono::TimeDelta::seconds(30);
            let leases = store.lease_claim(self.generation.generation, sources.id(), until, 1).await.unwrap();
            *claimed.borrow_mut() = leases.into_iter().next();
            claimed.borrow().is_some()
        })
        .await;
        claimed.into_inner().unwrap()
    }

    /// Carries out the one command that waits, as a worker would: the agent says `text`.
    pub(crate) async fn work(&self, text: &str) {
        let message_id = self.store.sources().id::<uuid::Uuid>().to_string();
        let said = Event::MessageAppended { message_id, role: MessageRole::Agent, text: text.into() };
        self.work_that(said, TurnOutcome::Completed).await;
    }

    /// As [`Self::work`]: what happens is `event`, and then the turn ends so.
    pub(crate) async fn work_that(&self, event: Event, outcome: TurnOutcome) {
        let (store, lease) = (&self.store, self.claim().await);
        let held = store.lease_load(&lease).await.unwrap();
        let command = held.next.unwrap().command;
        let events = [event, Event::TurnEnded { command_id: command, outcome, error: None }];
        let mut projection = held.projection;
        events.iter().for_each(|event| projection.apply(event));
        let finish = Finish {
            append: Append { after: held.last_sequence, events: &events, projection: &projection },
            command,
            state: CommandState::Done,
            sentence: "done".into(),
            turn: Some(outcome),
            checkpoint: None,
            turn_ms: 0,
            input_tokens: 0,
            output_tokens: 0,
            models: Vec::new(),
            heard: Vec::new(),
        };
        store.turn_finish(&lease, &finish, &[]).await.unwrap();
    }

    pub(crate) async fn deliveries(&self, state: DeliveryState) -> Vec<Delivery> {
        self.store.delivery_list(self.org, Some(state), None, 200).await.unwrap()
    }

    /// Waits until `count` deliveries are in `state`.
    pub(crate) async fn until(&self, state: DeliveryState, count: usize) -> Vec<Delivery> {
        let what = format!("{count} deliveries {}", state.as_str());
        testkit::wait_until(&what, || async { self.deliveries(state).await.len() == count }).await;
        self.deliveries(state).await
    }

    /// What the ledger adds up to at this moment, whatever mood it is in. Its writers go by the machine's clock.
    pub(crate) async fn remembered(&self) -> Summary {
        let (objects, now) = (Objects::over(self.ledger.calm()), testkit::system_sources().now());
        let reader = Reader::open(objects, self.generation.system_id, now).await.unwrap();
        let mut entries = reader.entries(clock::Timestamp::UNIX_EPOCH);
        let mut summary = Summary::default();
        while let Some(entry) = entries.next().await.unwrap() {
            summary.add(&entry);
        }
        assert!(entries.findings().list().is_empty(), "{:?}", entries.findings());
        summary
    }

    /// Waits until nothing is behind: all that was said is rendered.
    pub(crate) async fn rendered(&self) {
        testkit::wait_until("no cursor behind", || async { self.store.cursor_behind(1).await.unwrap().is_empty() })
            .await;
    }
}

/// What a gateway tells to the ledger in `objects`, which it waits for as long as `patience`.
pub(crate) fn effects(
    store: &Store,
    generation: &Generation,
    objects: Objects,
    secret: &SecretBytes,
    patience: Duration,
) -> Effects {
    let identity = Identity { system: generation.system_id, generation: generation.generation, supersedes: None };
    let (millis, default) = (Duration::from_millis, Settings::default());
    let settings = Settings { quiet: millis(1), spacing: millis(1), patience, pause: millis(20), ..default };
    let sources = testkit::system_sources();
    let ledger = Ledger::open(objects, identity, sources.id(), sources, settings);
    Effects::new(store.clone(), ledger, DigestKey::derive(secret.expose()))
}

/// In a hurry, and allowed to call the sinks, which are on this machine.
pub(crate) fn config() -> GatewayConfig {
    let millis = Duration::from_millis;
    let egress = Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()]);
    GatewayConfig { poll: millis(5), backoff: millis(1), backoff_max: millis(10), egress, ..GatewayConfig::default() }
}
