//! Metrics, kept in the process and rendered when somebody asks.
//!
//! Not here: the listener that answers `/metrics` (each role has its own).

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use redact::Redactor;

/// Upper bounds, in milliseconds, of the buckets of every histogram whose name ends in `_ms`.
const MILLISECONDS: [f64; 16] = [
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 30_000.0, 60_000.0,
    300_000.0,
];

/// What this process measured. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    redactor: Redactor,
}

impl Metrics {
    pub(crate) fn install(redactor: Redactor) -> Result<Self, BuildError> {
        Ok(Self { handle: builder()?.install_recorder()?, redactor })
    }

    /// As Prometheus text, redacted: a label is as public as a log line.
    #[must_use]
    pub fn render(&self) -> String {
        self.redactor.redact(&self.handle.render()).into_owned()
    }

    /// Folds what histograms gathered since the last call or rendering. To be called now and then (a heartbeat will
    /// do), or a process that nobody scrapes grows.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Metrics")
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_ms".to_owned()), &MILLISECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_buckets_and_labels_are_redacted() {
        let recorder = builder().unwrap().build_recorder();
        let metrics = Metrics { handle: recorder.handle(), redactor: Redactor::new() };
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("cowork_turn_ms").record(7.0);
            metrics::counter!("cowork_requests_total", "route" => "/api/sessions/{id}", "who" => "ana@example.org")
                .increment(1);
        });
        metrics.upkeep();
        let text = metrics.render();
        assert!(text.contains("cowork_turn_ms_bucket{le=\"10\"} 1"), "{text}");
        assert!(text.contains("route=\"/api/sessions/{id}\""), "{text}");
        assert!(text.contains("who=\"[redacted:email]\""), "{text}");
    }
}
