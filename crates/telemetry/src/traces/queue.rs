//! Where spans wait that have ended. Whoever ends one never waits.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

use crate::traces::{QUEUE, lost};

#[derive(Debug)]
pub(crate) struct Queue {
    spans: mpsc::Sender<SpanData>,
}

impl Queue {
    pub(crate) fn new(spans: mpsc::Sender<SpanData>) -> Self {
        Self { spans }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            lost(1, QUEUE);
        }
    }

    /// What is queued is sent by whoever reads the queue, in its time.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
