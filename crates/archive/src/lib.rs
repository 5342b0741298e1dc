//! Backup and restore: format, manifest, verification. `FORMAT.md` beside this crate describes every file and field.
//!
//! A backup is one restorable state: a dump of exactly one Postgres snapshot, the blobs that this snapshot names, and
//! a manifest of what a restore must give back, taken in the same snapshot. The judge of a drill reads the manifest
//! and compares; it takes [`digest`], [`probe`] and [`catalogue`] from here, so that both sides measure with one ruler.
//!
//! Postgres' own tools dump and restore. SQL about our tables is not here either: it is handed in ([`BackupSpec`]) and
//! written into the manifest. Objects and archives are local folders; another kind of store takes the place of
//! `blobs` and `layout`.

mod backup;
mod blobs;
pub mod catalogue;
pub mod digest;
mod layout;
pub mod manifest;
mod measure;
pub mod probe;
mod progress;
mod reading;
mod restore;
mod snapshot;
mod spec;
mod survey;
mod tools;
mod verify;

pub use crate::backup::{BackupDone, BackupError, BackupRequest, backup};
pub use crate::blobs::{BlobFault, BlobFaults, Fault};
pub use crate::layout::{Archive, ArchiveError};
pub use crate::manifest::Manifest;
pub use crate::progress::{Progress, Quiet, Step};
pub use crate::restore::{RestoreDone, RestoreError, RestoreRequest, restore};
pub use crate::spec::{BackupSpec, ProbeSpec, TableFilter};
pub use crate::survey::{SurveyRequest, survey};
pub use crate::tools::{ToolError, Tools};
pub use crate::verify::{Backup, VerifyError, verify};
