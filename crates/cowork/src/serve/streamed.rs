//! A stream of events, once its head is known: written to its connection without hyper.
//!
//! hyper keeps two buffers of 8 KiB for each connection as long as it lasts, and has no setting for their size. A stream waits for
//! hours and says a few hundred bytes at a time, so it is taken out of hyper's hands: what it costs then is a socket and what its
//! body remembers (decision 0098).
//!
//! Nothing comes from the client any more, so one that leaves is noticed at once. The connection ends with the stream.
//!
//! Not here: when a connection is given over (`connections`), what a stream says and when it ends (`web::events`).

use std::fmt::Write as _;
use std::io::ErrorKind;

use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, TRANSFER_ENCODING};
use axum::http::response::Parts;
use axum::http::{Method, Response, StatusCode, Version};
use clock::Timestamp;
use futures::StreamExt as _;
use hyper::Request;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Messages that are written at once, if so many wait.
const AT_ONCE: usize = 64;
/// The end of a body in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// An answer that goes on until its reader leaves or the process drains.
#[derive(Debug)]
pub(super) struct Streamed {
    head: Vec<u8>,
    body: Body,
}

/// Whether an answer to this request can be streamed by us: chunks came with HTTP/1.1, and HEAD has no body.
pub(super) fn may_be<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11 && request.method() == Method::GET
}

/// Whether this is a stream, and not an answer as any other.
pub(super) fn is<B>(response: &Response<B>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    response.status() == StatusCode::OK && kind.is_some_and(|kind| kind == "text/event-stream")
}

impl Streamed {
    pub(super) fn new(response: Response<Body>, now: Timestamp) -> Self {
        let (parts, body) = response.into_parts();
        Self { head: head(&parts, now), body }
    }

    /// Writes the answer, until it or the connection ends.
    ///
    /// # Errors
    /// The connection broke, or the body did: then the reader sees an answer without an end.
    pub(super) async fn write(self, stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(&self.head).await?;
        drop(self.head);
        let mut messages = self.body.into_data_stream().ready_chunks(AT_ONCE);
        loop {
            let messages = tokio::select! {
                messages = messages.next() => messages,
                () = left(stream) => return Ok(()),
            };
            let Some(messages) = messages else { return stream.write_all(LAST_CHUNK).await };
            let messages: Vec<Bytes> = messages.into_iter().collect::<Result<_, _>>().map_err(std::io::Error::other)?;
            stream.write_all(&chunks(&messages)).await?;
        }
    }
}

/// What comes before the body: RFC 9112, sections 4 and 5, and RFC 9110, section 6.6.1, for the date.
fn head(parts: &Parts, now: Timestamp) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    let ours = [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING];
    for (name, value) in parts.headers.iter().filter(|(name, _)| !ours.contains(name)) {
        head.extend_from_slice(name.as_ref());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    let date = now.format("%a, %d %b %Y %H:%M:%S GMT");
    let rest = format!("date: {date}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n");
    head.extend_from_slice(rest.as_bytes());
    head
}

/// Each message as a chunk: RFC 9112, section 7.1. An empty one would end the body.
fn chunks(messages: &[Bytes]) -> Vec<u8> {
    let length: usize = messages.iter().map(|message| message.len() + 20).sum();
    let mut chunks = Vec::with_capacity(length);
    let mut size = String::new();
    for message in messages.iter().filter(|message| !message.is_empty()) {
        size.clear();
        write!(size, "{:x}\r\n", message.len()).expect("a string takes all");
        chunks.extend_from_slice(size.as_bytes());
        chunks.extend_from_slice(message);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks
}

/// Until the client has ended the connection. What it says meanwhile is for nobody: it was told that the connection ends with
/// this answer.
async fn left(stream: &TcpStream) {
    while stream.readable().await.is_ok() {
        let mut ignored = [0; 512];
        match stream.try_read(&mut ignored) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stream_of_events_is_taken() {
        let answer = |status: u16, kind: &str| {
            is(&Response::builder().status(status).header(CONTENT_TYPE, kind).body(()).unwrap())
        };
        assert!(answer(200, "text/event-stream"));
        assert!(!answer(200, "application/json"));
        assert!(!answer(410, "text/event-stream"));
        let request = |method: Method, version| Request::builder().method(method).version(version).body(()).unwrap();
        assert!(may_be(&request(Method::GET, Version::HTTP_11)));
        assert!(!may_be(&request(Method::HEAD, Version::HTTP_11)));
        assert!(!may_be(&request(Method::GET, Version::HTTP_10)));
    }

    #[test]
    fn an_answer_is_written_as_http_says() {
        let (parts, ()) = Response::builder()
            .header(CONTENT_TYPE, "text/event-stream")
            .header(CONTENT_LENGTH, "7")
            .header("x-request-id", "a")
            .body(())
            .unwrap()
            .into_parts();
        let head = String::from_utf8(head(&parts, Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: a\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        let messages = [Bytes::from_static(b":\n\n"), Bytes::new(), Bytes::from("x".repeat(17))];
        let chunks = String::from_utf8(chunks(&messages)).unwrap();
        assert_eq!(chunks, format!("3\r\n:\n\n\r\n11\r\n{}\r\n", "x".repeat(17)));
    }
}
