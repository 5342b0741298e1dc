//! A client that costs little: one connection, one request at a time, and streams of events.
//!
//! Not here: pools, retries, redirects. `client` has what programs want; a driver on the same two cores wants to be
//! cheap.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Nobody who measures waits longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the API is, and who asks. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Caller {
    sender: http1::SendRequest<Full<Bytes>>,
    api: Api,
}

impl Api {
    pub(crate) async fn connect(&self) -> anyhow::Result<Caller> {
        let stream = TcpStream::connect(self.address).await.context("the web role takes no connection")?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            http1::Builder::new().max_buf_size(16 * 1024).handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Caller { sender, api: self.clone() })
    }

    pub(crate) async fn callers(&self, count: usize) -> anyhow::Result<Vec<Caller>> {
        futures::future::try_join_all((0..count).map(|_| self.connect())).await
    }

    /// Follows a session's events after `after`.
    pub(crate) async fn follow(&self, session: &str, after: i64) -> anyhow::Result<Events> {
        let mut caller = self.connect().await?;
        let path = format!("/api/sessions/{session}/events");
        let request = caller.request(Method::GET, &path).header("accept", "text/event-stream");
        let request = request.header("last-event-id", after).body(Full::default())?;
        let response = caller.sender.send_request(request).await?;
        ensure!(response.status() == 200, "a stream was answered with {}", response.status());
        Ok(Events { body: response.into_body(), buffer: BytesMut::new(), _caller: caller })
    }
}

impl Caller {
    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        request.header("authorization", format!("Bearer {}", self.api.token))
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        self.sender.ready().await?;
        tokio::time::timeout(PATIENCE, self.sender.send_request(request)).await?.context("a request broke off")
    }

    async fn answer(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
        let response = self.send(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "answered {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        let request = self.request(Method::GET, path).body(Full::default())?;
        self.answer(request).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        let request = request.body(Full::from(serde_json::to_vec(body)?))?;
        Ok(serde_json::from_slice(&self.answer(request).await?)?)
    }

    pub(crate) async fn create_session(&mut self, title: &str) -> anyhow::Result<String> {
        let made = self.post("/api/sessions", &serde_json::json!({ "title": title })).await?;
        Ok(made["session_id"].as_str().context("a session has an id")?.to_owned())
    }

    pub(crate) async fn prompt(&mut self, session: &str, text: &str) -> anyhow::Result<Value> {
        let wish = serde_json::json!({"kind": "prompt", "payload": {"text": text}});
        self.post(&format!("/api/sessions/{session}/commands"), &wish).await
    }
}

/// A stream of a session's events.
#[derive(Debug)]
pub(crate) struct Events {
    body: Incoming,
    buffer: BytesMut,
    /// The connection lives as long as somebody might send on it.
    _caller: Caller,
}

/// An event, as the stream tells it, and when it came.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) at: Instant,
}

impl Events {
    /// The next event. An error if none comes for a minute.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Told> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let frame = self.buffer.split_to(end);
                self.buffer.advance(2);
                if let Some(told) = told(&frame) {
                    return Ok(told);
                }
                continue;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.context("a stream was silent")?;
            let frame = frame.context("a stream ended")??;
            if let Some(data) = frame.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }

    /// Waits for an event of this kind.
    pub(crate) async fn until(&mut self, kind: &str) -> anyhow::Result<Told> {
        loop {
            let told = self.next().await?;
            if told.kind == kind {
                return Ok(told);
            }
        }
    }
}

/// `None`: a comment.
fn told(frame: &[u8]) -> Option<Told> {
    let text = std::str::from_utf8(frame).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Told { sequence: field("id")?.parse().ok()?, kind: field("event")?.to_owned(), at: Instant::now() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_an_event_or_a_comment() {
        let event = told(b"id: 7\nevent: turn_ended\ndata: {}").unwrap();
        assert_eq!((event.sequence, event.kind.as_str()), (7, "turn_ended"));
        assert!(told(b":").is_none());
    }
}
