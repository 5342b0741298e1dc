//! One life of a system: its roles, and the people who use it, on a runtime of their own that can be ended at any await.
//!
//! To end the runtime is to a task what `kill -9` is to a process: nothing after the await that it stands at ever runs. What
//! a thread pool has begun to write may still be written, as what a dead process has handed to its kernel.

use std::sync::Arc;
use std::time::Duration;

use agents::Scripted;
use clock::Sources;
use domain::egress::Egress;
use effects::Effects;
use gateway::{ChannelSecret, GatewayConfig};
use ledger::{DigestKey, Identity, Ledger};
use objects::Objects;
use secrets::{Kms, SecretBytes};
use store::{Generation, Store};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::users::{self, Shared};

/// What outlives every life of a lineage.
#[derive(Debug, Clone)]
pub(crate) struct Lasting {
    pub(crate) ledger: Objects,
    pub(crate) objects: Objects,
    pub(crate) workspaces: std::path::PathBuf,
    pub(crate) kms: Arc<dyn Kms>,
    pub(crate) secret: SecretBytes,
    pub(crate) sources: Sources,
    pub(crate) dice: Sources,
    /// What somebody was told has happened. It must stay so.
    pub(crate) acknowledged: Shared,
}

#[derive(Debug)]
pub(crate) struct Life(Runtime);

/// What the roles of a life share.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) effects: Effects,
    pub(crate) generation: Generation,
    pub(crate) lasting: Lasting,
}

impl Life {
    /// Starts the roles on the database at `url`, and people with them if `users` are there.
    pub(crate) async fn start(url: String, lasting: Lasting, users: Option<users::Place>) -> anyhow::Result<Self> {
        let begun = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(begin(&url, lasting, users))?;
            anyhow::Ok(Self(runtime))
        });
        begun.await?
    }

    /// Ends everything where it stands.
    pub(crate) fn kill(self) {
        self.0.shutdown_background();
    }
}

async fn begin(url: &str, lasting: Lasting, users: Option<users::Place>) -> anyhow::Result<()> {
    let store = Store::connect(url, 12, lasting.sources.clone()).await?;
    let generation = store.generation_current().await?.ok_or_else(|| anyhow::anyhow!("there is no generation"))?;
    let identity = Identity { system: generation.system_id, generation: generation.generation, supersedes: None };
    let millis = Duration::from_millis;
    let settings = ledger::Settings { spacing: millis(2), quiet: millis(1), pause: millis(5), ..Default::default() };
    let writer = lasting.sources.id();
    let ledger = Ledger::open(lasting.ledger.clone(), identity, writer, lasting.sources.clone(), settings);
    let effects = Effects::new(store.clone(), ledger, DigestKey::derive(lasting.secret.expose()));
    effects.check().await?;
    let parts = Parts { store, effects, generation, lasting };
    roles(&parts);
    if let Some(place) = users {
        users::arrive(&parts, &place);
    }
    Ok(())
}

fn roles(parts: &Parts) {
    // Nobody shuts down in an orderly way here.
    let never = CancellationToken::new();
    let carrier = (parts.store.clone(), never.clone());
    tokio::spawn(async move { carrier.0.wakes_carry(&carrier.1).await });
    let config = GatewayConfig {
        poll: Duration::from_millis(10),
        backoff: Duration::from_millis(1),
        backoff_max: Duration::from_millis(10),
        egress: Egress::allowing(vec!["127.0.0.0/8".parse().expect("it is a network: that of the sink")]),
        ..GatewayConfig::default()
    };
    tokio::spawn(gateway::run(parts.gateway(), config, never.clone()));
    let settings = scheduler::Settings { poll: Duration::from_millis(10) };
    let (store, effects, shutdown) = (parts.store.clone(), parts.effects.clone(), never.clone());
    tokio::spawn(async move { scheduler::run(store, effects, &settings, shutdown).await });
    tokio::spawn(worker::run(parts.worker(), parts.worker_config(), never));
}

impl Parts {
    pub(crate) fn gateway(&self) -> gateway::Parts {
        gateway::Parts {
            store: self.store.clone(),
            effects: self.effects.clone(),
            generation: self.generation.clone(),
            channel_secret: ChannelSecret::new("1", self.lasting.secret.clone()),
            calls_per_minute: 0,
            messages_per_minute: 0,
            wrong_signatures_per_minute: 0,
        }
    }

    fn worker(&self) -> worker::Parts {
        worker::Parts {
            store: self.store.clone(),
            objects: self.lasting.objects.clone(),
            kms: self.lasting.kms.clone(),
            agents: vec![Arc::new(Scripted)],
            instance: self.lasting.sources.id(),
            generation: self.generation.generation,
        }
    }

    fn worker_config(&self) -> worker::Config {
        worker::Config {
            workspace_root: self.lasting.workspaces.clone(),
            concurrency: 4,
            lease: Duration::from_secs(10),
            poll: Duration::from_millis(20),
            drain: Duration::from_millis(50),
            backoff: Duration::from_millis(50),
        }
    }
}
