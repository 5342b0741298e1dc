//! Channels, bindings and deliveries.
