//! Artifacts: the files that sessions produced.
//!
//! Not here: carrying them out (`worker`).

use axum::Router;

use crate::app::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
}
