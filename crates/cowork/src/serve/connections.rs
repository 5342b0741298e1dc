//! HTTP/1.1 over a listener: how many connections there are, of all and of one address, how long the head of a request may
//! take, and that all end when the process drains.
//!
//! Nothing is read from a connection until the answer is through: hyper looks ahead otherwise, and its buffer doubles for that. A
//! stream of events that is the first answer of its connection is given over to `streamed`, for it may wait for hours; a later one
//! stays with hyper, which may have more of the answers before it to write.
//!
//! Every request has with it who is at the other end ([`ConnectInfo`]).
//!
//! Not here: who counts as one address (`domain::rate`), what a request may hold and how long its body may take
//! (`web::bounds`), how many one caller may make (`web::rate`). No TLS and no HTTP/2: a proxy in front has both.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use clock::Sources;
use domain::rate::Network;
use front::Shares;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::serve::streamed::{self, Streamed};

/// Bytes that are read ahead of a connection. The head of a request has to fit in; `web` refuses much smaller ones with a problem.
const BUFFER: usize = 64 * 1024;
/// How long a peer may leave what was sent to it without an answer. The kernel ends the connection then.
const UNANSWERED: Duration = Duration::from_secs(60);
/// Before accepting is tried again, when the process has no more files.
const NO_FILES: Duration = Duration::from_secs(1);

/// What a listener puts up with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Who comes when there are so many waits, in the kernel's queue, until one ends.
    pub(super) connections: usize,
    /// Of them. Who comes when its address has so many is sent away at once: to wait, it would take a place of all.
    /// 0: as many as there are.
    pub(super) of_an_address: u32,
    /// From the moment that a connection waits for a request until the request's head is there. More than the minute for which
    /// common proxies keep a connection at hand, so that it is they who end it.
    pub(super) head_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16_384, of_an_address: 8_192, head_within: Duration::from_secs(75) }
    }
}

/// Answers what comes in until `shutdown`; then lets every answer that was begun end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    sources: Sources,
    limits: Limits,
    shutdown: &CancellationToken,
) {
    // All routes are made here, once: made for each connection they take 330 KiB of it.
    let routes = TowerToHyperService::new(router.with_state(()));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_within).max_buf_size(BUFFER).half_close(true);
    let server = Arc::new(Server { http, routes, sources, shutdown: shutdown.clone() });
    let (places, connections) = (Arc::new(Semaphore::new(limits.connections)), TaskTracker::new());
    measures::counter(
        "cowork_connections_refused_total",
        "connections that were closed at once, since their address had as many as it may",
    );
    let addresses = Shares::of(limits.of_an_address);
    let accept = async {
        loop {
            let place = places.clone().acquire_owned().await.expect("nobody closes it");
            let (stream, peer) = accepted(&listener).await;
            let Some(counted) = addresses.another(Network::of(Some(peer.ip()))) else {
                metrics::counter!("cowork_connections_refused_total").increment(1);
                continue;
            };
            let server = server.clone();
            connections.spawn(async move {
                if let Err(error) = server.answer(stream, peer).await {
                    tracing::debug!(error = &*error, "a connection broke off");
                }
                drop((counted, place));
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// What all connections of a listener share.
#[derive(Debug)]
struct Server {
    http: http1::Builder,
    routes: TowerToHyperService<Router>,
    sources: Sources,
    shutdown: CancellationToken,
}

impl Server {
    /// All requests of a connection, one after the other.
    async fn answer(&self, stream: TcpStream, peer: SocketAddr) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (first, mut handed) = oneshot::channel();
        let first = Mutex::new(Some(first));
        let service = service_fn(|request| {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.one(request, peer, first)
        });
        let mut connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut draining = false;
        let streamed = loop {
            tokio::select! {
                ended = &mut connection => return Ok(ended?),
                Ok(streamed) = &mut handed, if !handed.is_terminated() => break streamed,
                () = self.shutdown.cancelled(), if !draining => {
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                    draining = true;
                }
            }
        };
        let mut stream = connection.into_parts().io.into_inner();
        Ok(Box::pin(streamed.write(&mut stream)).await?)
    }

    /// `first`: takes the answer if it is a stream; for hyper it never comes then.
    async fn one(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        first: Option<oneshot::Sender<Streamed>>,
    ) -> Result<Response<Body>, Infallible> {
        let first = first.filter(|_| streamed::may_be(&request));
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.routes.call(request).await?;
        let Some(first) = first.filter(|_| streamed::is(&response)) else { return Ok(response) };
        // If nobody takes it the connection is gone.
        let _ = first.send(Streamed::new(response, self.sources.now()));
        pending().await
    }
}

/// The next connection, however long it takes.
async fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                prepare(&stream);
                return (stream, peer);
            }
            // It went before it was accepted.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted; look at the limit on open files");
                tokio::time::sleep(NO_FILES).await;
            }
        }
    }
}

/// A connection that can't be told so is served all the same.
fn prepare(stream: &TcpStream) {
    // Without it a small answer after a small answer waits for the peer's delayed acknowledgement: 40 ms on Linux.
    let undelayed = stream.set_nodelay(true);
    let bounded = SockRef::from(stream).set_tcp_user_timeout(Some(UNANSWERED));
    if let Err(error) = undelayed.and(bounded) {
        tracing::debug!(%error, "a connection was not set up");
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const QUICK: Limits = Limits { connections: 1, of_an_address: 0, head_within: Duration::from_millis(50) };
    const PATIENT: Limits = Limits { connections: 2, of_an_address: 0, head_within: Duration::from_secs(60) };

    /// What streams say. The sender is told when a reader left.
    type Said = tokio::sync::broadcast::Sender<&'static str>;

    struct Served {
        address: SocketAddr,
        said: Said,
        shutdown: CancellationToken,
        /// Told when `/slow` was asked for, and to be told when it is answered.
        asked: Arc<Notify>,
        answer: Arc<Notify>,
        task: JoinHandle<()>,
    }

    impl Served {
        async fn with(limits: Limits) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
            let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (token, tell, told) = (shutdown.clone(), asked.clone(), answer.clone());
            let slow = async move || {
                tell.notify_one();
                told.notified().await;
                "slow"
            };
            let said = Said::new(8);
            let (heard, ended) = (said.clone(), shutdown.clone());
            let router = Router::new()
                .route("/", get(async || "quick"))
                .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
                .route("/slow", get(slow))
                .route("/late", post(async || (StatusCode::REQUEST_TIMEOUT, [("connection", "close")])))
                .route("/stream", get(async move || stream(heard.subscribe(), ended)));
            let task = tokio::spawn(async move { serve(listener, router, Sources::system(), limits, &token).await });
            Self { address, said, shutdown, asked, answer, task }
        }

        /// A stream whose head was read, so that it hears what is said from now on.
        async fn stream(&self, before: &str) -> TcpStream {
            let mut stream = self.send(&format!("{before}{}", asks("/stream"))).await;
            read_past(&mut stream, "text/event-stream").await;
            stream
        }

        async fn send(&self, text: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
        }
    }

    fn stream(mut said: tokio::sync::broadcast::Receiver<&'static str>, ended: CancellationToken) -> Response<Body> {
        let messages = async_stream::stream! {
            loop {
                tokio::select! {
                    Ok(message) = said.recv() => yield Ok::<_, Infallible>(message),
                    () = ended.cancelled() => return,
                }
            }
        };
        let response = Response::builder().header("content-type", "text/event-stream");
        response.body(Body::from_stream(messages)).unwrap()
    }

    async fn read_past(stream: &mut TcpStream, text: &str) {
        let mut seen = Vec::new();
        while !seen.windows(text.len()).any(|window| window == text.as_bytes()) {
            seen.push(stream.read_u8().await.unwrap());
        }
    }

    fn asks(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
    }

    /// All that comes until the other side ends the connection.
    async fn rest(mut stream: TcpStream) -> String {
        let mut all = Vec::new();
        // One that is reset has ended as well.
        let _ = stream.read_to_end(&mut all).await;
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_request_is_sent_away_and_makes_room() {
        let served = Served::with(QUICK).await;
        let stalled = served.send("GET / HTTP/1.1\r\nhost: local").await;
        let next = served.send(&asks("/")).await;
        assert!(!rest(stalled).await.contains("200 OK"));
        assert!(rest(next).await.ends_with("quick"), "there is one place, and it was free again");
    }

    #[tokio::test]
    async fn whoever_answers_knows_who_is_at_the_other_end() {
        let served = Served::with(PATIENT).await;
        let asking = served.send(&asks("/peer").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await;
        let ours = asking.local_addr().unwrap().to_string();
        assert!(rest(asking).await.ends_with(&ours));
    }

    #[tokio::test]
    async fn an_answer_that_ends_the_connection_does_so_though_the_rest_of_a_body_never_comes() {
        let served = Served::with(PATIENT).await;
        let half = "POST /late HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf";
        let answer = rest(served.send(half).await).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }

    #[tokio::test]
    async fn a_drain_lets_an_answer_end_and_keeps_nobody_who_waits() {
        let served = Served::with(PATIENT).await;
        let (waiting, slow) = (served.send("").await, served.send(&asks("/slow")).await);
        // Then the other one, which came before it, is there, too.
        served.asked.notified().await;
        served.shutdown.cancel();
        assert_eq!(rest(waiting).await, "");
        served.answer.notify_one();
        assert!(rest(slow).await.ends_with("slow"));
        served.task.await.unwrap();
        assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
    }
    #[tokio::test]
    async fn a_stream_is_whole_whether_it_is_the_first_answer_of_its_connection_or_a_later_one() {
        let served = Served::with(PATIENT).await;
        let (mut first, mut later) = (served.stream("").await, served.stream(&asks("/")).await);
        for message in ["one", "two"] {
            served.said.send(message).unwrap();
            read_past(&mut first, &format!("3\r\n{message}\r\n")).await;
            read_past(&mut later, &format!("3\r\n{message}\r\n")).await;
        }
        served.shutdown.cancel();
        assert_eq!((rest(first).await, rest(later).await), ("0\r\n\r\n".to_owned(), "0\r\n\r\n".to_owned()));
        served.task.await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_left_its_stream_is_noticed_though_nothing_is_said() {
        let served = Served::with(QUICK).await;
        let reader = served.stream("").await;
        assert_eq!(served.said.receiver_count(), 1);
        drop(reader);
        assert!(
            rest(served.send(&asks("/")).await).await.ends_with("quick"),
            "there is one place, and it was free again"
        );
        assert_eq!(served.said.receiver_count(), 0);
    }

    #[tokio::test]
    async fn an_address_that_has_its_share_is_sent_away_and_others_are_served() {
        let served = Served::with(Limits { connections: 3, of_an_address: 1, ..QUICK }).await;
        let reader = served.stream("").await;
        for _ in 0..5 {
            assert_eq!(rest(served.send(&asks("/")).await).await, "", "more often than there are places");
        }
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = socket.connect(served.address).await.unwrap();
        other.write_all(asks("/").as_bytes()).await.unwrap();
        assert!(rest(other).await.ends_with("quick"));
        drop(reader);
        let again = async || rest(served.send(&asks("/")).await).await.ends_with("quick");
        testkit::wait_until("the address has a place again", again).await;
    }

    #[tokio::test]
    async fn what_a_reader_sends_behind_its_request_is_for_nobody() {
        let served = Served::with(PATIENT).await;
        let mut reader = served.stream("").await;
        reader.write_all(asks("/slow").as_bytes()).await.unwrap();
        served.said.send("one").unwrap();
        read_past(&mut reader, "3\r\none\r\n").await;
        served.shutdown.cancel();
        assert_eq!(rest(reader).await, "0\r\n\r\n");
    }
}
