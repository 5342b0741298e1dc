//! What links the spans of several processes into one trace: a text that is carried with the work, as W3C Trace Context
//! writes it (`traceparent`).
//!
//! A request's span is carried with the command that it wrote, the turn that carries the command out follows it, and so do
//! the deliveries that tell of it. Where spans are not exported nothing is carried, and following does nothing.
//!
//! Not guaranteed: that a trace is whole. What is carried is no promise that somebody exported it.
//!
//! Not here: exporting (`telemetry`), which spans there are (each role names its own).

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header that carries it over HTTP.
pub const HEADER: &str = "traceparent";

/// The span that we are in, for whoever goes on with the work. `None`: it is not traced.
#[must_use]
pub fn carried() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    span.is_valid().then(|| format!("00-{trace}-{id}-{flags:02x}"))
}

/// Makes what was carried the parent of `span`, which nobody has entered yet. What can't be read is as if nothing had been.
pub fn follow(span: &Span, carried: Option<&str>) {
    if let Some(parent) = carried.and_then(read) {
        // It fails where spans are not exported, or the span was entered: then it begins a trace of its own.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Versions after 00 may have more behind the flags, which is left alone. 255 is none.
fn read(carried: &str) -> Option<SpanContext> {
    let mut parts = carried.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = byte(version)?;
    let ended = parts.next().is_none();
    if version == u8::MAX || (version == 0 && !ended) || !is_hex(trace, 32) || !is_hex(span, 16) {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(byte(flags)?) & TraceFlags::SAMPLED;
    let parent = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    parent.is_valid().then_some(parent)
}

fn byte(text: &str) -> Option<u8> {
    is_hex(text, 2).then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

/// Upper case is not allowed.
fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// Where spans are traced.
    fn traced<T>(work: impl FnOnce() -> T) -> T {
        let tracer = SdkTracerProvider::default().tracer("test");
        let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
        tracing::subscriber::with_default(subscriber, work)
    }

    fn followed(parent: &str) -> String {
        let span = tracing::info_span!("turn");
        follow(&span, Some(parent));
        span.in_scope(|| carried().unwrap())
    }

    #[test]
    fn whoever_follows_is_in_the_same_trace_under_a_name_of_its_own() {
        traced(|| {
            let own = followed(PARENT);
            assert_eq!(own.len(), 55);
            assert_eq!((&own[..36], &own[52..]), (&PARENT[..36], "-01"));
            assert_ne!(own[36..52], PARENT[36..52]);
            // What is carried can be followed again.
            assert_eq!(followed(&own)[..36], PARENT[..36]);
        });
    }

    #[test]
    fn what_can_not_be_read_is_followed_by_nobody() {
        traced(|| {
            for broken in [
                "",
                "00",
                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
                "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033311-01",
                "00-é7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ] {
                assert_ne!(followed(broken)[3..35], PARENT[3..35], "{broken}");
            }
            assert_eq!(followed(&format!("01{}-more", &PARENT[2..]))[3..35], PARENT[3..35]);
        });
    }

    #[test]
    fn where_nothing_is_traced_nothing_is_carried() {
        let span = tracing::info_span!("turn");
        follow(&span, Some(PARENT));
        assert_eq!(span.in_scope(carried), None);
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let span = tracing::info_span!("turn");
            follow(&span, Some(PARENT));
            assert_eq!(span.in_scope(carried), None);
        });
    }
}
