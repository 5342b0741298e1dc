//! What the stories share: the binary, processes that don't outlive their test, installations, drills, waiting for a
//! state.
//!
//! Everything is seen from outside: exit codes, standard error, files, `/proc`, HTTP. Nothing of the system is linked
//! but the client of its public API, and `localpg`, which tidies up after clusters whose owner a test has killed.
//!
//! Not here: the stories (`tests/`).

mod agents;
mod backups;
mod binary;
mod collector;
mod drill;
mod folder;
mod installation;
mod model;
mod npm;
mod plan;
mod processes;
mod provider;
mod report;
mod running;
mod schemathesis;
mod sink;
mod told;
mod visitor;
mod wait;
mod world;

pub use crate::agents::RealAgent;
pub use crate::backups::{PgBackRest, Physical, copy_folder, dump, tool};
pub use crate::binary::{binary, cowork};
pub use crate::collector::{CollectedSpan, Collector};
pub use crate::drill::{Drill, Ended, Paused, journal};
pub use crate::folder::Folder;
pub use crate::installation::{Installation, Served};
pub use crate::model::Model;
pub use crate::plan::PlanText;
pub use crate::processes::{kill, living_below, of_role};
pub use crate::provider::Provider;
pub use crate::report::{CHECKS, Report};
pub use crate::running::Running;
pub use crate::schemathesis::hold_to_its_description;
pub use crate::sink::Sink;
pub use crate::told::{Told, tell, told};
pub use crate::visitor::{Seen, Visitor};
pub use crate::wait::{LIMIT, wait_for, wait_for_async};
pub use crate::world::{Facts, MEMORY, World, search_path};
