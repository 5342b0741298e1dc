//! How large a request may be, before anything of it is looked at.
//!
//! Not here: how many of them (`rate`), how long they take to arrive (the listener), the fields of a body (`text`).

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::Problem;
use crate::router::BODY_LIMIT;

/// Bytes of all names and values.
const HEADERS_MAX: usize = 16 * 1024;
const ADDRESS_MAX: usize = 8 * 1024;

/// Refuses what is out of bounds. A body without a length is measured while it is read.
pub(crate) async fn keep(request: Request, next: Next) -> Result<Response, Problem> {
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
    Ok(next.run(request).await)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::testing::{World, request};

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
}
