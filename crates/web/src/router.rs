//! All routes, and what stands around each of them.

use std::any::Any;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::bounds::Patience;
use crate::problem::Problem;
use crate::{
    agents, artifacts, audit, auth, billing, bindings, bounds, browser_sessions, byok_keys, channel_identities,
    channels, commands, deliveries, diagnostics, drills, events, gate, idempotency, interactions, invitations,
    maintenance, members, metrics, observe, openapi, orgs, policy, profiles, project_sources, quotas, rate, roles,
    sessions, sign_in, subjects, tokens, uploads, usage, workflows, workspace,
};

/// Bytes of a request's body. Larger ones are refused with 413 before they are read.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// The whole API. Everything under `/api` needs a token or a browser session; signing in does not, nor does the billing provider's
/// webhook, which is signed.
pub fn router(app: App) -> Router {
    router_with(app, Patience::default())
}

/// With other patience for bodies that stop on their way.
pub(crate) fn router_with(app: App, patience: Patience) -> Router {
    observe::describe();
    let routes = Router::from(described())
        .route_layer(from_fn_with_state(app.clone(), idempotency::once))
        .route_layer(from_fn_with_state(app.clone(), maintenance::guard))
        .route_layer(from_fn(gate::guard))
        .route_layer(from_fn_with_state(app.clone(), rate::admit))
        .route_layer(from_fn_with_state(app.clone(), auth::authenticate));
    routes
        .merge(Router::from(beside()))
        .fallback(|| async { Problem::not_found("page") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(patience, bounds::keep))
        .layer(from_fn(front::measure))
        .layer(from_fn_with_state(app.clone(), observe::identify))
        .with_state(app)
}

/// What stands beside the API and takes no token, with its description. Probes are beside it, too, and on every role (`probes`).
pub(crate) fn beside() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(sign_in::routes()).merge(billing::webhook())
}

/// Every route of the API with its description. There is no other way into the router.
pub(crate) fn described() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(agents::routes())
        .merge(artifacts::routes())
        .merge(audit::routes())
        .merge(billing::routes())
        .merge(bindings::routes())
        .merge(browser_sessions::routes())
        .merge(byok_keys::routes())
        .merge(channel_identities::routes())
        .merge(channels::routes())
        .merge(commands::routes())
        .merge(deliveries::routes())
        .merge(diagnostics::routes())
        .merge(drills::routes())
        .merge(events::routes())
        .merge(interactions::routes())
        .merge(invitations::routes())
        .merge(maintenance::routes())
        .merge(members::routes())
        .merge(metrics::routes())
        .merge(openapi::routes())
        .merge(orgs::routes())
        .merge(policy::routes())
        .merge(profiles::routes())
        .merge(project_sources::routes())
        .merge(roles::routes())
        .merge(sessions::routes())
        .merge(subjects::routes())
        .merge(tokens::routes())
        .merge(uploads::routes())
        .merge(quotas::routes())
        .merge(usage::routes())
        .merge(workflows::routes())
        .merge(workspace::routes())
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
