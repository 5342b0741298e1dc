//! A far side that records what reaches it and answers as it is told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::Value;
use tokio::sync::watch;

/// A status, and a Retry-After.
type Told = (u16, Option<&'static str>);

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) thread: String,
    pub(crate) text: String,
    pub(crate) status: u16,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Sink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// The next answers of a thread; then 200.
    answers: Mutex<HashMap<String, VecDeque<Told>>>,
    /// Whether requests are answered, or wait.
    gate: watch::Sender<bool>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { seen: Mutex::default(), answers: Mutex::default(), gate: watch::Sender::new(true) }
    }
}

impl Sink {
    /// Gives back the address that it listens at.
    pub(crate) async fn start() -> (Self, String) {
        let sink = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?signature=not-to-be-seen", listener.local_addr().unwrap());
        let router = Router::new().route("/hook", post(receive)).with_state(sink.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (sink, url)
    }

    pub(crate) fn answer(&self, thread: &str, answers: &[Told]) {
        self.shared.answers.lock().unwrap().entry(thread.to_owned()).or_default().extend(answers);
    }

    /// Requests that come now wait until it is opened.
    pub(crate) fn close_gate(&self) {
        self.shared.gate.send_replace(false);
    }

    pub(crate) fn open_gate(&self) {
        self.shared.gate.send_replace(true);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The texts that were accepted for `thread`, in the order that they came.
    pub(crate) fn accepted(&self, thread: &str) -> Vec<String> {
        let accepted = |seen: &Seen| seen.thread == thread && seen.status == 200;
        self.seen().into_iter().filter(accepted).map(|seen| seen.text).collect()
    }
}

async fn receive(State(sink): State<Sink>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let text = |name: &str| message["data"][name].as_str().unwrap().to_owned();
    let (thread, text) = (text("thread"), text("text"));
    let next = sink.shared.answers.lock().unwrap().get_mut(&thread).and_then(VecDeque::pop_front);
    let (status, retry_after) = next.unwrap_or((200, None));
    sink.shared.seen.lock().unwrap().push(Seen { headers, body, thread, text, status });
    sink.shared.gate.subscribe().wait_for(|open| *open).await.unwrap();
    let headers = HeaderMap::from_iter(retry_after.map(|at| (axum::http::header::RETRY_AFTER, at.parse().unwrap())));
    (StatusCode::from_u16(status).unwrap(), headers)
}
