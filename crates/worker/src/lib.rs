//! Leases sessions, runs their commands, writes events, saves checkpoints.
