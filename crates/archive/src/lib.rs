//! Backup and restore: format, manifest, verification.
