//! Events: what happened in a session, as a list and as a stream.
//!
//! Not here: carrying them out (`worker`).

use axum::Router;

use crate::app::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
}
