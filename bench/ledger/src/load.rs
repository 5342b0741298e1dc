//! Writing: under load, and at rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clock::Sources;
use futures::StreamExt as _;
use ids::{DeliveryId, OrgId};
use ledger::{Identity, Ledger, Outcome, Record, Settings};
use objects::Objects;
use serde_json::{Value, json};

const IN_FLIGHT: usize = 1_000;
const DELIVERIES: u32 = 50_000;
const REST: Duration = Duration::from_secs(20);

/// `DELIVERIES`, `IN_FLIGHT` at a time, whose sends take `send_ms`.
pub(crate) async fn under_load(send_ms: u64) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    let (ledger, sources) = open(&Objects::open_folder(folder.path())?);
    let begun = Arc::new(AtomicU32::new(0));
    let began = Instant::now();
    let senders = (0..IN_FLIGHT).map(|_| {
        let (ledger, sources, begun) = (ledger.clone(), sources.clone(), begun.clone());
        tokio::spawn(async move {
            let mut calls = Vec::new();
            while begun.fetch_add(1, Ordering::Relaxed) < DELIVERIES {
                deliver(&ledger, &sources, Duration::from_millis(send_ms), &mut calls).await?;
            }
            anyhow::Ok(calls)
        })
    });
    let mut calls = Vec::new();
    for sender in futures::future::join_all(senders).await {
        calls.extend(sender??);
    }
    let seconds = began.elapsed().as_secs_f64();
    ledger.close().await;
    calls.sort_unstable();
    let percentile = |part: usize| calls[(calls.len() - 1) * part / 100].as_secs_f64() * 1_000.0;
    let segments = Objects::open_folder(folder.path())?.list("segments").count().await;
    Ok(json!({
        "send_ms": send_ms,
        "deliveries": DELIVERIES,
        "deliveries_per_second": f64::from(DELIVERIES) / seconds,
        "objects": segments,
        "deliveries_per_object": f64::from(DELIVERIES) / segments as f64,
        "call_p50_ms": percentile(50),
        "call_p99_ms": percentile(99),
    }))
}

async fn deliver(ledger: &Ledger, sources: &Sources, send: Duration, calls: &mut Vec<Duration>) -> anyhow::Result<()> {
    let (org, delivery): (OrgId, DeliveryId) = (sources.id(), sources.id());
    let outcome = Outcome::Sent { message: None };
    let intent = Record::DeliveryIntent { org, delivery, attempt: 1, deduplicates: true };
    let outcome = Record::DeliveryOutcome { org, delivery, attempt: 1, outcome };
    for record in [intent, outcome] {
        let began = Instant::now();
        ledger.record(vec![record]).await?;
        calls.push(began.elapsed());
        if !send.is_zero() && calls.len() % 2 == 1 {
            tokio::time::sleep(send).await;
        }
    }
    Ok(())
}

/// An open ledger that nobody writes to, asked for the fence every two seconds.
pub(crate) async fn at_rest() -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    let objects = Objects::open_folder(folder.path())?;
    let (ledger, _) = open(&objects);
    let began = Instant::now();
    while began.elapsed() < REST {
        ledger.check().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let written = objects.list("").count().await;
    Ok(json!({ "seconds": REST.as_secs(), "objects": written }))
}

pub(crate) fn open(objects: &Objects) -> (Ledger, Sources) {
    let sources = Sources::system();
    let identity = Identity { system: sources.id(), generation: 1, supersedes: None };
    (Ledger::open(objects.clone(), identity, sources.id(), sources.clone(), Settings::default()), sources)
}
