//! Deliveries: messages on their way out.
//!
//! Not here: carrying them out (`gateway`).

use axum::Router;

use crate::app::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
}
