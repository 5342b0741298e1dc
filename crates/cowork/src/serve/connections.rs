//! HTTP/1.1 over a listener: how many connections there are, how long the head of a request may take, and that all end when
//! the process drains.
//!
//! A connection costs little while it waits, for a stream of events may wait for hours: nothing is read from it until the answer
//! is through. So a client that left is noticed when something is written to it, at the latest with the second heartbeat.
//!
//! Not here: what a request may hold (`web::bounds`) and how many one caller may make (`web::rate`). No TLS and no HTTP/2: a
//! proxy in front has both.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

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
    /// From the moment that a connection waits for a request until the request's head is there. More than the minute for which
    /// common proxies keep a connection at hand, so that it is they who end it.
    pub(super) head_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16_384, head_within: Duration::from_secs(75) }
    }
}

/// Answers what comes in until `shutdown`; then lets every answer that was begun end.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: &CancellationToken) {
    // All routes are made here, once: made for each connection they take 330 KiB of it.
    let service = TowerToHyperService::new(router.with_state(()));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_within).max_buf_size(BUFFER).half_close(true);
    let (places, connections) = (Arc::new(Semaphore::new(limits.connections)), GracefulShutdown::new());
    let accept = async {
        loop {
            let place = places.clone().acquire_owned().await.expect("nobody closes it");
            let connection = http.serve_connection(TokioIo::new(accepted(&listener).await), service.clone());
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke off");
                }
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    connections.shutdown().await;
}

/// The next connection, however long it takes.
async fn accepted(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                prepare(&stream);
                return stream;
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
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const QUICK: Limits = Limits { connections: 1, head_within: Duration::from_millis(50) };
    const PATIENT: Limits = Limits { connections: 2, head_within: Duration::from_secs(60) };

    struct Served {
        address: SocketAddr,
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
            let router = Router::new().route("/", get(async || "quick")).route("/slow", get(slow));
            let task = tokio::spawn(async move { serve(listener, router, limits, &token).await });
            Self { address, shutdown, asked, answer, task }
        }

        async fn send(&self, text: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
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
}
