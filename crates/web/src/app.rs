//! What every handler is given.

use metrics_exporter_prometheus::PrometheusHandle;
use store::{Generation, Store};

/// The parts of the web role. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    pub store: Store,
    /// The generation that this process serves; it is read once, when the process starts.
    pub generation: Generation,
    /// Version of the program, as people see it.
    pub build: &'static str,
    pub metrics: PrometheusHandle,
}
