use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::wanted::Wanted;

/// Takes what is sent, and answers as it is told.
#[derive(Clone)]
struct Collector {
    url: String,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    async fn answering(status: StatusCode) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let collector = Self { url, bodies: Arc::default() };
        let take = async move |State(collector): State<Collector>, Json(body): Json<Value>| {
            collector.bodies.lock().unwrap().push(body);
            (status, Json(json!({})))
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        collector
    }

    fn config(&self) -> TraceConfig {
        TraceConfig { endpoint: self.url.clone(), sample_percent: 100, build: "1.2.3", roles: "worker".into() }
    }

    /// Every span, of every request.
    fn spans(&self) -> Vec<Value> {
        let bodies = self.bodies.lock().unwrap();
        let spans = |body: &Value| body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
        bodies.iter().flat_map(spans).collect()
    }
}

/// Lets `work` be exported, to its end.
async fn export(config: &TraceConfig, redactor: Redactor, work: impl FnOnce()) {
    let (layer, traces) = start(config, Sources::system(), redactor).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    traces.close().await;
}

fn attribute<'a>(of: &'a Value, name: &str) -> &'a Value {
    let all = of["attributes"].as_array().unwrap();
    &all.iter().find(|one| one["key"] == name).unwrap_or_else(|| panic!("no {name} in {of}"))["value"]
}

/// What counters say that were told while it was there, on this thread.
struct Counted(metrics_exporter_prometheus::PrometheusHandle);

impl Counted {
    fn says(&self, line: &str) -> bool {
        self.0.render().lines().any(|told| told == line)
    }
}

#[tokio::test]
async fn a_collector_gets_each_span_with_its_place_in_the_trace() {
    let collector = Collector::answering(StatusCode::OK).await;
    export(&collector.config(), Redactor::new(), || {
        let turn = tracing::info_span!(target: "worker::turn", "turn", attempt = 2, ok = true, ratio = 0.5,
            outcome = tracing::field::Empty, otel.kind = "consumer");
        turn.record("outcome", "completed");
        let _inside = turn.enter();
        drop(tracing::info_span!(target: "gateway::send", "delivery"));
    })
    .await;
    let spans = collector.spans();
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let (turn, delivery) = (named("turn"), named("delivery"));
    assert_eq!(spans.len(), 2);
    assert_eq!((turn["traceId"].as_str().unwrap().len(), turn["spanId"].as_str().unwrap().len()), (32, 16));
    assert_eq!((&turn["kind"], turn.get("parentSpanId")), (&json!(5), None));
    assert_eq!((&delivery["traceId"], &delivery["parentSpanId"]), (&turn["traceId"], &turn["spanId"]));
    assert_eq!(attribute(turn, "attempt"), &json!({"intValue": "2"}));
    assert_eq!(attribute(turn, "ok"), &json!({"boolValue": true}));
    assert_eq!(attribute(turn, "ratio"), &json!({"doubleValue": 0.5}));
    assert_eq!(attribute(turn, "outcome"), &json!({"stringValue": "completed"}));
    let nanos = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
    assert!(nanos(turn, "startTimeUnixNano") <= nanos(delivery, "startTimeUnixNano"));
    assert!(nanos(delivery, "endTimeUnixNano") <= nanos(turn, "endTimeUnixNano"));
    let resource = &collector.bodies.lock().unwrap()[0]["resourceSpans"][0]["resource"];
    assert_eq!(attribute(resource, "service.name"), &json!({"stringValue": "open-cowork"}));
    assert_eq!(attribute(resource, "service.version"), &json!({"stringValue": "1.2.3"}));
}

#[tokio::test]
async fn a_secret_leaves_in_no_name_and_no_attribute() {
    let canary = format!("canary-{}\"\\é", Sources::system().id::<uuid::Uuid>());
    let redactor = Redactor::new();
    assert!(redactor.register(canary.as_bytes()));
    let collector = Collector::answering(StatusCode::OK).await;
    export(&collector.config(), redactor, || {
        let span = tracing::info_span!(target: "web", "request", plain = canary, debug = ?[&canary], password = "short",
            mail = "ana@example.org", otel.name = tracing::field::Empty, otel.status_description = tracing::field::Empty);
        span.record("otel.name", format!("GET /{canary}"));
        span.record("otel.status_description", canary.as_str());
        tracing::info!(parent: &span, "a line about {canary}");
    })
    .await;
    let span = &collector.spans()[0];
    let told = Value::from(collector.bodies.lock().unwrap().clone()).to_string();
    assert!(!told.contains("canary-") && !told.contains("short") && !told.contains("ana@"), "{told}");
    assert_eq!(span["name"], "GET /[redacted:secret]");
    assert_eq!(attribute(span, "plain"), &json!({"stringValue": "[redacted:secret]"}));
    assert_eq!(attribute(span, "password"), &json!({"stringValue": "[redacted:secret]"}));
    assert_eq!(span.get("events"), None, "log lines stay here");
}

#[tokio::test]
async fn spans_that_nobody_named_for_it_stay_here() {
    let collector = Collector::answering(StatusCode::OK).await;
    export(&collector.config(), Redactor::new(), || {
        drop(tracing::info_span!(target: "sqlx::query", "turn"));
        drop(tracing::info_span!(target: "worker::session", "advance"));
        drop(tracing::info_span!(target: "worker::turn", "turn"));
    })
    .await;
    assert_eq!(collector.spans().len(), 1);
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_here_is_exported_if_whoever_began_it_says_so() {
    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let collector = Collector::answering(StatusCode::OK).await;
    let config = TraceConfig { sample_percent: 0, ..collector.config() };
    export(&config, Redactor::new(), || {
        for parent in [None, Some(SAMPLED), Some(&*SAMPLED.replace("-01", "-00"))] {
            let span = tracing::info_span!(target: "web", "request");
            ::traces::follow(&span, parent);
        }
    })
    .await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!((&spans[0]["traceId"], &spans[0]["parentSpanId"]), (&json!(SAMPLED[3..35]), &json!(SAMPLED[36..52])));
}

#[tokio::test]
async fn what_a_collector_does_not_take_is_lost_and_counted_and_nobody_waits() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = Counted(recorder.handle());
    let _counting = metrics::set_default_local_recorder(&recorder);
    let refusing = Collector::answering(StatusCode::SERVICE_UNAVAILABLE).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = TraceConfig { endpoint: format!("http://{}", free.local_addr().unwrap()), ..refusing.config() };
    drop(free);
    for config in [refusing.config(), away] {
        export(&config, Redactor::new(), || drop(tracing::info_span!(target: "worker", "turn"))).await;
    }
    assert!(counted.says("cowork_spans_lost_total{reason=\"collector\"} 2"), "{}", counted.0.render());
}

#[test]
fn a_span_that_finds_the_queue_full_is_lost_and_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = Counted(recorder.handle());
    let (spans, mut queued) = mpsc::channel(1);
    let provider = SdkTracerProvider::builder().with_span_processor(Queue::new(spans)).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    metrics::with_local_recorder(&recorder, || {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            (0..3).for_each(|_| drop(tracing::info_span!(target: "worker", "turn")));
        });
    });
    assert!(queued.try_recv().is_ok() && queued.try_recv().is_err());
    assert!(counted.says("cowork_spans_lost_total{reason=\"queue\"} 2"), "{}", counted.0.render());
}

/// A log that can be read while it is written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_span_that_is_exported_is_in_the_log_as_well() {
    let collector = Collector::answering(StatusCode::OK).await;
    let log = Log::default();
    let sink = crate::sink::Sink::new(Box::new(log.clone()), Redactor::new(), Sources::system());
    let (export, traces) = start(&collector.config(), Sources::system(), Redactor::new()).unwrap();
    // Warnings only: the span is told all the same.
    let wanted = Wanted::new(crate::filter("warn").unwrap(), true);
    let lines = crate::layer::JsonLayer::new(Arc::new(sink));
    let subscriber = tracing_subscriber::registry().with(wanted).with(lines).with(Some(export));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            // Whoever only asks must not decide about what comes next.
            assert!(!tracing::enabled!(target: "sqlx::query", tracing::Level::DEBUG));
            assert!(tracing::enabled!(target: "sqlx::query", tracing::Level::WARN));
            let name = format_args!("GET {}", "/x");
            let span = tracing::info_span!(target: "web", "request", route = "/x", otel.name = name);
            ::traces::follow(&span, None);
            span.in_scope(|| {
                tracing::info!("too quiet");
                tracing::warn!(carried = ::traces::carried().is_some(), "here");
            });
        }
    });
    traces.close().await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["spans"], json!([{"name": "request", "route": "/x"}]), "{text}");
        assert_eq!(line["fields"]["carried"], true, "{text}");
    }
    let names: Vec<Value> = collector.spans().iter().map(|span| span["name"].clone()).collect();
    assert_eq!(names, ["GET /x", "GET /x", "GET /x"]);
}
