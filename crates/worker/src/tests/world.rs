//! The world of these tests: one org, and workers that come and go.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agents::Scripted;
use clock::Sources;
use domain::command::{WhileRunning, Wish};
use domain::event::{Event, Recorded};
use domain::projection::Projection;
use ids::{OrgId, SessionId};
use objects::Objects;
use objects::checkpoint::{self, CheckpointName, Saved, Verified};
use secrets::LocalKms;
use store::{Checkpoint, Command, Environment, NewCommand, NewSession, Store};
use tempfile::TempDir;
use testkit::{TestDatabase, wait_until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::turn::manifest;
use crate::{Config, OrgKeys, Parts, run};

pub(super) struct World {
    pub(super) store: Store,
    pub(super) objects: Objects,
    pub(super) org: OrgId,
    pub(super) generation: i64,
    kms: Arc<LocalKms>,
    folder: TempDir,
    _database: TestDatabase,
}

/// A worker that runs until it is told to stop, or killed.
pub(super) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(testkit::system_sources()).await
    }

    /// With a clock that is not the machine's.
    pub(super) async fn with(sources: Sources) -> Self {
        let (database, folder) = (TestDatabase::create().await, tempfile::tempdir().unwrap());
        let store = Store::from_pool(database.pool(), sources);
        store.migrate().await.unwrap();
        let generation = store.generation_initialise(Environment::Production).await.unwrap().generation;
        let org = store.org_create("Acme", "role:test").await.unwrap().org_id;
        let objects = Objects::open_folder(&folder.path().join("objects")).unwrap();
        let kms = Arc::new(kms(store.sources()));
        Self { store, objects, org, generation, kms, folder, _database: database }
    }

    pub(super) fn workspace_root(&self) -> PathBuf {
        self.folder.path().join("workspaces")
    }

    pub(super) fn parts(&self) -> Parts {
        Parts {
            store: self.store.clone(),
            objects: self.objects.clone(),
            kms: self.kms.clone(),
            agents: vec![Arc::new(Scripted)],
            instance: self.store.sources().id(),
            generation: self.generation,
        }
    }

    pub(super) fn config(&self, lease: Duration) -> Config {
        Config {
            workspace_root: self.workspace_root(),
            concurrency: 4,
            lease,
            poll: Duration::from_millis(10),
            drain: Duration::from_millis(50),
            backoff: Duration::from_millis(5),
        }
    }

    pub(super) fn worker(&self) -> Running {
        self.worker_with(self.parts())
    }

    pub(super) fn worker_with(&self, parts: Parts) -> Running {
        self.start(parts, self.config(Duration::from_secs(5)))
    }

    /// One that never looks for work by itself.
    pub(super) fn worker_that_waits_to_be_told(&self) -> Running {
        let poll = Duration::from_secs(3_600);
        self.start(self.parts(), Config { poll, ..self.config(Duration::from_secs(5)) })
    }

    #[expect(clippy::unused_self, reason = "a worker of this world")]
    fn start(&self, parts: Parts, config: Config) -> Running {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(parts, config, shutdown.clone()));
        Running { shutdown, task }
    }

    pub(super) async fn session(&self) -> SessionId {
        let new = NewSession { org: self.org, created_by: None, title: "Plan".into(), agent: "scripted".into() };
        self.store.session_create(self.generation, &new).await.unwrap()
    }

    pub(super) async fn ask(&self, session: SessionId, wish: Wish) -> ids::CommandId {
        let idempotency_key = self.store.sources().id::<uuid::Uuid>().to_string();
        let new = NewCommand { org: self.org, session, wish, idempotency_key, created_by: None };
        self.store.command_enqueue(&new).await.unwrap().command
    }

    pub(super) async fn prompt_while(
        &self,
        session: SessionId,
        text: &str,
        while_running: WhileRunning,
    ) -> ids::CommandId {
        let idempotency_key = self.store.sources().id::<uuid::Uuid>().to_string();
        let wish = Wish::Prompt { text: text.into() };
        let new = NewCommand { org: self.org, session, wish, idempotency_key, created_by: None };
        self.store.command_speak(&new, while_running, None).await.unwrap().command
    }

    pub(super) async fn prompt(&self, session: SessionId, text: &str) -> ids::CommandId {
        self.ask(session, Wish::Prompt { text: text.into() }).await
    }

    pub(super) async fn command(&self, session: SessionId, command: ids::CommandId) -> Command {
        self.store.command_by_id(self.org, session, command).await.unwrap().unwrap()
    }

    /// Waits until the command is finished.
    pub(super) async fn finished(&self, session: SessionId, command: ids::CommandId) -> Command {
        wait_until("the command is finished", || async { self.command(session, command).await.finished_at.is_some() })
            .await;
        self.command(session, command).await
    }

    /// Waits for an event.
    pub(super) async fn happened(&self, session: SessionId, what: impl Fn(&Event) -> bool) {
        wait_until("an event", || async { self.events(session).await.iter().any(|seen| what(&seen.event)) }).await;
    }

    pub(super) async fn events(&self, session: SessionId) -> Vec<Recorded> {
        self.store.events_after(self.org, session, 0, 1_000).await.unwrap()
    }

    pub(super) async fn said(&self, session: SessionId) -> Vec<String> {
        let text = |recorded: Recorded| match recorded.event {
            Event::MessageAppended { text, .. } => Some(text),
            _ => None,
        };
        self.events(session).await.into_iter().filter_map(text).collect()
    }

    pub(super) async fn request_id(&self, session: SessionId) -> String {
        let (_, stored) = self.store.session_view(self.org, session).await.unwrap().unwrap();
        stored.to_value()["waiting_for"]["request_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn checkpoint(&self, session: SessionId) -> Checkpoint {
        let session = self.store.session_by_id(self.org, session).await.unwrap().unwrap();
        self.store.checkpoint_by_id(self.org, session.checkpoint_id.unwrap()).await.unwrap().unwrap()
    }

    pub(super) async fn verify(&self, row: &Checkpoint) -> Saved {
        let keys = OrgKeys::new(self.store.clone(), self.kms.clone());
        let key = keys.existing(row.org).await.unwrap().unwrap();
        let name = CheckpointName { org: row.org, session: row.session, checkpoint: row.checkpoint };
        let manifest = manifest(row).ok().unwrap();
        checkpoint::verify(&self.objects, &key, name, &manifest, &Verified::default()).await.unwrap()
    }

    /// What must hold after every story: no lease, no hole, and the projection is what the events add up to.
    pub(super) async fn at_rest(&self, session: SessionId) {
        let events = self.events(session).await;
        let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=sequences.len() as i64).collect::<Vec<_>>());
        let (_, stored) = self.store.session_view(self.org, session).await.unwrap().unwrap();
        let rebuilt = Projection::rebuild(events.iter().map(|event| &event.event));
        assert_eq!(stored.to_value(), serde_json::to_value(&rebuilt).unwrap());
        assert_eq!(Some(&stored.sequence), sequences.last());
        assert_eq!(self.store.diagnostics_backlog().await.unwrap().leases_held, 0);
    }
}

fn kms(sources: &Sources) -> LocalKms {
    let key = sources.bytes::<32>().map(|byte| format!("{byte:02x}")).concat();
    LocalKms::new(("1".into(), key.into_bytes().into()), Vec::new(), sources.clone()).unwrap()
}
