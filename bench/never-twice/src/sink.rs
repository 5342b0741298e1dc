//! The oracle: somebody outside who is told of every message and every tick, and counts.
//!
//! Messages are counted by what they say, not by an id that a sender chose: a destination that does not deduplicate
//! would have shown each of them to a person.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};

type Counts = Arc<Mutex<BTreeMap<(String, String), u32>>>;

/// A running sink.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    address: SocketAddr,
    counts: Counts,
    open: Arc<AtomicBool>,
}

/// What came of a disaster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Different messages that arrived.
    pub(crate) sent: u32,
    /// Of these, more than once.
    pub(crate) duplicated: u32,
    pub(crate) lost: u32,
    pub(crate) double_fired: u32,
}

impl Sink {
    /// Listens on a free port of the loopback interface, until the process ends.
    pub(crate) async fn start() -> std::io::Result<Self> {
        let counts = Counts::default();
        let open = Arc::new(AtomicBool::new(false));
        let app = Router::new()
            .route("/{kind}/{name}", post(told))
            .with_state(counts.clone())
            .route("/hook", post(hooked))
            .with_state((counts.clone(), open.clone()));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, counts, open })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A destination of webhooks; away until [`Self::open`].
    pub(crate) fn hook(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    /// A tick, from somebody who looked.
    pub(crate) fn tick(&self, name: &str) {
        note(&self.counts, "tick", name);
    }

    /// How often anything of this kind was told.
    pub(crate) fn told(&self, kind: &str) -> u32 {
        self.all(kind).iter().sum()
    }

    fn all(&self, kind: &str) -> Vec<u32> {
        let counts = self.counts.lock().expect("no holder of this lock can panic");
        counts.iter().filter(|((of, _), _)| of == kind).map(|(_, times)| *times).collect()
    }

    /// `expected`: how many different messages there were to send.
    pub(crate) fn tally(&self, expected: u32) -> Tally {
        let more_than_once = |kind| u32::try_from(self.all(kind).iter().filter(|times| **times > 1).count());
        let sent = u32::try_from(self.all("message").len()).unwrap_or(u32::MAX);
        Tally {
            sent,
            duplicated: more_than_once("message").unwrap_or(u32::MAX),
            lost: expected.saturating_sub(sent),
            double_fired: more_than_once("tick").unwrap_or(u32::MAX),
        }
    }
}

fn note(counts: &Counts, kind: &str, name: &str) {
    let mut counts = counts.lock().expect("no holder of this lock can panic");
    *counts.entry((kind.to_owned(), name.to_owned())).or_default() += 1;
}

async fn hooked(
    State((counts, open)): State<(Counts, Arc<AtomicBool>)>,
    Json(message): Json<serde_json::Value>,
) -> StatusCode {
    if !open.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    note(&counts, "message", message["data"]["text"].as_str().unwrap_or_default());
    StatusCode::NO_CONTENT
}

async fn told(State(counts): State<Counts>, Path((kind, name)): Path<(String, String)>) -> StatusCode {
    note(&counts, &kind, &name);
    StatusCode::NO_CONTENT
}
