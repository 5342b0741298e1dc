//! Workflows, their slots and their runs.
