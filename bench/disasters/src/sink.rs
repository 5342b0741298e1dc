//! The world outside: destinations that take messages, remember each, and answer as destinations do.
//!
//! One that takes an idempotency key takes a repeat once, and sometimes has taken a message whose answer gets lost. One
//! that takes none says what it did, or it is not reached at all: what it took twice is a duplicate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use clock::Sources;
use serde_json::Value;

/// Which lineage a message comes from, and whether the destination takes a key.
type Place = (u64, bool);

/// What a destination took: by text, the ids that it came under, and how often.
pub(crate) type Taken = BTreeMap<String, (BTreeSet<String>, u64)>;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    taken: Arc<Mutex<BTreeMap<Place, Taken>>>,
    dice: Sources,
    port: u16,
}

impl Sink {
    pub(crate) async fn start(dice: Sources) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let sink = Self { taken: Arc::default(), dice, port: listener.local_addr()?.port() };
        let router = Router::new().route("/{lineage}/{kind}", post(take)).with_state(sink.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(sink)
    }

    /// Where a lineage's messages go.
    pub(crate) fn url(&self, lineage: u64, keyed: bool) -> String {
        format!("http://127.0.0.1:{}/{lineage}/{}", self.port, if keyed { "keyed" } else { "plain" })
    }

    pub(crate) fn taken(&self, lineage: u64, keyed: bool) -> Taken {
        self.all().get(&(lineage, keyed)).cloned().unwrap_or_default()
    }

    /// How many messages a lineage's destinations have taken, repeats and all.
    pub(crate) fn arrivals(&self, lineage: u64) -> u64 {
        let all = self.all();
        [true, false]
            .iter()
            .filter_map(|keyed| all.get(&(lineage, *keyed)))
            .flatten()
            .map(|(_, (_, times))| times)
            .sum()
    }

    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<Place, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(
    State(sink): State<Sink>,
    Path((lineage, kind)): Path<(u64, String)>,
    headers: HeaderMap,
    body: axum::Json<Value>,
) -> StatusCode {
    let keyed = kind == "keyed";
    let (chance, pause) = (sink.dice.below(100), sink.dice.below(12));
    tokio::time::sleep(Duration::from_millis(pause.into())).await;
    if chance < 5 {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let text = body["data"]["text"].as_str().unwrap_or_default().to_owned();
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    {
        let mut all = sink.all();
        let (ids, times) = all.entry((lineage, keyed)).or_default().entry(text).or_default();
        ids.insert(id);
        *times += 1;
    }
    // The message is taken, and its answer is still on the way: a gateway that is killed now does not know.
    tokio::time::sleep(Duration::from_millis(pause.into())).await;
    if keyed && chance < 15 { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::OK }
}
