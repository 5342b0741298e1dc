//! The object store: keys, checksums, artifacts, checkpoints.
//!
//! Not here: the rows that name objects (`store`), and where an org's data key comes from (`secrets`).

pub mod checkpoint;
mod key;
mod objects;

pub use crate::key::{CheckpointKey, ObjectKeys};
pub use crate::objects::{Blob, Listed, Objects, ObjectsError};
