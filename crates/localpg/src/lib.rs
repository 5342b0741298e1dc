//! A private Postgres cluster from the machine's own binaries: made, started, stopped, never as root.
//!
//! A cluster lives in a *home* folder: `data` (Postgres' own), `log`, `owner` (who started it) and, where the path is
//! short enough, `run` (its socket). It listens on that socket only, and only the account that it runs as can reach
//! it. [`Cluster::start`] keeps its data between starts; [`Cluster::temporary`] removes everything at its end. A
//! process that is killed leaves its cluster running: the next start takes a kept one over, [`sweep`] removes
//! temporary ones.
//!
//! Ownership is a lock on `owner`, which the kernel lets go of when its holder dies. So a recycled process id can't
//! keep a dead owner alive, and two that start at once can't both win.
//!
//! Everything here blocks: call it from a thread that may wait.
//!
//! Not here: roles, schemas, backups, or any server that somebody else runs.

mod account;
mod binaries;
mod claim;
mod cluster;
mod copied;
mod endpoint;
mod error;
mod home;
mod init;
mod options;
mod postmaster;
mod process;
mod sweep;
mod temporary;

pub use crate::binaries::{Binaries, MissingBinaries};
pub use crate::cluster::Cluster;
pub use crate::endpoint::{Endpoint, SUPERUSER, running};
pub use crate::error::{DatabaseError, StartError, StopError};
pub use crate::options::{Durability, Options};
pub use crate::sweep::{SweepReport, sweep, sweep_below, sweep_home};
