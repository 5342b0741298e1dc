//! A typed client of our own public API.
