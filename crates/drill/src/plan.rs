//! A plan: everything that a drill of an environment that exists has to be told. A TOML file that people keep beside
//! their deployment.
//!
//! [`Plan::parse`] is pure: text in, types or a [`PlanError`] out. A key that it does not know is an error, for a typo
//! must not switch a check off. It holds no secret, only references to them.
//!
//! Not here: whether what it names is there (`check`), what a drill makes of it (`case`).

mod check;
mod error;
mod exclusion;
mod model;
mod source;
mod words;

pub use self::check::{Problem, Step, examine, explain};
pub use self::error::PlanError;
pub use self::exclusion::Exclusion;
pub use self::model::{
    Bounds, Canary, CanaryKind, Expectation, GatewayFacts, Held, Isolation, Operator, Output, Plan, Production, Repeat,
    RoleCommands, Roles, SchedulerFacts, SecretAt, Side, Smoke, TargetFacts, Thresholds,
};
pub use self::source::{ArchiveSource, BaseBackupSource, DumpSource, PgBackRestSource, ProvidedSource, Source, Until};
pub use self::words::{Name, Reference, Shell, Sql};

/// The plan that `cowork drill plan init` writes: every key, with what it is for.
pub const TEMPLATE: &str = include_str!("plan/template.toml");

/// The SHA-256 of a plan's text, in hex.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    attest::sha256_hex(text.as_bytes())
}
