//! What a backup says of itself: everything that a restore must give back, with the SQL that measured it.
//!
//! Every expected value of a drill comes from here, never from the restored database: a restore that lost a table
//! agrees with itself perfectly.
//!
//! Not here: how the values are measured (`digest`, `catalogue`, `probe`), where the files lie (`layout`), reading and
//! checking them (`verify`). No row of a table, no secret and no path of a machine stands in a manifest.

use clock::Timestamp;
use ids::{BackupId, SystemId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The word at the top of every manifest.
pub const FORMAT: &str = "cowork-backup";
/// The format that this build writes. Any change of a field is a new version; older ones stay readable.
pub const VERSION: u32 = 1;

/// One restorable state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    pub backup_id: BackupId,
    /// The archive that the backup was made into.
    pub archive_id: Uuid,
    pub system: System,
    pub source: Source,
    pub snapshot: Snapshot,
    /// Which secrets the system was configured with. Names and versions only.
    pub secrets: Vec<SecretVersion>,
    /// Which versions of the encryption key are in use.
    pub key_versions: Vec<KeyVersion>,
    /// The groups of the drill report's first row, and the tables that each consists of.
    pub groups: Vec<Group>,
    /// Sorted by schema and name.
    pub tables: Vec<Table>,
    /// Tables whose rows are not measured, with the reason. Their definitions are in `catalogue` all the same.
    pub not_compared: Vec<NotCompared>,
    pub sequences: Vec<Sequence>,
    /// Columns, constraints, indexes, functions, grants ...: one line each, sorted. See `catalogue`.
    pub catalogue: Vec<String>,
    /// How far each kind of history had come.
    pub watermarks: Vec<Watermark>,
    pub probes: Vec<Probe>,
    pub blobs: Blobs,
    /// Every other file of the backup's folder: `database.dump`, `blobs.jsonl`, `probes/*.jsonl`.
    pub files: Vec<FileEntry>,
}

/// Which system, at which point of its life, under which build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    pub system_id: SystemId,
    pub generation: i64,
    /// `production` or `drill`.
    pub environment: String,
    /// The newest migration.
    pub schema_version: i64,
    /// The build that made the backup.
    pub build: String,
}

/// Where it was taken from; a restore into the same place is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// As the server prints it, such as `15.18`.
    pub postgres_version: String,
    /// As a number, such as 150018.
    pub postgres_version_num: i32,
    /// The cluster's own identifier, decimal.
    pub system_identifier: String,
    pub database: String,
    /// With `system_identifier` this names one database, whatever it is renamed to.
    pub database_oid: u32,
    pub encoding: String,
    pub collation: String,
    /// A fingerprint of the object folder. It names no path.
    pub objects_id: String,
}

/// The consistency point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The database's clock when the snapshot was taken: what was committed by then is in the backup.
    pub taken_at: Timestamp,
    /// The write-ahead log's position at about that instant, such as `0/1A2B3C8`.
    pub wal_lsn: String,
    /// How long the snapshot held back vacuum on the source.
    pub held_ms: u64,
    /// The backup's own clock.
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
}

/// A configured secret, without its value and without where the value lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretVersion {
    pub name: String,
    pub version: String,
}

/// A version of the key that wraps data keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyVersion {
    pub version: String,
    /// How many stored ciphertexts name it.
    pub ciphertexts: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: String,
    pub tables: Vec<String>,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub rows: u64,
    /// Length of what was digested, for progress bars and throughput.
    pub bytes: u64,
    /// Hex, 64 digits. See `digest`.
    pub digest: String,
    pub columns: Vec<String>,
    /// What was digested: give it to [`crate::digest::table_digest`].
    pub sql: String,
    /// Why some rows are left out of `sql`; `None`: none are.
    pub filter_reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotCompared {
    pub schema: String,
    pub name: String,
    pub reason: String,
}

/// Where a sequence stood. Sequences don't obey snapshots: it was read before and after the dump, and the dump holds
/// a value in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    pub schema: String,
    pub name: String,
    /// The next value it would have given before the dump.
    pub next_at_least: i64,
    /// The next value it would have given after the dump.
    pub next_at_most: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    pub name: String,
    /// `None`: nothing of this kind has happened yet.
    pub value: Option<String>,
}

/// A question about the data, so that a judge can ask it again after a restore without knowing our tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub name: String,
    /// Give it to [`crate::probe::rows`].
    pub sql: String,
    /// The answer at the time of the snapshot; `None`: it was not asked then.
    pub recorded: Option<Recorded>,
    /// Set if the answer is these columns of one table, so that whoever reads the whole table need not ask.
    pub columns_of: Option<ColumnsOf>,
}

/// Columns of a table in the schema `public`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnsOf {
    pub table: String,
    pub columns: Vec<String>,
}

/// A probe's answer: a file of one JSON object per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Below the backup's folder: `probes/NAME.jsonl`. Its size and SHA-256 stand in [`Manifest::files`], too.
    pub file: String,
    pub rows: u64,
    pub sha256: String,
}

/// The objects that the snapshot names. Each stands in `blobs.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blobs {
    /// What asked for them: rows of `blob_key`, `size`, `sha256`.
    pub sql: String,
    pub count: u64,
    pub bytes: u64,
    pub prefixes: Vec<Prefix>,
}

/// Objects of one org and one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    /// Such as `orgs/ORG/g1/artifacts`.
    pub prefix: String,
    pub count: u64,
    pub bytes: u64,
}

/// A file of the backup's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Below the backup's folder, with `/`.
    pub path: String,
    pub size: u64,
    pub sha256: String,
}

/// A line of `blobs.jsonl`: one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobEntry {
    /// Its key in the object store.
    #[serde(rename = "blob_key")]
    pub key: String,
    pub size: u64,
    /// Hex, 64 digits; also its name in the archive.
    pub sha256: String,
}

impl Manifest {
    /// Rows of all tables. Numbers that somebody else wrote may add up to more than there is.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().fold(0, |sum, table| sum.saturating_add(table.rows))
    }

    /// Bytes of all files in the backup's folder.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// The probe called `name`.
    #[must_use]
    pub fn probe(&self, name: &str) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.name == name)
    }

    /// The table called `name` in the schema `public`.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.schema == "public" && table.name == name)
    }
}
