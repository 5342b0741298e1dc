//! A stand-in before a role, or before the sink: it passes requests on, and changes what comes back.
//!
//! For what no row and no file can be made to say: labels of metrics, bodies of errors, an endpoint that is well once.
//!
//! Not here: which role gets one (`act`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How large a body may be that is passed on, in bytes.
const BODY_MAX: usize = 64 << 20;
/// Of one connection, not of the message.
const OF_THE_CONNECTION: [HeaderName; 4] =
    [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// What is changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tamper {
    /// Metrics have a series more, with a canary as a label.
    MetricLabel,
    /// The bodies of errors end with a canary.
    ErrorBody,
    /// Diagnostics have a field more, with a canary in it.
    Diagnostics,
    /// `/healthz` says that all is well, then that nobody is there, then again that all is well: a crash loop.
    WellOnce,
    /// `/api/workspace` says another schema version.
    OtherSchema,
    /// What is signed reaches the receiver with another body.
    Unsigned,
}

/// Something that goes on until it is dropped.
#[derive(Debug)]
pub(crate) struct Background(JoinHandle<()>);

impl Background {
    pub(crate) fn of(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    upstream: String,
    tamper: Tamper,
    canary: String,
    /// How often `/healthz` was asked.
    asked: AtomicU32,
    http: reqwest::Client,
}

/// Listens before `upstream` (`http://ADDRESS`) for as long as what it adds to `kept` is kept, and says where.
pub(crate) async fn stand_before(
    upstream: String,
    tamper: Tamper,
    canary: String,
    kept: &Mutex<Vec<Background>>,
) -> anyhow::Result<SocketAddr> {
    let http = reqwest::Client::builder().no_proxy().build().context("no client can be made")?;
    let shared = Arc::new(Shared { upstream, tamper, canary, asked: AtomicU32::new(0), http });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let app = Router::new().fallback(pass).with_state(shared);
    let served = Background::of(async move { axum::serve(listener, app).await.unwrap_or_default() });
    kept.lock().expect("no holder of this lock can panic").push(served);
    Ok(address)
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let second = path == "/healthz" && shared.asked.fetch_add(1, Ordering::AcqRel) == 1;
    if matches!(shared.tamper, Tamper::WellOnce) && second {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match shared.forward(request).await {
        Ok((status, headers, body)) => {
            let body = shared.changed(&path, status, body);
            (status, headers, body).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

impl Shared {
    async fn forward(&self, request: Request) -> anyhow::Result<(StatusCode, HeaderMap, Bytes)> {
        let (parts, body) = request.into_parts();
        let mut body = to_bytes(body, BODY_MAX).await?.to_vec();
        if matches!(self.tamper, Tamper::Unsigned) {
            // JSON all the same.
            body.push(b' ');
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.upstream);
        let headers = without_the_connections(parts.headers);
        let answer = self.http.request(parts.method, url).headers(headers).body(body).send().await?;
        let (status, headers) = (answer.status(), without_the_connections(answer.headers().clone()));
        Ok((status, headers, answer.bytes().await?))
    }

    fn changed(&self, path: &str, status: StatusCode, body: Bytes) -> Body {
        let canary = &self.canary;
        let added = |text: String| Body::from([body.as_ref(), text.as_bytes()].concat());
        match self.tamper {
            Tamper::MetricLabel if path.ends_with("/metrics") => {
                added(format!("cowork_last_seen{{who=\"{canary}\"}} 1\n"))
            }
            Tamper::ErrorBody if status.is_client_error() => added(format!(" (asked for by {canary})")),
            Tamper::Diagnostics if path == "/api/diagnostics" => {
                edited(body, |diagnostics| diagnostics["asked_for_by"] = json!(canary))
            }
            Tamper::OtherSchema if path == "/api/workspace" => edited(body, |workspace| {
                workspace["schema_version"] = json!(workspace["schema_version"].as_i64().unwrap_or(0) + 1);
            }),
            _ => Body::from(body),
        }
    }
}

/// The same JSON with a change. What is no object stays as it is.
fn edited(body: Bytes, change: impl FnOnce(&mut Value)) -> Body {
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut value) if value.is_object() => {
            change(&mut value);
            Body::from(value.to_string())
        }
        _ => Body::from(body),
    }
}

fn without_the_connections(mut headers: HeaderMap) -> HeaderMap {
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
    headers
}
