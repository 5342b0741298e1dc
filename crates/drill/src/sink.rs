//! The recording sink: somebody outside the system who receives its deliveries and forgets none.
//!
//! It lives in the drill's process, so it outlives the system that is destroyed, and it is the oracle for "sent
//! before": what it accepted was really sent, whatever the rows say afterwards.
//!
//! It behaves as its paths say: `/accept`, `/flaky` (refuses each delivery once), `/refuse` (never accepts), `/later`
//! (asks to wait), `/slow` (answers when [`Sink::release`] says so), `/silent` (never answers, and only took what is in a
//! thread that begins with [`HEARD`]). A thread that [`Sink::hold`] names is refused with a long `Retry-After`.
//!
//! Channels whose name ends with [`PLAIN`] stand for receivers that take every repeat for a new message.
//!
//! Not here: judging what was received (`checks::gateway`).

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clock::{Sources, Timestamp};
use secrecy::SecretString;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long `/later` asks to wait, in seconds: longer than a backup of a small world takes.
const LATER_S: &str = "12";
/// Longer than any drill.
const MUCH_LATER_S: &str = "3600";

/// What the name of a channel ends with whose receiver sees repeats.
pub(crate) const PLAIN: &str = "-plain";
/// What the threads of `/silent` begin with whose messages were taken.
pub(crate) const HEARD: &str = "heard";

/// No path has a segment like this.
const ANY_CHANNEL: &str = "*";

/// One request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) delivery: Uuid,
    pub(crate) at: Timestamp,
    pub(crate) thread: String,
    pub(crate) sequence: i64,
    pub(crate) text: String,
    pub(crate) accepted: bool,
    /// `None`: whoever sent it never had an answer.
    pub(crate) answered_at: Option<Timestamp>,
    /// Whether the receiver looks at ids.
    pub(crate) takes_repeats_once: bool,
    /// Whether the signature was the channel's, if the channel's secret is known.
    pub(crate) signed: Option<bool>,
    /// Where it was meant to go, if it was redirected.
    pub(crate) redirected: bool,
    /// What the thread is asked, and can decide.
    pub(crate) asked: Option<Asked>,
}

/// A question that a thread is told of, with what decides it there.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) session: Uuid,
    pub(crate) interaction: Uuid,
    pub(crate) token: SecretString,
}

impl Asked {
    fn read(data: &Value) -> Option<Self> {
        let id = |value: &Value| value.as_str()?.parse().ok();
        let asked = &data["interaction"];
        let token = asked["token"].as_str()?.into();
        Some(Self { session: id(&data["session_id"])?, interaction: id(&asked["interaction_id"])?, token })
    }
}

#[derive(Debug, Default, Clone)]
struct Records {
    received: Vec<Received>,
    refused_once: HashSet<Uuid>,
    held_threads: HashSet<String>,
    /// By channel name in the path.
    signing_secrets: HashMap<String, String>,
}

/// A running sink. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Sink {
    address: SocketAddr,
    records: Arc<Mutex<Records>>,
    released: CancellationToken,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Shared {
    records: Arc<Mutex<Records>>,
    released: CancellationToken,
    sources: Sources,
}

impl Sink {
    /// Listens on a free port of the loopback interface.
    pub(crate) async fn start(sources: Sources) -> std::io::Result<Self> {
        Self::with(Records::default(), sources).await
    }

    /// Another one, that remembers what this one does so far.
    pub(crate) async fn replica(&self, sources: Sources) -> std::io::Result<Self> {
        let records = self.lock().clone();
        Self::with(records, sources).await
    }

    async fn with(records: Records, sources: Sources) -> std::io::Result<Self> {
        let records = Arc::new(Mutex::new(records));
        let released = CancellationToken::new();
        let shared = Shared { records: records.clone(), released: released.clone(), sources };
        let app = Router::new().route("/{behaviour}/{channel}", post(receive)).with_state(shared);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stopped).await });
        Ok(Self { address, records, released, stop })
    }

    /// The URL of `channel` with the given behaviour.
    pub(crate) fn url(&self, behaviour: &str, channel: &str) -> String {
        format!("http://{}/{behaviour}/{channel}", self.address)
    }

    /// Checks the signatures of `channel` with `secret` (`whsec_...`) from now on.
    pub(crate) fn expect_signature(&self, channel: &str, secret: &str) {
        self.lock().signing_secrets.insert(channel.to_owned(), secret.to_owned());
    }

    /// Checks the signatures of channels that it knows no secret of with this one.
    pub(crate) fn expect_signatures(&self, secret: &str) {
        self.expect_signature(ANY_CHANNEL, secret);
    }

    /// Refuses deliveries to `thread` and asks to wait.
    pub(crate) fn hold(&self, thread: &str) {
        self.lock().held_threads.insert(thread.to_owned());
    }

    /// Answers what `/slow` has kept waiting, and whatever else comes there; from now on `/later` asks to wait for long.
    pub(crate) fn release(&self) {
        self.released.cancel();
    }

    /// How many requests have arrived: a mark to take before a stage.
    pub(crate) fn mark(&self) -> usize {
        self.lock().received.len()
    }

    /// What arrived since `mark`.
    pub(crate) fn since(&self, mark: usize) -> Vec<Received> {
        self.lock().received[mark..].to_vec()
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().expect("no holder of this lock can panic")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn receive(
    State(shared): State<Shared>,
    Path((behaviour, channel)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(recorded) = record(&shared, (&behaviour, &channel), &headers, &body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match behaviour.as_str() {
        "slow" => {
            shared.released.cancelled().await;
            let mut records = shared.records.lock().expect("no holder of this lock can panic");
            let one = &mut records.received[recorded.place];
            (one.accepted, one.answered_at) = (true, Some(shared.sources.now()));
            StatusCode::NO_CONTENT.into_response()
        }
        "silent" => std::future::pending().await,
        _ => answer(&recorded, &behaviour, shared.released.is_cancelled()),
    }
}

/// A request that was noted.
struct Recorded {
    place: usize,
    accepted: bool,
    held: bool,
}

/// Notes a request. `None`: it is no delivery.
fn record(shared: &Shared, (behaviour, channel): (&str, &str), headers: &HeaderMap, body: &[u8]) -> Option<Recorded> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let delivery = text("webhook-id")?.parse().ok()?;
    let body_json: Value = serde_json::from_slice(body).ok()?;
    let data = &body_json["data"];
    let thread = data["thread"].as_str().unwrap_or_default().to_owned();
    let destination = text("cowork-destination").map(str::to_owned);
    // A redirected delivery is signed for the channel that it was meant for.
    let channel = destination.as_deref().map_or(channel, channel_of);
    let mut records = shared.records.lock().expect("no holder of this lock can panic");
    let secret = records.signing_secrets.get(channel).or_else(|| records.signing_secrets.get(ANY_CHANNEL));
    let signed = secret.map(|secret| verifies(secret, body, headers));
    let held = records.held_threads.contains(&thread);
    let accepted = !held
        && match behaviour {
            "refuse" | "later" | "slow" => false,
            "silent" => thread.starts_with(HEARD),
            "flaky" => !records.refused_once.insert(delivery),
            _ => true,
        };
    let (at, place) = (shared.sources.now(), records.received.len());
    records.received.push(Received {
        delivery,
        at,
        thread,
        sequence: data["sequence"].as_i64().unwrap_or_default(),
        text: data["text"].as_str().unwrap_or_default().to_owned(),
        accepted,
        answered_at: (!matches!(behaviour, "slow" | "silent")).then_some(at),
        takes_repeats_once: !channel.ends_with(PLAIN),
        signed,
        redirected: destination.is_some(),
        asked: Asked::read(data),
    });
    Some(Recorded { place, accepted, held })
}

fn answer(recorded: &Recorded, behaviour: &str, released: bool) -> Response {
    let Recorded { accepted, held, .. } = *recorded;
    let wait = |seconds| (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, seconds)]).into_response();
    match (accepted, held) {
        (true, _) => StatusCode::NO_CONTENT.into_response(),
        (false, true) => wait(MUCH_LATER_S),
        (false, false) if behaviour == "later" => wait(if released { MUCH_LATER_S } else { LATER_S }),
        (false, false) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The channel's name: the last segment of the path of its destination.
fn channel_of(destination: &str) -> &str {
    let path = destination.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

fn verifies(secret: &str, body: &[u8], headers: &HeaderMap) -> bool {
    standardwebhooks::Webhook::new(secret).is_ok_and(|webhook| webhook.verify(body, headers).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_asked_something_is_given_what_decides_it() {
        let id = "0192f0c0-0000-7000-8000-000000000001";
        let mut data = serde_json::json!({"session_id": id, "text": "may I?"});
        assert!(Asked::read(&data).is_none());
        data["interaction"] = serde_json::json!({"interaction_id": id, "token": "cwi_a"});
        let asked = Asked::read(&data).expect("a question");
        assert_eq!((asked.session, asked.interaction), (id.parse().unwrap(), id.parse().unwrap()));
    }

    #[test]
    fn a_destination_names_its_channel() {
        assert_eq!(channel_of("http://127.0.0.1:1/flaky/support?sig=1"), "support");
    }
}
