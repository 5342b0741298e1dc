//! What stands beside `/api`: nobody shows a token there, and nothing around it authenticates, limits rates or remembers keys.
//!
//! So the description of each says itself what it takes for authentication and which limit it has; here is added what holds for
//! all: that no token is needed, and how the bounds of every request refuse one.
//!
//! Not here: what a single route takes and gives, the gateway's routes, which it describes itself.

use utoipa::openapi::OpenApi;

use super::{failures, operations};
use crate::{probes, router};

/// As a document of its own, to be merged into the API's.
pub(super) fn document() -> OpenApi {
    let mut document = router::beside().into_openapi();
    for (_, operation) in document.paths.paths.values_mut().flat_map(operations) {
        failures::complete_beside(operation);
    }
    // They have no bounds around them but the listener's own.
    document.merge(probes::routes().into_openapi());
    for (_, operation) in document.paths.paths.values_mut().flat_map(operations) {
        operation.security = Some(Vec::new());
        operation.parameters.get_or_insert_default();
    }
    document
}
