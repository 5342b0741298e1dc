//! Spans, metrics, and the one log sink.
