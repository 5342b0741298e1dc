//! The object store: keys, checksums, artifacts, checkpoints.
