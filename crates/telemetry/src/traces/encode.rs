//! From spans to the body of a request: OTLP's JSON, redacted.
//!
//! The mapping is protobuf's to JSON with OTLP's exceptions: ids in hex, kinds and codes as numbers, 64-bit numbers as text
//! (OpenTelemetry protocol specification, "JSON Protobuf Encoding").
//!
//! Attributes are redacted with their names and before they are written down, as fields of log lines are, so nothing is found
//! too late behind an escape. Ids and times of ours are left alone.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{KeyValue, Value as Attribute};
use opentelemetry_sdk::trace::SpanData;
use redact::Redactor;
use serde_json::{Map, Value, json};

use crate::traces::TraceConfig;

/// Characters of an attribute; the rest is cut.
const TEXT_CHARS: usize = 1_000;

pub(crate) struct Encoder {
    resource: Value,
    redactor: Redactor,
}

impl Encoder {
    pub(crate) fn new(config: &TraceConfig, redactor: Redactor) -> Self {
        let about =
            [("service.name", "open-cowork"), ("service.version", config.build), ("cowork.roles", &config.roles)];
        let about = about.map(|(name, value)| (name.to_owned(), Value::from(value)));
        let resource = json!({"attributes": listed(Map::from_iter(about))});
        Self { resource, redactor }
    }

    pub(crate) fn body(&self, spans: &[SpanData]) -> Value {
        let spans: Vec<Value> = spans.iter().map(|span| self.span(span)).collect();
        let scope = json!({"scope": {"name": "open-cowork"}, "spans": spans});
        json!({"resourceSpans": [{"resource": self.resource, "scopeSpans": [scope]}]})
    }

    fn span(&self, span: &SpanData) -> Value {
        let mut told = json!({
            "traceId": span.span_context.trace_id().to_string(),
            "spanId": span.span_context.span_id().to_string(),
            "flags": span.span_context.trace_flags().to_u8(),
            "name": self.redactor.redact(&span.name),
            "kind": kind(&span.span_kind),
            "startTimeUnixNano": nanos(span.start_time),
            "endTimeUnixNano": nanos(span.end_time),
            "attributes": self.attributes(&span.attributes),
            "droppedAttributesCount": span.dropped_attributes_count,
            "status": self.status(&span.status),
        });
        if span.parent_span_id != SpanId::INVALID {
            told["parentSpanId"] = span.parent_span_id.to_string().into();
        }
        told
    }

    fn attributes(&self, attributes: &[KeyValue]) -> Value {
        let fields = attributes.iter().map(|pair| (pair.key.as_str().to_owned(), plain(&pair.value)));
        let mut fields = Value::Object(fields.collect());
        self.redactor.redact_json(&mut fields);
        match fields {
            Value::Object(fields) => listed(fields),
            _ => Value::Array(Vec::new()),
        }
    }

    fn status(&self, status: &Status) -> Value {
        match status {
            Status::Unset => json!({}),
            Status::Ok => json!({"code": 1}),
            Status::Error { description } => {
                json!({"code": 2, "message": self.redactor.redact(&cut(description))})
            }
        }
    }
}

/// A list is told as text: roles have none in their spans.
fn plain(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Bool(value) => (*value).into(),
        Attribute::I64(value) => (*value).into(),
        Attribute::F64(value) => (*value).into(),
        other => cut(&other.as_str()).into(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

fn listed(fields: Map<String, Value>) -> Value {
    let typed = |value: Value| match value {
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        other => json!({"stringValue": other.to_string()}),
    };
    fields.into_iter().map(|(key, value)| json!({"key": key, "value": typed(value)})).collect()
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn nanos(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
