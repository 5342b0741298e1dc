//! For tests: a database per test, a clock that is told the time, seeded randomness, an object store that
//! misbehaves, a git server, waiting for a state.
//!
//! Nothing here is part of the product, and nothing of the product but `clock` and `localpg` is used: what is tested
//! must not vouch for itself.
//!
//! Not here: fakes of other parties that a trait stands in front of. Those live beside it.

mod database;
mod git;
mod objects;
mod server;
mod sources;
mod wait;

pub use crate::database::TestDatabase;
pub use crate::git::{GitRepository, GitServer, USERNAME as GIT_USERNAME};
pub use crate::objects::{FaultyStore, Mood};
pub use crate::server::SERVER_VARIABLE;
pub use crate::sources::{sources, system_sources};
pub use crate::wait::{LIMIT, wait_until};
