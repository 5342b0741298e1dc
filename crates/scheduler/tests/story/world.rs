//! An org on a database of its own, with a clock that is moved by hand.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use clock::{ManualClock, Sources, Timestamp};
use domain::schedule::{MissedPolicy, NewTrigger, OverlapPolicy, TriggerSpec, WorkflowState};
use effects::Effects;
use ids::{OrgId, WorkflowId};
use ledger::{DigestKey, Identity, Ledger};
use objects::Objects;
use scheduler::{Pass, pass};
use store::{Environment, Generation, NewWorkflow, Store};
use testkit::{FaultyStore, TestDatabase};
use tokio_util::sync::CancellationToken;

pub(crate) const ACTOR: &str = "token:test";

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) generation: Generation,
    /// Where the ledger's objects go.
    pub(crate) remembering: Arc<FaultyStore>,
    pub(crate) effects: Effects,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sources: Sources,
    pub(crate) org: OrgId,
    /// When the clock was started.
    pub(crate) start: Timestamp,
    pub(crate) database: TestDatabase,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let (clock, sources) = testkit::sources(1);
        let store = Store::from_pool(database.pool(), sources.clone());
        store.migrate().await.unwrap();
        let generation = store.generation_initialise(Environment::Production).await.unwrap();
        let remembering = Arc::new(FaultyStore::new(1));
        let objects = Objects::over(remembering.clone());
        let effects = effects(&store, &generation, objects, Duration::from_millis(200));
        let org = store.org_create("acme", ACTOR).await.unwrap().org_id;
        let start = sources.now();
        Self { store, generation, remembering, effects, clock, sources, org, start, database }
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    pub(crate) async fn pass(&self) -> Pass {
        pass(&self.store, &self.effects, &CancellationToken::new()).await.unwrap()
    }

    /// A workflow that is due every `every_s`, first after that time.
    pub(crate) async fn every(&self, every_s: i64, change: impl FnOnce(&mut NewWorkflow)) -> WorkflowId {
        self.workflow(TriggerSpec::Interval { every_s, anchor_at: None }, change).await
    }

    pub(crate) async fn workflow(&self, spec: TriggerSpec, change: impl FnOnce(&mut NewWorkflow)) -> WorkflowId {
        let mut new = NewWorkflow {
            org: self.org,
            name: "digest".into(),
            agent: "scripted".into(),
            prompt: "say good morning".into(),
            state: WorkflowState::Active,
            missed_policy: MissedPolicy::Skip,
            missed_window_s: 3_600,
            overlap_policy: OverlapPolicy::Allow,
            secret_version: "1".into(),
            triggers: vec![NewTrigger::new(spec, self.sources.now()).unwrap()],
        };
        change(&mut new);
        self.store.workflow_create(&new, ACTOR).await.unwrap()
    }

    /// The workflow's slots, oldest first: `seconds fired`, or `seconds` and why not.
    pub(crate) async fn slots(&self, workflow: WorkflowId) -> Vec<String> {
        let mut slots = self.store.slot_list(self.org, workflow, None, 200).await.unwrap();
        slots.reverse();
        let line = |slot: &store::Slot| {
            let seconds = (slot.due_at - self.start).num_seconds();
            format!("{seconds} {}", slot.reason.as_ref().unwrap_or(&slot.state))
        };
        slots.iter().map(line).collect()
    }

    /// Every fired slot has exactly one run, and every run its session, its one command and its meter.
    pub(crate) async fn check(&self) {
        let odd: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM slots FULL JOIN runs USING (org_id, workflow_id, due_at)
             LEFT JOIN commands ON commands.org_id = runs.org_id AND commands.command_id = runs.command_id
                AND commands.session_id = runs.session_id AND commands.ordinal = 1
             LEFT JOIN usage_records ON usage_records.org_id = runs.org_id AND source_id = run_id
             WHERE (slots.state = 'fired') IS DISTINCT FROM (run_id IS NOT NULL)
                OR (run_id IS NOT NULL AND (commands.command_id IS NULL OR usage_id IS NULL))",
        )
        .fetch_one(&self.database.pool())
        .await
        .unwrap();
        assert_eq!(odd, 0, "slots, runs, commands and meters agree");
    }
    /// The store as another process has it.
    pub(crate) async fn replica(&self) -> Store {
        Store::connect(&self.database.url(), 5, self.sources.clone()).await.unwrap()
    }
}

/// What a scheduler tells to the ledger in `objects`, which it waits for as long as `patience`.
pub(crate) fn effects(store: &Store, generation: &Generation, objects: Objects, patience: Duration) -> Effects {
    let identity = Identity { system: generation.system_id, generation: generation.generation, supersedes: None };
    let spacing = Duration::from_millis(1);
    let settings = ledger::Settings { spacing, patience, ..ledger::Settings::default() };
    let sources = store.sources();
    let ledger = Ledger::open(objects, identity, sources.id(), sources.clone(), settings);
    Effects::new(store.clone(), ledger, DigestKey::derive(b"a test"))
}
