//! Deliveries through the gateway's own code, with its database and a transport that takes everything at once, 1,000 in
//! flight: the ledger on a folder that is synced, against one that keeps nothing and waits for nobody. The latter still
//! encodes and gathers, which is what a process without a ledger would not do; it writes nothing.
//!
//! Both on one Postgres, in turn, so that a noisy moment hits both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use channels::{Accepted, Channel, Outgoing, SendError};
use clock::Sources;
use effects::Effects;
use gateway::{ChannelSecret, GatewayConfig, Parts};
use ids::OrgId;
use ledger::{DigestKey, Identity, Ledger, Settings};
use objects::Objects;
use secrets::SecretBytes;
use serde_json::{Value, json};
use store::{Generation, Store};
use testkit::FaultyStore;
use tokio_util::sync::CancellationToken;

use crate::database::Database;

const IN_FLIGHT: usize = 1_000;
const THREADS: usize = 2_000;
const EACH: usize = 10;
const ROUNDS: usize = 3;

/// Takes everything.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Channel for Nowhere {
    async fn send(&self, _: Outgoing<'_>) -> Result<Accepted, SendError> {
        Ok(Accepted)
    }
}

pub(crate) async fn measure() -> anyhow::Result<Value> {
    let database = Database::start()?;
    let sources = Sources::system();
    let (store, generation) = database.system(sources.clone()).await?;
    let org = store.org_create("bench", "role:bench").await?.org_id;
    let (mut on, mut off, mut objects) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir()?;
        let synced = Objects::open_folder(folder.path())?;
        let kept = (synced.clone(), Settings::default());
        let nothing = Settings { quiet: Duration::ZERO, spacing: Duration::ZERO, ..Settings::default() };
        let unkept = (Objects::over(Arc::new(FaultyStore::new(round as u64))), nothing);
        on.push(rate(&database, &store, &generation, org, kept).await?);
        off.push(rate(&database, &store, &generation, org, unkept).await?);
        objects += futures::StreamExt::count(synced.list("segments")).await;
    }
    let [on, off] = [on, off].map(|mut rates: Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    let deliveries = THREADS * EACH * ROUNDS;
    Ok(json!({
        "in_flight": IN_FLIGHT,
        "deliveries": THREADS * EACH,
        "on_per_second": on,
        "off_per_second": off,
        "ratio": on / off,
        "deliveries_per_object": deliveries as f64 / objects as f64,
    }))
}

/// Deliveries per second of a gateway that finds all of them waiting.
async fn rate(
    database: &Database,
    store: &Store,
    generation: &Generation,
    org: OrgId,
    (objects, settings): (Objects, Settings),
) -> anyhow::Result<f64> {
    database.tell(deliveries(org)).await?;
    let identity = Identity { system: generation.system_id, generation: generation.generation, supersedes: None };
    let sources = store.sources().clone();
    let ledger = Ledger::open(objects, identity, sources.id(), sources, settings);
    let effects = Effects::new(store.clone(), ledger, DigestKey::derive(b"bench"));
    let secret = SecretBytes::new(vec![7; 32]);
    let parts = Parts {
        store: store.clone(),
        effects: effects.clone(),
        generation: generation.clone(),
        channel_secret: ChannelSecret::new("1", secret),
    };
    let config = GatewayConfig { concurrency: IN_FLIGHT, poll: Duration::from_millis(5), ..GatewayConfig::default() };
    let shutdown = CancellationToken::new();
    let began = Instant::now();
    let gateway = tokio::spawn(gateway::run_over(parts, config, Arc::new(Nowhere), shutdown.clone()));
    let mut connection = database.connect().await?;
    let left = "SELECT count(*) FROM deliveries WHERE state <> 'sent'";
    while sqlx::query_scalar::<_, i64>(left).fetch_one(&mut connection).await? > 0 {
        anyhow::ensure!(began.elapsed() < Duration::from_secs(300), "the gateway does not get through");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    shutdown.cancel();
    gateway.await?;
    effects.close().await;
    database.tell("TRUNCATE deliveries, usage_records".to_owned()).await?;
    Ok((THREADS * EACH) as f64 / seconds)
}

/// Deliveries that are due, in so many threads.
fn deliveries(org: OrgId) -> String {
    format!(
        "BEGIN;
         CREATE TEMPORARY TABLE thread ON COMMIT DROP AS
            SELECT gen_random_uuid() AS session_id, gen_random_uuid() AS binding_id, n FROM generate_series(1, {THREADS}) AS n;
         CREATE TEMPORARY TABLE channel ON COMMIT DROP AS SELECT gen_random_uuid() AS channel_id;
         INSERT INTO channels (org_id, channel_id, kind, name, destination, secret_version, created_at)
            SELECT '{org}', channel_id, 'webhook', channel_id::text, 'http://127.0.0.1:9/', '1', now() FROM channel;
         INSERT INTO sessions (org_id, session_id, title, agent, last_sequence, last_ordinal, generation, fencing_counter,
                created_at, updated_at)
            SELECT '{org}', session_id, 'bench', 'scripted', 0, 0, 1, 0, now(), now() FROM thread;
         INSERT INTO bindings (org_id, binding_id, channel_id, thread, session_id, created_at)
            SELECT '{org}', binding_id, channel_id, 'thread ' || n, session_id, now() FROM thread, channel;
         INSERT INTO deliveries (org_id, delivery_id, channel_id, binding_id, sequence, payload, state, next_attempt_at,
                created_at)
            SELECT '{org}', gen_random_uuid(), channel_id, binding_id, s, '{{\"text\": \"hello\"}}', 'pending', now(), now()
            FROM generate_series(1, {EACH}) AS s, thread, channel;
         COMMIT; ANALYZE deliveries, bindings, sessions;"
    )
}
