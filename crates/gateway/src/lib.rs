//! Channel messages in, deliveries out.
