//! All routes, and what stands around each of them.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;

use crate::app::App;
use crate::problem::Problem;
use crate::{artifacts, auth, bindings, channels, commands, deliveries, events, sessions, workflows};

/// Bytes of a request's body. Larger ones are refused with 413 before they are read.
const BODY_LIMIT: usize = 1024 * 1024;

/// The whole API. Everything under `/api` needs a token.
pub fn router(app: App) -> Router {
    api(&app)
        .fallback(|| async { Problem::not_found("page") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(app)
}

fn api(app: &App) -> Router<App> {
    Router::new()
        .merge(artifacts::routes())
        .merge(bindings::routes())
        .merge(channels::routes())
        .merge(commands::routes())
        .merge(deliveries::routes())
        .merge(events::routes())
        .merge(sessions::routes())
        .merge(workflows::routes())
        .route_layer(from_fn_with_state(app.clone(), auth::authenticate))
}
