//! All routes, and what stands around each of them.

use std::any::Any;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::problem::Problem;
use crate::{
    artifacts, audit, auth, bindings, byok_keys, channels, commands, deliveries, diagnostics, events, members, metrics,
    observe, orgs, sessions, subjects, tokens, usage, workflows, workspace,
};

/// Bytes of a request's body. Larger ones are refused with 413 before they are read.
const BODY_LIMIT: usize = 1024 * 1024;

/// The whole API. Everything under `/api` needs a token.
pub fn router(app: App) -> Router {
    observe::describe();
    api(&app)
        .fallback(|| async { Problem::not_found("page") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(observe::measure))
        .layer(from_fn_with_state(app.clone(), observe::identify))
        .with_state(app)
}

fn api(app: &App) -> Router<App> {
    Router::new()
        .merge(artifacts::routes())
        .merge(audit::routes())
        .merge(bindings::routes())
        .merge(byok_keys::routes())
        .merge(channels::routes())
        .merge(commands::routes())
        .merge(deliveries::routes())
        .merge(diagnostics::routes())
        .merge(events::routes())
        .merge(members::routes())
        .merge(metrics::routes())
        .merge(orgs::routes())
        .merge(sessions::routes())
        .merge(subjects::routes())
        .merge(tokens::routes())
        .merge(usage::routes())
        .merge(workflows::routes())
        .merge(workspace::routes())
        .route_layer(from_fn_with_state(app.clone(), auth::authenticate))
}

/// The panic itself was reported by the panic hook, with its place.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal("a handler panicked").into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use serde_json::json;

    use super::*;
    use crate::testing::{World, request};

    /// Every resource's file, read for its routes: axum can't list them.
    const SOURCES: [&str; 18] = [
        include_str!("artifacts.rs"),
        include_str!("audit.rs"),
        include_str!("bindings.rs"),
        include_str!("byok_keys.rs"),
        include_str!("channels.rs"),
        include_str!("commands.rs"),
        include_str!("deliveries.rs"),
        include_str!("diagnostics.rs"),
        include_str!("events.rs"),
        include_str!("members.rs"),
        include_str!("metrics.rs"),
        include_str!("orgs.rs"),
        include_str!("sessions.rs"),
        include_str!("subjects.rs"),
        include_str!("tokens.rs"),
        include_str!("usage.rs"),
        include_str!("workflows.rs"),
        include_str!("workspace.rs"),
    ];

    /// The paths that the sources route, with an id for each parameter.
    fn paths() -> Vec<String> {
        let id = "019254d3-8000-7118-b0d3-641a68f94a69";
        let routes = SOURCES.iter().flat_map(|source| source.split(".route(").skip(1));
        let paths = routes.map(|route| route.split('"').nth(1).expect("a route has a path"));
        paths
            .map(|path| {
                let parts = path.split('/').map(|part| if part.starts_with('{') { id } else { part });
                parts.collect::<Vec<_>>().join("/")
            })
            .collect()
    }

    #[tokio::test]
    async fn no_route_answers_somebody_without_a_token() {
        let world = World::new().await;
        let paths = paths();
        assert!(paths.contains(&"/api/workspace".to_owned()), "{paths:?}");
        for path in paths {
            let mut taken = 0;
            for method in ["GET", "POST", "DELETE", "PUT", "PATCH"] {
                let request = Request::builder().method(method).uri(&path).body(Body::empty()).unwrap();
                let answer = world.send(request).await;
                if answer.status != 405 {
                    answer.expect_problem(401, "unauthenticated");
                    taken += 1;
                }
            }
            assert!(taken > 0, "{path} takes no method");
        }
    }

    #[tokio::test]
    async fn every_refusal_is_a_problem() {
        let world = World::new().await;
        let typo = json!({"name": "B", "nmae": "C"});
        world.get("/api/nothing").await.expect_problem(404, "not_found");
        world.get("/nothing").await.expect_problem(404, "not_found");
        world.delete("/api/orgs").await.expect_problem(405, "method_not_allowed");
        world.delete("/api/tokens/7").await.expect_problem(404, "not_found");
        world.get("/api/orgs?limit=many").await.expect_problem(422, "invalid");
        world.post("/api/orgs", json!({"name": ""})).await.expect_problem(422, "invalid");
        let problem = world.post("/api/orgs", typo).await.expect_problem(422, "invalid");
        assert!(problem["detail"].as_str().unwrap().contains("unknown field `nmae`"), "{problem}");
        let long = json!({"name": "x".repeat(BODY_LIMIT)});
        world.post("/api/orgs", long).await.expect_problem(413, "too_large");
        let plain = request("POST", "/api/orgs", &world.operator).body(Body::from("{}")).unwrap();
        world.send(plain).await.expect_problem(415, "unsupported_media_type");
        let broken = request("POST", "/api/orgs", &world.operator).header("content-type", "application/json");
        world.send(broken.body(Body::from("{")).unwrap()).await.expect_problem(422, "invalid");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_without_its_message() {
        use tower::ServiceExt;
        let broken: Router = Router::new()
            .route("/", get(async || -> () { panic!("with a secret") }))
            .layer(CatchPanicLayer::custom(panicked));
        let response = broken.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 500);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }

    #[tokio::test]
    async fn a_request_keeps_its_id_and_gets_one_if_it_has_none() {
        let world = World::new().await;
        let id = "6f8a3e0c-55a4-4f0e-9d3b-0d2f3e6b7a11";
        let with = |value: &str| {
            request("GET", "/api/usage", &world.operator).header("x-request-id", value).body(Body::empty()).unwrap()
        };
        assert_eq!(world.send(with(id)).await.headers["x-request-id"], id);
        let made = world.send(with("anything else")).await.headers["x-request-id"].to_str().unwrap().to_owned();
        assert!(made.parse::<uuid::Uuid>().is_ok(), "{made}");
    }
}
