//! Workflows: repeatable work, its slots and its runs.
//!
//! Not here: carrying them out (`scheduler`).

use axum::Router;

use crate::app::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
}
