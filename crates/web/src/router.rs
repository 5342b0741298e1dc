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
    observe, orgs, sessions, tokens, usage, workflows, workspace,
};

/// Bytes of a request's body. Larger ones are refused with 413 before they are read.
const BODY_LIMIT: usize = 1024 * 1024;

/// The whole API. Everything under `/api` needs a token.
pub fn router(app: App) -> Router {
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
        .merge(tokens::routes())
        .merge(usage::routes())
        .merge(workflows::routes())
        .merge(workspace::routes())
        .route_layer(from_fn_with_state(app.clone(), auth::authenticate))
}

/// The panic itself was reported by the panic hook, with its place.
#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal("a handler panicked").into_response()
}
