//! What is looked at, of all that the program and its libraries tell: what the log wants, and the spans that leave.
//!
//! One filter for the whole process, so that a span which leaves is there for the log's lines as well, at whatever level
//! the log is.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::{EnvFilter, Layer};

use crate::traces::is_exported;

pub(crate) struct Wanted {
    log: EnvFilter,
    exporting: bool,
}

impl Wanted {
    pub(crate) fn new(log: EnvFilter, exporting: bool) -> Self {
        Self { log, exporting }
    }

    fn leaves(&self, metadata: &Metadata<'_>) -> bool {
        self.exporting && is_exported(metadata)
    }
}

impl<S: Subscriber> Layer<S> for Wanted {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let of_log = Layer::<S>::register_callsite(&self.log, metadata);
        if self.leaves(metadata) { Interest::always() } else { of_log }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let of_log = self.log.max_level_hint();
        of_log.map(|level| if self.exporting { level.max(LevelFilter::INFO) } else { level })
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.leaves(metadata) || self.log.enabled(metadata, context)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.log.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.log.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.log.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.log.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.log.on_close(id, context);
    }
}
