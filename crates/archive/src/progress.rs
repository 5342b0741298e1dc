//! What a backup or a restore tells whoever watches. Not here: how it looks; that is the binary's.

use std::fmt::Debug;

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Backup: the consistency point is taken.
    Snapshot,
    /// Backup: `pg_dump`. Counted in bytes of the dump; their total is unknown.
    Dump,
    /// Backup: tables are digested and probes answered. Counted in tables and probes.
    Measure,
    /// Backup: objects go to the archive. Counted in bytes.
    CollectBlobs,
    /// Backup: everything is made durable and the manifest written.
    Seal,
    /// Restore, verify: files and blobs of the archive are hashed. Counted in bytes.
    Verify,
    /// Restore: `pg_restore`. Counted in bytes of rows, a table at a time.
    Database,
    /// Restore: blobs go to the object folder. Counted in bytes.
    PlaceBlobs,
}

impl Step {
    /// A word or three for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Dump => "dump",
            Self::Measure => "measure tables",
            Self::CollectBlobs => "copy blobs",
            Self::Seal => "seal",
            Self::Verify => "verify archive",
            Self::Database => "restore database",
            Self::PlaceBlobs => "restore blobs",
        }
    }

    /// Whether its counts are bytes.
    #[must_use]
    pub fn counts_bytes(self) -> bool {
        !matches!(self, Self::Snapshot | Self::Measure | Self::Seal)
    }
}

/// Is told how far the work is. Called from several threads; must return at once.
pub trait Progress: Debug + Send + Sync {
    /// `total` is zero where it can't be known.
    fn begin(&self, step: Step, total: u64);
    fn advance(&self, step: Step, by: u64);
    /// `outcome` is a phrase such as `10 blobs, 4 of them new`.
    fn end(&self, step: Step, outcome: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _: Step, _: u64) {}
    fn advance(&self, _: Step, _: u64) {}
    fn end(&self, _: Step, _: &str) {}
}
