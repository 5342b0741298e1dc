//! The HTTP API and its streams.
