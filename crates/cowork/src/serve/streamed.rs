//! A stream of events, once its head is known: written to its connection without hyper.
//!
//! hyper keeps two buffers of 8 KiB for each connection as long as it lasts, and has no setting for their size. A stream waits for
//! hours and says a few hundred bytes at a time, so it is taken out of hyper's hands: what it costs then is a socket and what its
//! body remembers (decision 0098).
//!
//! Nothing comes from the client any more, so one that leaves is noticed at once. The connection ends with the stream.
//!
//! Not here: when a connection is given over (`connections`), what a stream says and when it ends (`web::events`).

use std::error::Error;
use std::io::ErrorKind;

use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, TRANSFER_ENCODING};
use axum::http::response::Parts;
use axum::http::{Method, Response, StatusCode, Version};
use clock::Timestamp;
use futures::{FutureExt as _, Stream, StreamExt as _};
use hyper::Request;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Bytes of messages that are written at once, if so many wait; a message more may begin before them.
const AT_ONCE: usize = 16 * 1024;
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
        let mut messages = self.body.into_data_stream();
        loop {
            let first = tokio::select! {
                first = messages.next() => first,
                () = left(stream) => return Ok(()),
            };
            let Chunks { bytes, last } = gather(first, &mut messages)?;
            stream.write_all(&bytes).await?;
            if last {
                return Ok(());
            }
        }
    }
}

/// Of a body: RFC 9112, section 7.1.
#[derive(Debug, Default)]
struct Chunks {
    bytes: Vec<u8>,
    /// The body ends with them.
    last: bool,
}

/// The message that came and those that wait behind it, up to a bound: who reads slowly is to be asked for little at a time.
fn gather<E: Into<Box<dyn Error + Send + Sync>>>(
    first: Option<Result<Bytes, E>>,
    messages: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> std::io::Result<Chunks> {
    let (mut chunks, mut next) = (Chunks::default(), Some(first));
    while let Some(message) = next {
        match message.transpose().map_err(std::io::Error::other)? {
            Some(message) => chunks.add(&message),
            None => chunks.end(),
        }
        let more = !chunks.last && chunks.bytes.len() < AT_ONCE;
        next = if more { messages.next().now_or_never() } else { None };
    }
    Ok(chunks)
}

impl Chunks {
    /// An empty one would end the body.
    fn add(&mut self, message: &[u8]) {
        if !message.is_empty() {
            self.bytes.extend_from_slice(format!("{:x}\r\n", message.len()).as_bytes());
            self.bytes.extend_from_slice(message);
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    fn end(&mut self) {
        self.bytes.extend_from_slice(LAST_CHUNK);
        self.last = true;
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
    use std::convert::Infallible;

    use futures::stream;

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
    }

    #[test]
    fn what_waits_is_written_in_chunks_up_to_a_bound_and_nothing_of_it_is_lost() {
        let message = |length: usize| Ok::<_, Infallible>(Bytes::from("x".repeat(length)));
        let mut few = stream::iter([message(0), message(17)]);
        let gathered = gather(Some(message(3)), &mut few).unwrap();
        assert!(gathered.last);
        assert_eq!(gathered.bytes, format!("3\r\nxxx\r\n11\r\n{}\r\n0\r\n\r\n", "x".repeat(17)).into_bytes());
        let mut many = stream::iter((0..5).map(|_| message(AT_ONCE / 2)));
        let gathered = gather(Some(message(1)), &mut many).unwrap();
        assert!(!gathered.last && gathered.bytes.len() < 2 * AT_ONCE);
        assert_eq!(many.count().now_or_never(), Some(3), "the rest waits");
        let mut silent = stream::pending::<Result<Bytes, Infallible>>();
        assert_eq!(gather(Some(message(1)), &mut silent).unwrap().bytes, b"1\r\nx\r\n", "nobody waits for more");
    }
}
