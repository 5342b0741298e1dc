//! From tracing's events to lines.
//!
//! A line has `timestamp`, `level`, `target`, `message`, `fields`, and `spans` from the outermost to the innermost, each
//! with its name and fields. Fields keep their types; errors tell their sources. Fields that begin with `otel.` are for the
//! export of spans and left out.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::sink::Sink;

const MESSAGE: &str = "message";

pub(crate) struct JsonLayer {
    sink: Arc<Sink>,
}

/// The fields of a span or an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl JsonLayer {
    pub(crate) fn new(sink: Arc<Sink>) -> Self {
        Self { sink }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = Map::new();
        line.insert("timestamp".into(), self.sink.timestamp().into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        line.insert(MESSAGE.into(), fields.0.remove(MESSAGE).unwrap_or_default());
        line.insert("fields".into(), Value::Object(fields.0));
        line.insert("spans".into(), spans_of(event, &context));
        self.sink.write(Value::Object(line));
    }
}

fn spans_of<S: Subscriber + for<'a> LookupSpan<'a>>(event: &Event<'_>, context: &Context<'_, S>) -> Value {
    let mut spans = Vec::new();
    for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
        let mut shown = Map::from_iter([("name".to_owned(), span.name().into())]);
        if let Some(Fields(fields)) = span.extensions().get::<Fields>() {
            shown.extend(fields.clone());
        }
        spans.push(Value::Object(shown));
    }
    spans.into()
}

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        if field.name().starts_with("otel.") {
            return;
        }
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        self.set(field, text);
    }
}

#[cfg(test)]
mod tests;
