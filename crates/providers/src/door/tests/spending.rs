//! What is counted of what goes through a door, and what bounds it.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse as _;
use domain::quota::{QuotaPeriod, UsageKind};
use domain::spend::{Exceeded, ModelSpend, ModelUse, QuotaLeft, TurnLimits};
use futures::future::select_all;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;

type Answer = dyn Fn(&str) -> Response + Send + Sync;

/// What a provider was asked.
type Asked = Arc<std::sync::Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A provider that answers as it is told to, and a door to it.
struct Played {
    door: Door,
    asked: Asked,
    _provider: DropGuard,
}

impl Played {
    async fn open(name: &str, answer: impl Fn(&str) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer): (Asked, Arc<Answer>) = (Asked::default(), Arc::new(answer));
        let router = Router::new().fallback(play).with_state((asked.clone(), answer));
        let closed = CancellationToken::new();
        let until = closed.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = until.cancelled() => {}
                served = async { axum::serve(listener, router).await } => served.unwrap(),
            }
        });
        let door = doors(name, &address, &here()).open(name, SecretString::from(key()), &token()).await;
        let door = door.unwrap().unwrap();
        door.meter().begin(Bounds::default(), Spent::default());
        Self { door, asked, _provider: closed.drop_guard() }
    }

    fn limit(&self, tokens: Option<i64>, requests: Option<i64>) {
        let limits = TurnLimits { tokens, requests };
        self.door.meter().begin(Bounds { limits, quotas: Vec::new() }, Spent::default());
    }

    fn ask(&self, path: &str) -> reqwest::RequestBuilder {
        Client::new().post(format!("{}{path}", self.door.base_url())).body("{}")
    }

    async fn answer(&self, path: &str) -> (u16, String) {
        let answer = self.ask(path).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// What was spent, once nothing is under way.
    async fn spent(&self) -> Vec<ModelSpend> {
        tokio::time::timeout(Duration::from_secs(30), self.door.meter().quiet()).await.unwrap();
        self.door.meter().take()
    }
}

async fn play(
    State((asked, answer)): State<(Asked, Arc<Answer>)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    asked.lock().unwrap().push((headers, body));
    answer(uri.path())
}

fn answer(kind: &'static str, body: Body) -> Response {
    Response::builder().header(header::CONTENT_TYPE, kind).body(body).unwrap()
}

fn whole(answered: &Value) -> Response {
    answer("application/json", Body::from(answered.to_string()))
}

fn five() -> Response {
    whole(&json!({ "model": "m", "usage": { "input_tokens": 3, "output_tokens": 2 } }))
}

fn spend(provider: &str, tokens: (i64, i64, i64), requests: i64, requests_unknown: i64) -> ModelSpend {
    let (input_tokens, output_tokens, cached_tokens) = tokens;
    let model =
        ModelUse { provider: provider.into(), name: Some("m".into()), cached_tokens, requests, requests_unknown };
    ModelSpend { input_tokens, output_tokens, model }
}

/// A stream that is sent piece by piece.
fn streamed() -> (mpsc::Sender<Result<Bytes, io::Error>>, impl Fn(&str) -> Response) {
    let (send, pieces) = mpsc::channel(1);
    let pieces = std::sync::Mutex::new(Some(pieces));
    let one = move |_: &str| {
        let pieces = pieces.lock().unwrap().take().expect("it is asked once");
        let pieces = stream::unfold(pieces, async |mut pieces: mpsc::Receiver<_>| Some((pieces.recv().await?, pieces)));
        answer("text/event-stream", Body::from_stream(pieces))
    };
    (send, one)
}

const BEGINNING: &str = "data: {\"type\": \"message_start\", \"message\": {\"model\": \"m\", \"usage\": {\"input_tokens\": 10, \
                         \"cache_read_input_tokens\": 5, \"output_tokens\": 1}}}\n\n";
const END: &str = "data: {\"type\": \"message_delta\", \"usage\": {\"output_tokens\": 7}}\n\n";

#[tokio::test]
async fn a_stream_is_counted_as_it_passes_and_never_held_back() {
    let (send, one) = streamed();
    let played = Played::open("anthropic", one).await;
    let mut answer = played.ask("/v1/messages").header("accept-encoding", "gzip").send().await.unwrap();
    // Each piece has arrived before the next one is there.
    for piece in ["da", &BEGINNING[2..], &END[..20], &END[20..], "data: {\"type\""] {
        send.send(Ok(piece.into())).await.unwrap();
        let mut seen = String::new();
        while seen.len() < piece.len() {
            seen += std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap();
        }
        assert_eq!(seen, piece);
    }
    drop(send);
    assert_eq!(answer.chunk().await.unwrap(), None);
    assert_eq!(played.spent().await, [spend("anthropic", (15, 7, 5), 1, 0)]);
    assert_eq!(played.spent().await, [], "it is told once");
    let asked = played.asked.lock().unwrap();
    assert_eq!(asked[0].0[header::ACCEPT_ENCODING], "identity", "what is packed can't be read");
}

#[tokio::test]
async fn an_answer_that_breaks_off_took_what_it_had_told_and_more() {
    for broken_by_agent in [true, false] {
        let (send, one) = streamed();
        let played = Played::open("anthropic", one).await;
        let mut answer = played.ask("/v1/messages").send().await.unwrap();
        send.send(Ok(BEGINNING.into())).await.unwrap();
        assert!(answer.chunk().await.unwrap().is_some());
        if broken_by_agent {
            drop(answer);
        } else {
            send.send(Err(io::Error::other("it broke"))).await.unwrap();
            assert!(answer.chunk().await.is_err());
        }
        assert_eq!(played.spent().await, [spend("anthropic", (15, 1, 5), 1, 1)], "{broken_by_agent}");
    }
}

#[tokio::test]
async fn what_does_not_say_what_it_took_is_unknown_and_what_took_nothing_is_not_counted() {
    let played = Played::open("openai", |path| match path {
        "/v1/packed" => {
            let packed = [(header::CONTENT_ENCODING, "gzip"), (header::CONTENT_TYPE, "application/json")];
            (packed, "{\"usage\": {\"input_tokens\": 3, \"output_tokens\": 2}}").into_response()
        }
        "/v1/refused" => (StatusCode::BAD_REQUEST, five()).into_response(),
        "/v1/silent" => whole(&json!({ "output": [] })),
        _ => five(),
    })
    .await;
    for (path, status) in [("/v1/packed", 200), ("/v1/silent", 200), ("/v1/refused", 400), ("/v1/x/count_tokens", 200)]
    {
        assert_eq!(played.answer(path).await.0, status, "{path}");
    }
    Client::new().get(format!("{}/v1/models", played.door.base_url())).send().await.unwrap().text().await.unwrap();
    let mut unknown = spend("openai", (0, 0, 0), 2, 2);
    unknown.model.name = None;
    assert_eq!(played.spent().await, [unknown]);
    assert_eq!(played.answer("/v1/responses").await.0, 200);
    assert_eq!(played.spent().await, [spend("openai", (3, 2, 0), 1, 0)]);
}

#[tokio::test]
async fn a_provider_that_is_not_there_took_nothing() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let doors = doors("openai", &address, &here());
    let door = doors.open("openai", SecretString::from(key()), &token()).await.unwrap().unwrap();
    door.meter().begin(Bounds::default(), Spent::default());
    let answer = Client::new().post(format!("{}/v1/responses", door.base_url())).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    door.meter().quiet().await;
    assert_eq!(door.meter().take(), []);
}

#[tokio::test]
async fn a_turn_that_has_spent_what_it_may_is_told_so_as_its_provider_would() {
    for (provider, kind) in [("openai", "insufficient_quota"), ("anthropic", "rate_limit_error")] {
        let played = Played::open(provider, |_| five()).await;
        played.limit(Some(10), None);
        assert_eq!([played.answer("/v1/x").await.0, played.answer("/v1/x").await.0], [200, 200]);
        assert_eq!(played.door.meter().exceeded(), None);
        let refused = played.ask("/v1/x").send().await.unwrap();
        assert_eq!((refused.status().as_u16(), &refused.headers()["x-should-retry"]), (429, &"false".parse().unwrap()));
        let said: Value = refused.json().await.unwrap();
        assert_eq!(said["error"]["type"], kind, "{said}");
        assert!(said["error"]["message"].as_str().unwrap().contains("the 10 tokens that it may take"), "{said}");
        played.door.meter().changed().await;
        assert_eq!((played.door.meter().exceeded(), played.asked()), (Some(Exceeded::Tokens(10)), 2));
        assert_eq!(played.spent().await, [spend(provider, (6, 4, 0), 2, 0)]);
        played.limit(None, Some(1));
        assert_eq!([played.answer("/v1/x").await.0, played.answer("/v1/x").await.0], [200, 429]);
        assert_eq!(played.door.meter().exceeded(), Some(Exceeded::Requests(1)));
    }
}

#[tokio::test]
async fn what_is_left_of_a_quota_is_left_for_all_attempts_at_a_turn() {
    let played = Played::open("openai", |_| five()).await;
    let ends_at = "2024-04-01T00:00:00Z".parse().unwrap();
    let quota = QuotaLeft { kind: UsageKind::InputTokens, period: QuotaPeriod::Month, left: 9, ends_at };
    let bounds = Bounds { limits: TurnLimits::default(), quotas: vec![quota] };
    let before = Spent { requests: 1, input_tokens: 5, output_tokens: 100 };
    played.door.meter().begin(bounds, before);
    assert_eq!([played.answer("/v1/x").await.0, played.answer("/v1/x").await.0], [200, 200]);
    let (status, said) = played.answer("/v1/x").await;
    assert_eq!(status, 429);
    assert!(said.contains("quota of input tokens for this month is used up; wait until 2024-04-01"), "{said}");
    assert_eq!(played.asked(), 2);
}

#[tokio::test]
async fn nothing_is_asked_between_turns() {
    let played = Played::open("openai", |_| five()).await;
    played.door.meter().end();
    let (status, said) = played.answer("/v1/x").await;
    assert!(status == 429 && said.contains("no turn goes on"), "{said}");
    assert_eq!((played.asked(), played.door.meter().exceeded()), (0, None));
}

#[tokio::test]
async fn more_requests_than_may_wait_are_told_to_come_again() {
    let played = Played::open("openai", |_| five()).await;
    // Their bodies do not end, so they stay.
    let endless = |_| {
        let body = stream::once(async { Ok::<_, io::Error>(Bytes::from_static(b"x")) }).chain(stream::pending());
        let request = Client::new().post(format!("{}/v1/x", played.door.base_url()));
        Box::pin(request.body(reqwest::Body::wrap_stream(body)).send())
    };
    let (answered, _, waiting) = select_all((0..=THERE_MAX).map(endless)).await;
    let answered = answered.unwrap();
    assert_eq!((answered.status().as_u16(), &answered.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    assert_eq!((waiting.len(), played.asked(), played.door.meter().exceeded()), (THERE_MAX, 0, None));
    drop(waiting);
    let again = async { while played.answer("/v1/x").await.0 != 200 {} };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_a_chat_is_asked_what_it_takes() {
    let told =
        "data: {\"model\": \"m\", \"choices\": [], \"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 2}}\n\n";
    let played = Played::open("openai", move |_| answer("text/event-stream", Body::from(told))).await;
    let asked = played.ask("/v1/chat/completions").body("{\"stream\": true, \"model\": \"m\"}").send().await.unwrap();
    assert_eq!(asked.text().await.unwrap(), told);
    let asked: Value = serde_json::from_slice(&played.asked.lock().unwrap()[0].1).unwrap();
    assert_eq!(asked, json!({ "stream": true, "model": "m", "stream_options": { "include_usage": true } }));
    assert_eq!(played.spent().await, [spend("openai", (3, 2, 0), 1, 0)]);
}
