//! What a person can choose about a drill.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use attest::SigningKey;

use archive::BackupSpec;
use secrecy::SecretString;

use crate::plan::{Isolation, Plan, Reference};
use crate::progress::Mode;
use crate::report::{Metadata, Objectives};

/// The stages after which a drill can wait for a person.
pub const PAUSES: [&str; 5] = ["restore", "generation", "web", "worker", "scheduler"];

/// A plan that is to be drilled, with what only the binary can find out.
#[derive(Debug, Clone)]
pub struct PlanRun {
    /// With absolute paths.
    pub plan: Plan,
    /// Of its file, in hex.
    pub sha256: String,
    /// Values of the secrets that it names, by reference.
    pub values: BTreeMap<Reference, SecretString>,
    /// What its commands for roles inherit from this process's environment.
    pub inherited: BTreeMap<String, String>,
    /// SQL about the tables, for a backup that brings none.
    pub spec: BackupSpec,
}

/// Whether this process, and so every process of the drill, has left the machine's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolated {
    /// It is in a network namespace of its own; this was the namespace before, as `/proc/self/ns/net` names it.
    Namespace { left: String },
    /// The machine does not allow it.
    Impossible { cause: String },
    /// Nobody asked for it, or the drill's roles are elsewhere.
    NotTried { cause: String },
}

/// A drill that is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the report goes.
    pub out: PathBuf,
    /// Below which folder everything else is made, and removed.
    pub work_parent: PathBuf,
    /// The binary whose recovery is drilled.
    pub executable: PathBuf,
    /// `PATH`, for Postgres' tools.
    pub search_path: String,
    /// Version and commit of the binary.
    pub build: String,
    /// An environment that exists; else one is made up.
    pub plan: Option<PlanRun>,
    /// Whether roles that it starts itself are to have no way out...
    pub isolation: Isolation,
    /// ... and what became of it.
    pub isolated: Isolated,
    pub scale: u32,
    pub seed: u64,
    /// Leaves the target where it is.
    pub keep: bool,
    /// One of [`PAUSES`].
    pub pause_after: Option<String>,
    pub objectives: Objectives,
    pub metadata: Metadata,
    pub keeping: Keeping,
    pub mode: Mode,
    /// For the test of crash safety: `kill -9` of itself as soon as the journal has so many entries.
    pub die_after_entry: Option<u64>,
}

/// What becomes of a drill's evidence.
#[derive(Debug, Clone, Default)]
pub struct Keeping {
    /// Signs the bundle. `None`: it stays unsigned, and its report says so.
    pub signing_key: Option<Arc<SigningKey>>,
    /// The findings file that drills, people and the launch gate share.
    pub findings: Option<PathBuf>,
    /// A folder with the reports of earlier drills, for the report's picture of them.
    pub history: Option<PathBuf>,
}
