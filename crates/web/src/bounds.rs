//! How large a request may be, before anything of it is looked at, and how long its body may take to arrive.
//!
//! A body that moves is taken, however slow its line: what is bounded is how long it stops, and in the end how long all
//! of it takes, so that nobody holds a place with a byte now and then. A body that nobody reads is not waited for.
//!
//! Not here: how many requests there may be (`rate`), how long their heads take to arrive (the listener), the fields of
//! a body (`text`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use crate::problem::Problem;
use crate::router::BODY_LIMIT;

/// Bytes of all names and values.
const HEADERS_MAX: usize = 16 * 1024;
const ADDRESS_MAX: usize = 8 * 1024;

/// What a body is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From one piece to the next.
    pub(crate) pause: Duration,
    /// From the first look at the body to its end.
    pub(crate) whole: Duration,
}

impl Default for Patience {
    /// 1 MiB in twenty minutes is a kilobyte a second: less than any line brings that is of use.
    fn default() -> Self {
        Self { pause: Duration::from_secs(30), whole: Duration::from_secs(20 * 60) }
    }
}

/// Refuses what is out of bounds. A body without a length is measured while it is read.
pub(crate) async fn keep(State(patience): State<Patience>, request: Request, next: Next) -> Result<Response, Problem> {
    let address = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    if address > ADDRESS_MAX {
        return Err(Problem::address_too_long());
    }
    let headers = request.headers();
    if headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() > HEADERS_MAX {
        return Err(Problem::headers_too_large());
    }
    if length(headers).is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(Problem::too_large());
    }
    if request.body().is_end_stream() {
        return Ok(next.run(request).await);
    }
    let stalled = Arc::new(AtomicBool::new(false));
    let response = next.run(request.map(|body| moving(body, patience, stalled.clone()))).await;
    // Whatever the one who read it made of its failure.
    if stalled.load(Ordering::Acquire) { Err(Problem::timeout()) } else { Ok(response) }
}

/// `body` until it stalls. Then it fails, and `stalled` says so.
fn moving(body: Body, patience: Patience, stalled: Arc<AtomicBool>) -> Body {
    Body::from_stream(async_stream::stream! {
        let (mut pieces, end) = (body.into_data_stream(), Instant::now() + patience.whole);
        loop {
            match timeout_at(end.min(Instant::now() + patience.pause), pieces.next()).await {
                Ok(Some(piece)) => yield piece,
                Ok(None) => return,
                Err(elapsed) => {
                    stalled.store(true, Ordering::Release);
                    yield Err(axum::Error::new(elapsed));
                    return;
                }
            }
        }
    })
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::{Bytes, to_bytes};
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use futures::stream;
    use serde_json::Value;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tower::ServiceExt as _;

    use super::*;
    use crate::router::router_with;
    use crate::testing::{World, request};

    const QUICK: Patience = Patience { pause: Duration::from_millis(20), whole: Duration::from_secs(60) };

    /// A route that reads all of a body.
    fn reading(patience: Patience) -> Router {
        Router::new().route("/", post(async |body: Bytes| body)).layer(from_fn_with_state(patience, keep))
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_before_it_is_looked_at() {
        let world = World::new().await;
        let get = |path: &str| request("GET", path, &world.operator);
        let many = get("/api/usage").header("x-filler", "x".repeat(HEADERS_MAX)).body(Body::empty()).unwrap();
        world.send(many).await.expect_problem(431, "headers_too_large");
        let long = get(&format!("/api/usage?{}", "x".repeat(ADDRESS_MAX))).body(Body::empty()).unwrap();
        world.send(long).await.expect_problem(414, "address_too_long");
        let announced = request("DELETE", "/api/tokens/7", "nobody").header("content-length", BODY_LIMIT + 1);
        world.send(announced.body(Body::empty()).unwrap()).await.expect_problem(413, "too_large");
    }

    #[tokio::test]
    async fn a_body_that_stops_is_answered_wherever_it_goes() {
        let world = World::new().await;
        let router = router_with(world.app.clone(), QUICK);
        let json = || request("POST", "/api/orgs", &world.operator).header("content-type", "application/json");
        let part = format!("/api/uploads/{}/parts/1", uuid::Uuid::nil());
        for request in [
            json(),
            json().header("idempotency-key", "k"),
            request("PUT", &part, &world.operator),
            axum::http::Request::post("/webhooks/billing"),
        ] {
            let begun = stream::iter([Ok::<_, Infallible>("{")]);
            let request = request.body(Body::from_stream(begun.chain(stream::pending()))).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 408);
            assert_eq!(response.headers()[header::CONNECTION], "close");
            let problem = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&problem).unwrap()["code"], "timeout");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_is_taken_however_slow_until_all_of_it_takes_too_long() {
        let send = async |count: u32, pause: Duration| {
            let piece = move |_| async move {
                tokio::time::sleep(pause).await;
                Ok::<_, Infallible>("x")
            };
            let pieces = stream::iter(0..count).then(piece);
            let request = axum::http::Request::post("/").body(Body::from_stream(pieces)).unwrap();
            reading(Patience::default()).oneshot(request).await.unwrap().status().as_u16()
        };
        let Patience { pause, whole } = Patience::default();
        let second = Duration::from_secs(1);
        assert_eq!(send(20, pause - second).await, 200);
        assert_eq!(send(1, pause + second).await, 408, "it stopped");
        let count = u32::try_from(whole.as_secs()).unwrap() + 1;
        assert_eq!(send(count, second).await, 408, "it would never end");
    }

    #[tokio::test]
    async fn the_connection_of_a_body_that_stopped_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let served = tokio::spawn(async move { axum::serve(listener, reading(QUICK)).await });
        let half = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf";
        client.write_all(half).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(testkit::LIMIT, client.read_to_string(&mut answer));
        read.await.expect("the connection ends").unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        served.abort();
    }
}
