//! Spans on their way to a collector: OTLP over HTTP, as JSON.
//!
//! Off unless an endpoint is configured. A span that ends is put into a queue, and one task of this process sends what is in
//! it. Nobody ever waits for that: a span that finds the queue full, and a batch that the collector does not take, are lost
//! and counted (`cowork_spans_lost_total`). What goes out is redacted, as log lines are.
//!
//! Which spans: those that roles name on purpose ([`EXPORTED`]). Spans of libraries and log lines within spans stay here.
//!
//! Not guaranteed: that a trace is whole, or told again after the collector was away.
//!
//! Not here: what is carried between processes (`traces`), fields of spans (each role has its own), metrics, which are
//! scraped.

mod encode;
mod post;
mod queue;

use std::time::Duration;

use clock::Sources;
use opentelemetry::trace::{SpanId, TraceId, TracerProvider};
use opentelemetry_sdk::trace::{IdGenerator, Sampler, SdkTracerProvider};
use redact::Redactor;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use crate::traces::encode::Encoder;
use crate::traces::post::Poster;
use crate::traces::queue::Queue;

/// The spans that leave: a request to the API, a message that came in, a turn, a delivery, a trigger that is settled.
const EXPORTED: [&str; 5] = ["request", "message", "turn", "delivery", "firing"];
/// The crates that they come from.
const ROLES: [&str; 5] = ["front", "web", "worker", "scheduler", "gateway"];
/// Why spans are lost: more ended than could be sent.
const QUEUE: &str = "queue";
/// Why spans are lost: the collector could not be reached, or refused them.
const COLLECTOR: &str = "collector";
/// Spans that wait to be sent. At a few hundred bytes each that is about a megabyte.
const QUEUED: usize = 4_096;
/// What is in the queue when a process ends is sent within this, or lost.
const CLOSING: Duration = Duration::from_secs(3);

/// Where spans go, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// The collector's base address; `/v1/traces` is added to it.
    pub endpoint: String,
    /// Of traces that begin here, so many in a hundred are exported, whole. Whoever sends a `traceparent` has decided.
    pub sample_percent: u8,
    /// The program's version.
    pub build: &'static str,
    /// What this process serves.
    pub roles: String,
}

/// The export of a process.
#[derive(Debug)]
pub struct Traces {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Traces {
    /// Sends what is left, for a moment. Spans that end later are lost.
    pub async fn close(self) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(CLOSING, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Begins to export. Must be called within a runtime, which the sending goes on in.
pub(crate) fn start<S>(
    config: &TraceConfig,
    sources: Sources,
    redactor: Redactor,
) -> Result<(impl Layer<S> + use<S>, Traces), reqwest::Error>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (spans, queued) = mpsc::channel(QUEUED);
    let poster = Poster::new(&config.endpoint, Encoder::new(config, redactor))?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(poster.run(queued, stop.clone()));
    let ratio = f64::from(config.sample_percent.min(100)) / 100.0;
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Queue::new(spans))
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .with_id_generator(Ids(sources))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("open-cowork"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false);
    Ok((layer.with_filter(Exported), Traces { stop, task }))
}

/// Lets the spans through that leave, and nothing else.
struct Exported;

impl<S> Filter<S> for Exported {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        is_exported(metadata)
    }

    /// Never "always": then nobody would ask again, and what the thread remembers may be the answer to another question, of
    /// somebody who only asked (a library that looks whether its line is wanted).
    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_exported(metadata) { Interest::sometimes() } else { Interest::never() }
    }
}

pub(crate) fn is_exported(metadata: &Metadata<'_>) -> bool {
    let crate_name = metadata.target().split("::").next().unwrap_or_default();
    metadata.is_span() && EXPORTED.contains(&metadata.name()) && ROLES.contains(&crate_name)
}

/// Says what is counted, also where nothing is exported.
pub(crate) fn describe() {
    measures::counter("cowork_spans_exported_total", "spans that the collector took");
    measures::counter_by("cowork_spans_lost_total", "spans that it never got, by reason", "reason", [QUEUE, COLLECTOR]);
}

/// Counts what is lost.
fn lost(spans: usize, reason: &'static str) {
    metrics::counter!("cowork_spans_lost_total", "reason" => reason).increment(spans as u64);
}

/// Randomness is passed in, as everywhere.
#[derive(Debug)]
struct Ids(Sources);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from_bytes(self.0.bytes())
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from_bytes(self.0.bytes())
    }
}

#[cfg(test)]
mod tests;
