//! Doors to providers: addresses on this machine at which a provider answers whoever knows the door's token, and has the key put in
//! on the way.
//!
//! A request is taken whole, bounded, and sent with the key and the few headers that providers want; the answer goes back as it comes.
//! Whatever the request brings as a key of its own is left behind. Neither is written down anywhere. What answers take is counted on
//! the way, and a turn that has spent what it may is answered as a provider would that has no more for it.
//!
//! Not promised: that the one who knows the token is the agent that it was made for; that everything that costs is seen: what a
//! provider does later, as with batches, is not.
//!
//! Not here: whose key it is (`worker`), which addresses may be called (`domain::egress`), what a turn may spend (`domain::spend`).

mod answer;
mod asked;
mod meter;
mod refusal;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use domain::egress::Egress;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use reqwest::{Client, Url};
use secrecy::SecretString;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::answer::Reader;
pub use self::meter::Meter;
use self::meter::UnderWay;
use self::refusal::Refusal;
use crate::NoClient;
use crate::http::Scheme;

/// Of a request. Long conversations with pictures are smaller.
const BODY_MAX: usize = 32 << 20;
/// Requests through one door at the same time; what is beyond them waits.
const AT_ONCE: usize = 8;
/// Requests that wait for that, or for an answer to begin. Others are told to come again.
const THERE_MAX: usize = 64;
/// Of one request, with all of its answer.
const ANSWER: Duration = Duration::from_secs(1_800);
/// Without a byte of the answer.
const SILENCE: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(20);

/// The providers that this build knows, with their own addresses.
const OWN: [(&str, &str, Scheme); 2] = [
    ("anthropic", "https://api.anthropic.com", Scheme::Anthropic),
    ("openai", "https://api.openai.com", Scheme::Bearer),
];

/// Who can be asked through doors, and where. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Doors(Arc<BTreeMap<&'static str, Upstream>>);

#[derive(Debug, Clone)]
struct Upstream {
    client: Client,
    egress: Egress,
    /// What the path of a request is put behind; without a slash at its end.
    address: String,
    scheme: Scheme,
}

/// Closed when it is dropped, also for what is still being answered.
#[derive(Debug)]
pub struct Door {
    base_url: String,
    port: u16,
    meter: Meter,
    _open: DropGuard,
}

#[derive(Clone)]
struct Behind {
    token: Arc<str>,
    upstream: Upstream,
    key: Arc<SecretString>,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    meter: Meter,
}

impl fmt::Debug for Behind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Behind").field("upstream", &self.upstream.address).finish_non_exhaustive()
    }
}

/// Says what is counted at doors, before anybody asks at one.
pub fn describe() {
    let by = |label: &'static str, values: &'static [&'static str]| {
        let each =
            move |provider: &'static str| values.iter().map(move |value| [("provider", provider), (label, *value)]);
        OWN.into_iter().flat_map(move |(provider, ..)| each(provider))
    };
    let outcomes = by("outcome", &meter::OUTCOMES);
    measures::counters("cowork_model_requests_total", "requests that went through agents' doors, by outcome", outcomes);
    let kinds = by("kind", &meter::KINDS);
    measures::counters("cowork_model_tokens_total", "tokens that providers said they took, by kind", kinds);
    let reasons = by("reason", &refusal::REASONS);
    measures::counters(
        "cowork_model_refusals_total",
        "requests of agents that their doors refused, by reason",
        reasons,
    );
}

impl Doors {
    /// Nobody can be asked.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// To the providers that this build knows. `elsewhere` has addresses in the place of their own, by name: of something that an
    /// operator runs, which is given the keys.
    ///
    /// # Errors
    /// If the HTTP client can't be set up, which is the machine's fault.
    pub fn over_http(egress: &Egress, elsewhere: &BTreeMap<String, String>) -> Result<Self, NoClient> {
        let mut doors = BTreeMap::new();
        for (name, address, scheme) in OWN {
            let client = egress::guarded(ANSWER, egress.clone())
                .read_timeout(SILENCE)
                .connect_timeout(CONNECT)
                .https_only(!elsewhere.contains_key(name));
            let address = elsewhere.get(name).map_or(address, String::as_str).trim_end_matches('/').to_owned();
            let upstream = Upstream { client: client.build()?, egress: egress.clone(), address, scheme };
            doors.insert(name, upstream);
        }
        Ok(Self(Arc::new(doors)))
    }

    #[must_use]
    pub fn lead_to(&self, provider: &str) -> bool {
        self.0.contains_key(provider)
    }

    /// Opens a door to `provider`, where everybody who knows `token` asks with `key` while a turn goes on ([`Meter::begin`]). `None`:
    /// there is no such provider here.
    ///
    /// # Errors
    /// If this machine has no port for it.
    pub async fn open(&self, provider: &str, key: SecretString, token: &str) -> io::Result<Option<Door>> {
        let Some((name, upstream)) = self.0.get_key_value(provider) else { return Ok(None) };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let meter = Meter::new(name);
        let behind = Behind {
            token: token.into(),
            upstream: upstream.clone(),
            key: Arc::new(key),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(THERE_MAX)),
            meter: meter.clone(),
        };
        let router = Router::new().fallback(pass).with_state(behind);
        let closed = CancellationToken::new();
        let until = closed.clone();
        tokio::spawn(async move {
            // Dropped, not drained: nobody is there any more who asked.
            tokio::select! {
                () = until.cancelled() => {}
                served = async { axum::serve(listener, router).await } => {
                    if let Err(error) = served {
                        tracing::warn!(%error, "a door to a provider was closed");
                    }
                }
            }
        });
        let base_url = format!("http://127.0.0.1:{port}/{token}");
        Ok(Some(Door { base_url, port, meter, _open: closed.drop_guard() }))
    }
}

impl Door {
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of what goes through it.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}

async fn pass(State(behind): State<Behind>, request: Request) -> Response {
    let scheme = behind.upstream.scheme;
    let asked = behind.ask(request).await;
    asked.unwrap_or_else(|refusal| {
        if let Some(reason) = refusal.reason() {
            let provider = behind.meter.provider();
            metrics::counter!("cowork_model_refusals_total", "provider" => provider, "reason" => reason).increment(1);
        }
        refusal.answer(scheme)
    })
}

impl Behind {
    async fn ask(&self, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = self.path(parts.uri.path()).ok_or(Refusal::Nothing)?;
        let url = self.url(&format!("{path}{query}")).ok_or(Refusal::Elsewhere)?;
        let _waiting = self.waiting.try_acquire().map_err(|_| Refusal::Busy)?;
        let place = self.places.clone().acquire_owned().await.map_err(|_| Refusal::Unreachable)?;
        let mut body = to_bytes(body, BODY_MAX).await.map_err(|_| Refusal::TooLarge)?;
        if let Err(refused) = self.upstream.egress.judge_url(&url) {
            tracing::warn!(error = %refused, "a provider was not asked");
            return Err(Refusal::NotCalled);
        }
        // As the provider sees it, and not as it was written.
        if url.path().ends_with(asked::CHAT) {
            body = asked::telling(body);
        }
        let mut under_way = self.meter.admit(asked::costs(&parts.method, url.path()))?;
        let answer = self.send(parts, url, body, &mut under_way).await?;
        Ok(back(answer, under_way, place))
    }

    async fn send(
        &self,
        parts: Parts,
        url: Url,
        body: Bytes,
        under_way: &mut UnderWay,
    ) -> Result<reqwest::Response, Refusal> {
        let Some((name, key)) = self.upstream.scheme.header(&self.key) else {
            under_way.failed();
            return Err(Refusal::Key);
        };
        let wanted = wanted(&parts.headers);
        let versioned = wanted.contains_key("anthropic-version");
        let mut asked = self.upstream.client.request(parts.method, url).headers(wanted);
        if !versioned {
            asked = self.upstream.scheme.described(asked);
        }
        let answer = asked.header(name, key).body(body).send().await.map_err(|error| {
            tracing::warn!(error = egress::root_cause(&error), "a provider could not be asked");
            if error.is_connect() {
                under_way.failed();
            }
            Refusal::Unreachable
        })?;
        if answer.status().is_success() {
            let said = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            under_way.answered(Reader::of(said(header::CONTENT_TYPE), said(header::CONTENT_ENCODING)));
        } else {
            under_way.failed();
        }
        Ok(answer)
    }

    /// What stands behind the token.
    fn path<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix('/')?;
        let (token, _) = rest.split_once('/')?;
        let known: bool = token.as_bytes().ct_eq(self.token.as_bytes()).into();
        known.then(|| &rest[token.len()..])
    }

    /// `None`: it leads out of what the provider answers there.
    fn url(&self, path: &str) -> Option<Url> {
        let address: Url = self.upstream.address.parse().ok()?;
        let url: Url = format!("{}{path}", self.upstream.address).parse().ok()?;
        let below = format!("{}/v1/", address.path().trim_end_matches('/'));
        (url.origin() == address.origin() && url.path().starts_with(&below)).then_some(url)
    }
}

/// What providers want to know besides the key. Answers are wanted as they are, so that they can be read on the way.
fn wanted(headers: &HeaderMap) -> HeaderMap {
    let plain = [header::ACCEPT, header::CONTENT_TYPE];
    let want = |name: &HeaderName| {
        plain.contains(name) || ["anthropic-", "openai-"].iter().any(|ours| name.as_str().starts_with(ours))
    };
    let wanted = headers.iter().filter(|(name, _)| want(name)).map(|(name, value)| (name.clone(), value.clone()));
    let plainly = (header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    wanted.chain([plainly]).collect()
}

/// The answer keeps its place until it is through.
fn back(answer: reqwest::Response, under_way: UnderWay, place: OwnedSemaphorePermit) -> Response {
    let told = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::RETRY_AFTER];
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    let headers = answer.headers().iter();
    let tell = |name: &HeaderName| told.contains(name) || name.as_str().contains("ratelimit");
    response
        .headers_mut()
        .extend(headers.filter(|(name, _)| tell(name)).map(|(name, value)| (name.clone(), value.clone())));
    let pieces = answer.bytes_stream().boxed();
    *response.body_mut() = Body::from_stream(Passing { pieces, under_way, _place: place });
    response
}

/// An answer on its way, read as it passes.
struct Passing {
    pieces: BoxStream<'static, reqwest::Result<Bytes>>,
    under_way: UnderWay,
    _place: OwnedSemaphorePermit,
}

impl Stream for Passing {
    type Item = reqwest::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = self.pieces.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(piece))) = &piece {
            self.under_way.take(piece);
        }
        piece
    }
}

#[cfg(test)]
mod tests;
