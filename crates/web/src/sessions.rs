//! Sessions: durable conversations with an agent.
//!
//! Not here: carrying them out (`worker`).

use axum::Router;

use crate::app::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
}
