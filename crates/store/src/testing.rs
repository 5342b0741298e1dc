//! The world of this crate's tests: a database of its own, a clock that is told the time, one org.

use std::sync::Arc;

use clock::ManualClock;
use domain::channel::ChannelKind;
use domain::command::Wish;
use domain::schedule::{MissedPolicy, NewTrigger, OverlapPolicy, TriggerSpec, WorkflowState};
use ids::{CommandId, OrgId, SessionId, WorkflowId};
use testkit::TestDatabase;

use crate::{
    BehindCursor, ClaimedDelivery, Environment, Lease, NewBinding, NewChannel, NewCommand, NewDelivery, NewSession,
    NewWorkflow, Store,
};

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) org: OrgId,
    _database: TestDatabase,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let (clock, sources) = testkit::sources(1);
        let store = Store::from_pool(database.pool(), sources);
        store.migrate().await.unwrap();
        store.generation_initialise(Environment::Production).await.unwrap();
        let org = store.org_create("Acme", "role:test").await.unwrap().org_id;
        Self { store, clock, org, _database: database }
    }

    pub(crate) async fn session(&self) -> SessionId {
        let new = NewSession { org: self.org, created_by: None, title: "Plan".into(), agent: "scripted".into() };
        self.store.session_create(1, &new).await.unwrap()
    }

    pub(crate) fn prompt(&self, session: SessionId, key: &str) -> NewCommand {
        let wish = Wish::Prompt { text: "say hi".into() };
        NewCommand { org: self.org, session, wish, idempotency_key: key.into(), created_by: None }
    }

    /// An active workflow that makes good for what it missed.
    pub(crate) async fn workflow(&self, overlap_policy: OverlapPolicy, triggers: Vec<NewTrigger>) -> WorkflowId {
        let new = NewWorkflow {
            org: self.org,
            name: "nightly".into(),
            agent: "scripted".into(),
            prompt: "say hi".into(),
            state: WorkflowState::Active,
            missed_policy: MissedPolicy::RunAll,
            missed_window_s: 3_600,
            overlap_policy,
            secret_version: "1".into(),
            triggers,
        };
        self.store.workflow_create(&new, "role:test").await.unwrap()
    }

    /// A trigger that takes calls, to be made.
    pub(crate) fn webhook(&self) -> NewTrigger {
        NewTrigger::new(TriggerSpec::Webhook {}, self.store.sources().now()).unwrap()
    }

    /// A session with a command to carry out.
    pub(crate) async fn ready(&self) -> (SessionId, CommandId) {
        let session = self.session().await;
        let enqueued = self.store.command_enqueue(&self.prompt(session, "first")).await.unwrap();
        (session, enqueued.command)
    }

    /// Claims for a minute.
    pub(crate) async fn claim(&self, limit: i64) -> Vec<Lease> {
        let sources = self.store.sources();
        let until = sources.now() + chrono::TimeDelta::minutes(1);
        self.store.lease_claim(1, sources.id(), until, limit).await.unwrap()
    }
}

/// A thread of a channel that takes a repeat once, and of nothing yet.
pub(crate) struct Thread {
    pub(crate) world: World,
    pub(crate) cursor: BehindCursor,
}

impl Thread {
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        let session = world.session().await;
        let new = NewChannel {
            org: world.org,
            kind: ChannelKind::Webhook,
            name: "ops".into(),
            destination: "https://chat.example/hook".parse().unwrap(),
            secret_version: "1".into(),
            deduplicates: true,
        };
        let channel_id = world.store.channel_create(&new, "role:test").await.unwrap().channel_id;
        let new = NewBinding { org: world.org, channel: channel_id, thread: "general".into(), session };
        let bound = world.store.binding_create(&new, "role:test").await.unwrap();
        let cursor = BehindCursor {
            org: world.org,
            binding_id: bound.binding_id,
            channel_id,
            thread: bound.thread,
            session_id: session,
            sequence: bound.cursor_sequence,
        };
        Self { world, cursor }
    }

    /// One more delivery that is due.
    pub(crate) async fn render(&mut self) {
        let store = &self.world.store;
        let to = self.cursor.sequence + 1;
        let (command, payload) = (store.sources().id(), serde_json::json!({"text": "hello"}));
        let new = NewDelivery { command, sequence: to, payload, interaction: None };
        assert!(store.cursor_advance(&self.cursor, to, &[new]).await.unwrap());
        self.cursor.sequence = to;
    }

    /// The delivery whose turn it is.
    pub(crate) async fn claim(&self) -> ClaimedDelivery {
        let claims = self.world.store.delivery_claim(1, 1, chrono::TimeDelta::seconds(30)).await.unwrap();
        claims.deliveries.into_iter().next().unwrap()
    }
}

/// Until a statement that begins like this waits for somebody's lock.
pub(crate) async fn waits(store: &Store, begun: &str) {
    let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1)";
    let waits = || async { sqlx::query_scalar::<_, bool>(waiting).bind(begun).fetch_one(&store.pool).await.unwrap() };
    testkit::wait_until(&format!("{begun} waits for a lock"), waits).await;
}
