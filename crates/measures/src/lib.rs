//! What a process measures: described, and there from its first scrape.
//!
//! A counter that appears with its first event is 1 when it is first seen, and `increase()` does not know that it was 0
//! before: the first event is the one that no alert hears of. So whoever counts something says so when it starts.
//!
//! Not here: counting (`metrics::counter!`, where it happens), the recorder and what answers `/metrics` (`telemetry`).

use metrics::SharedString;

/// Describes a counter, and begins it at zero.
pub fn counter(name: &'static str, description: &'static str) {
    metrics::describe_counter!(name, description);
    metrics::counter!(name).increment(0);
}

/// Describes a counter with one label, and begins it at zero for each value that the label is known to take.
pub fn counter_by(
    name: &'static str,
    description: &'static str,
    label: &'static str,
    values: impl IntoIterator<Item = &'static str>,
) {
    counters(name, description, values.into_iter().map(|value| [(label, value)]));
}

/// Describes a counter, and begins it at zero for each set of labels: those that are known before anything happens.
pub fn counters<const N: usize, V: Into<SharedString> + Clone>(
    name: &'static str,
    description: &'static str,
    labels: impl IntoIterator<Item = [(&'static str, V); N]>,
) {
    metrics::describe_counter!(name, description);
    for labels in labels {
        metrics::counter!(name, &labels).increment(0);
    }
}

/// Describes a counter that is there from its first event on: its labels are too many to begin them all.
pub fn counter_by_labels(name: &'static str, description: &'static str) {
    metrics::describe_counter!(name, description);
}

/// Describes a gauge, which is 0 until it is set.
pub fn gauge(name: &'static str, description: &'static str) {
    metrics::describe_gauge!(name, description);
    metrics::gauge!(name).increment(0.0);
}

/// Describes a histogram, and begins it empty: all its buckets are 0.
pub fn histogram(name: &'static str, description: &'static str) {
    metrics::describe_histogram!(name, description);
    drop(metrics::histogram!(name));
}

/// Describes a histogram that is there from its first value on: its labels are too many to begin them all.
pub fn histogram_by_labels(name: &'static str, description: &'static str) {
    metrics::describe_histogram!(name, description);
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

    use super::*;

    #[test]
    fn what_has_not_happened_is_seen_as_zero() {
        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_ms".to_owned()), &[1.0]);
        let recorder = builder.unwrap().build_recorder();
        let rendered = metrics::with_local_recorder(&recorder, || {
            counter("cowork_plain_total", "plain");
            counter_by("cowork_labelled_total", "labelled", "outcome", ["good", "bad"]);
            counters("cowork_pairs_total", "pairs", [[("a", "1"), ("b", "2")]]);
            gauge("cowork_gauge", "a gauge");
            histogram("cowork_empty_ms", "empty");
            recorder.handle().render()
        });
        for line in [
            "cowork_plain_total 0",
            "cowork_labelled_total{outcome=\"good\"} 0",
            "cowork_labelled_total{outcome=\"bad\"} 0",
            "cowork_pairs_total{a=\"1\",b=\"2\"} 0",
            "cowork_gauge 0",
            "cowork_empty_ms_bucket{le=\"+Inf\"} 0",
            "cowork_empty_ms_count 0",
            "# HELP cowork_plain_total plain",
        ] {
            assert!(rendered.lines().any(|shown| shown == line), "no line {line}:\n{rendered}");
        }
    }

    #[test]
    fn starting_again_takes_nothing_back() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let rendered = metrics::with_local_recorder(&recorder, || {
            counter("cowork_plain_total", "plain");
            metrics::counter!("cowork_plain_total").increment(3);
            counter("cowork_plain_total", "plain");
            recorder.handle().render()
        });
        assert!(rendered.contains("cowork_plain_total 3"), "{rendered}");
    }
}
