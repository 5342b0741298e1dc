//! The world outside: destinations that take messages, remember each, and answer as destinations do on bad days.
//!
//! One that takes keys may have taken a message whose answer got lost, and takes the repeat for the same. One that takes none
//! says what it did, or its answer is lost: what it took twice is a fault.
//!
//! Not here: judging what arrived (`laws`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use clock::Sources;
use serde_json::Value;
use uuid::Uuid;

/// Longer than any sender waits.
const NEVER: Duration = Duration::from_secs(30);
/// Of a hundred messages on a good day, so many are refused.
const REFUSED: u32 = 3;

/// How destinations behave just now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Weather {
    #[default]
    Fair,
    /// Nothing is taken, and all hear so.
    Refusing,
    /// Half is taken, and nobody hears of it.
    Silent,
    /// All is taken, and a proxy in between does not know.
    Losing,
}

/// A message that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) delivery: Uuid,
    pub(crate) plain: bool,
    pub(crate) thread: String,
    pub(crate) sequence: i64,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    port: u16,
    dice: Sources,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    weather: Weather,
    /// In the order in which they came.
    arrivals: Vec<Arrival>,
}

impl Sink {
    pub(crate) async fn start(dice: Sources) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let sink = Self { port: listener.local_addr()?.port(), dice, seen: Arc::default() };
        let router = Router::new().route("/{kind}", post(take)).with_state(sink.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(sink)
    }

    /// A destination that takes keys.
    pub(crate) fn keyed(&self) -> String {
        format!("http://127.0.0.1:{}/keyed", self.port)
    }

    /// One that takes every repeat for a new message.
    pub(crate) fn plain(&self) -> String {
        format!("http://127.0.0.1:{}/plain", self.port)
    }

    pub(crate) fn turn(&self, weather: Weather) {
        self.seen().weather = weather;
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.seen().arrivals.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on a message and remembers it if it is taken, as one step.
    fn decide(&self, arrival: Arrival) -> Answer {
        let mut seen = self.seen();
        let (taken, answer) = match seen.weather {
            Weather::Fair if self.dice.below(100) < REFUSED => (false, Answer::Refused),
            Weather::Fair => (true, Answer::Taken),
            Weather::Refusing => (false, Answer::Refused),
            Weather::Silent => (self.dice.below(2) == 0, Answer::None),
            Weather::Losing => (true, Answer::Lost),
        };
        if taken {
            seen.arrivals.push(arrival);
        }
        answer
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Taken,
    Refused,
    Lost,
    None,
}

async fn take(
    State(sink): State<Sink>,
    Path(kind): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    let delivery = headers.get("webhook-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (Some(delivery), Some(sequence)) = (delivery, body["data"]["sequence"].as_i64()) else {
        return StatusCode::BAD_REQUEST;
    };
    let thread = body["data"]["thread"].as_str().unwrap_or_default().to_owned();
    match sink.decide(Arrival { delivery, plain: kind == "plain", thread, sequence }) {
        Answer::Taken => StatusCode::NO_CONTENT,
        Answer::Refused => StatusCode::INTERNAL_SERVER_ERROR,
        Answer::Lost => StatusCode::GATEWAY_TIMEOUT,
        Answer::None => {
            tokio::time::sleep(NEVER).await;
            StatusCode::GATEWAY_TIMEOUT
        }
    }
}
