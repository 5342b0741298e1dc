//! Configuration: a struct per concern.
