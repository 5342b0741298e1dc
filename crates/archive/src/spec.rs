//! What the owner of the tables tells a backup about them. The SQL itself stands where all SQL about our tables does,
//! in `store`; from here it goes into the manifest.

use crate::manifest::{ColumnsOf, Group, NotCompared};

/// SQL about the tables of a system.
#[derive(Debug, Clone)]
pub struct BackupSpec {
    /// One row `system_id uuid, generation bigint, environment text, schema_version bigint`; no row if the system was
    /// never initialised.
    pub system: String,
    /// The schema that this SQL is written for. A database of another one is refused.
    pub schema_version: i64,
    /// Rows `blob_key text, size bigint, sha256 text` (hex), ordered by key.
    pub blobs: String,
    /// Rows `version text, ciphertexts bigint`.
    pub key_versions: String,
    /// Rows `name text, value text`.
    pub watermarks: String,
    pub probes: Vec<ProbeSpec>,
    pub groups: Vec<Group>,
    /// Rows that a restore adds later are left out of a table's digest.
    pub filters: Vec<TableFilter>,
    pub not_compared: Vec<NotCompared>,
}

#[derive(Debug, Clone)]
pub struct ProbeSpec {
    pub name: String,
    pub sql: String,
    /// Whether the answer at the time of the snapshot goes into the backup.
    pub recorded: bool,
    /// Set if the answer is these columns of one table.
    pub columns_of: Option<ColumnsOf>,
}

#[derive(Debug, Clone)]
pub struct TableFilter {
    /// In the schema `public`.
    pub table: String,
    /// `{generation}` stands for the backup's generation.
    pub condition: String,
    pub reason: String,
}
