//! The judge: builds a system that can be lost, loses it, restores it, brings the roles up in order, asks, records,
//! decides.
//!
//! It sees what an operator sees: Postgres' catalogue, the SQL that a backup's manifest names, objects, HTTP, logs, exit
//! codes. It never depends on `store`, `web`, `worker`, `scheduler` or `gateway`: a judge that shares the defendant's
//! code shares its bugs (ARCHITECTURE.md, invariant 1, held by a test).
//!
//! Not here: what a seal is (`attest`).

pub mod faults;
pub mod findings;
pub mod gate;
pub mod history;
pub mod plan;
pub mod progress;
pub mod report;
pub mod reread;
pub mod said;

mod api;
mod backup;
mod case;
mod checks;
mod copy_text;
mod copying;
mod error;
mod fold;
mod inbound;
mod operated;
mod options;
mod origin;
mod out;
mod pause;
mod proceedings;
mod processes;
mod recovery;
mod rehearsal;
mod remembering;
mod rigging;
mod run;
mod seal;
mod settings;
mod sink;
mod survey;
mod target;
mod territory;
mod work;

pub use crate::error::DrillError;
pub use crate::options::{Isolated, Keeping, Options, PAUSES, PlanRun};
pub use crate::run::{Kept, Outcome, run};
pub use crate::seal::file_digest;
pub use crate::work::{Cleaned, clean};
