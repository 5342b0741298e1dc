//! Fires due slots.
