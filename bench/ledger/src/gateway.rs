//! Deliveries through the gateway's own code, with its database and a transport that takes everything at once, 1,000 in
//! flight: the ledger on a folder that is synced, against one that keeps what it gets in memory, never waits for more to
//! write, and so waits for nobody. The latter still encodes, which a process without a ledger would not do; it writes nothing.
//!
//! Both on one Postgres, in turn, so that a noisy moment hits both. A run ends when the last row says that its delivery
//! was sent, and nobody asks for that while messages are still leaving.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
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
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::number;
use crate::processor::Processor;

const IN_FLIGHT: usize = 1_000;
const THREADS: usize = 2_000;
const EACH: usize = 10;
const PATIENCE: Duration = Duration::from_secs(300);
const DELIVERIES: usize = THREADS * EACH;
const ROUNDS: usize = 7;

/// Takes everything, and says when it has all.
#[derive(Debug, Default)]
struct Nowhere {
    taken: AtomicUsize,
    all: Notify,
}

#[async_trait]
impl Channel for Nowhere {
    async fn send(&self, _: Outgoing<'_>) -> Result<Accepted, SendError> {
        if self.taken.fetch_add(1, Ordering::Relaxed) + 1 == DELIVERIES {
            self.all.notify_one();
        }
        Ok(Accepted)
    }
}

/// All rounds of one side.
#[derive(Debug, Default)]
struct Side {
    seconds: Vec<f64>,
    processor: Processor,
}

impl Side {
    fn add(&mut self, (seconds, processor): (f64, Processor)) {
        self.seconds.push(seconds);
        self.processor += processor;
    }

    fn per_second(&self) -> f64 {
        DELIVERIES as f64 / median(self.seconds.clone())
    }

    fn report(&self) -> Value {
        let [program, postgres] = self.processor.each(DELIVERIES * ROUNDS);
        json!({
            "per_second": self.per_second(),
            "program_us": program,
            "postgres_us": postgres,
            "others": self.processor.others(),
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) async fn measure() -> anyhow::Result<Value> {
    let database = Database::start()?;
    let sources = Sources::system();
    let (store, generation) = database.system(sources.clone()).await?;
    let org = store.org_create("bench", "role:bench").await?.org_id;
    let (mut on, mut off, mut objects) = (Side::default(), Side::default(), 0);
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir()?;
        let synced = Objects::open_folder(folder.path())?;
        let kept = (synced.clone(), Settings::default());
        let unkept =
            (Objects::over(Arc::new(FaultyStore::new(round as u64))), Settings { full: 1, ..Settings::default() });
        on.add(run(&database, &store, &generation, org, kept).await?);
        off.add(run(&database, &store, &generation, org, unkept).await?);
        objects += futures::StreamExt::count(synced.list("segments")).await;
    }
    let ratios = on.seconds.iter().zip(&off.seconds).map(|(on, off)| off / on);
    Ok(json!({
        "in_flight": IN_FLIGHT,
        "deliveries": DELIVERIES,
        "rounds": ROUNDS,
        "on": on.report(),
        "off": off.report(),
        "ratio": on.per_second() / off.per_second(),
        "ratios": ratios.collect::<Vec<f64>>(),
        "deliveries_per_object": (DELIVERIES * ROUNDS) as f64 / objects as f64,
    }))
}

/// As a table, a line for each side.
pub(crate) fn print(measured: &Value) {
    println!("\n| ledger | deliveries/s | program, us each | Postgres, us each | others had |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for name in ["off", "on"] {
        let [rate, program, postgres, others] =
            ["per_second", "program_us", "postgres_us", "others"].map(|field| number(&measured[name][field]));
        println!("| {name} | {rate:.0} | {program:.0} | {postgres:.0} | {:.0} % |", others * 100.0);
    }
    let [ratio, shared] = ["ratio", "deliveries_per_object"].map(|name| number(&measured[name]));
    println!("\nThrough the gateway, on against off: {ratio:.2}; {shared:.0} deliveries per object.");
}

/// Seconds that a gateway takes which finds all deliveries waiting, and the processor time.
async fn run(
    database: &Database,
    store: &Store,
    generation: &Generation,
    org: OrgId,
    (objects, settings): (Objects, Settings),
) -> anyhow::Result<(f64, Processor)> {
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
        calls_per_minute: 0,
        messages_per_minute: 0,
        wrong_signatures_per_minute: 0,
    };
    let config = GatewayConfig { concurrency: IN_FLIGHT, poll: Duration::from_millis(5), ..GatewayConfig::default() };
    let shutdown = CancellationToken::new();
    let nowhere = Arc::new(Nowhere::default());
    let mut connection = database.connect().await?;
    let (before, began) = (database.processor(), Instant::now());
    let gateway = tokio::spawn(gateway::run_over(parts, config, nowhere.clone(), shutdown.clone()));
    let through = tokio::time::timeout(PATIENCE, nowhere.all.notified()).await;
    through.context("the gateway does not get through")?;
    let left = "SELECT count(*) FROM deliveries WHERE state = 'pending'";
    while sqlx::query_scalar::<_, i64>(left).fetch_one(&mut connection).await? > 0 {
        anyhow::ensure!(began.elapsed() < PATIENCE, "the gateway does not record what became of deliveries");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (seconds, processor) = (began.elapsed().as_secs_f64(), database.processor() - before);
    let sent: i64 =
        sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE state = 'sent'").fetch_one(&mut connection).await?;
    anyhow::ensure!(usize::try_from(sent) == Ok(DELIVERIES), "{sent} of {DELIVERIES} deliveries were sent");
    shutdown.cancel();
    gateway.await?;
    effects.close().await;
    database.tell("TRUNCATE deliveries, usage_records".to_owned()).await?;
    Ok((seconds, processor))
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
