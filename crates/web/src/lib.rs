//! The HTTP API: JSON under `/api`, signing in under `/auth`, probes beside them, streams where a client wants to follow.
//!
//! A file per resource, each with its `routes()`. Everything under `/api` is behind one layer that authenticates, so a
//! route can't be open by omission; what a caller must be permitted there stands in the route's description (`gate`). Every failure is a problem (RFC 9457), made in `problem`.
//!
//! Not here: listening and draining (the binary), SQL (`store`), messages from channels (`gateway`).

mod agents;
mod api_token;
mod app;
mod artifacts;
mod audit;
mod auth;
mod billing;
mod bindings;
mod bounds;
mod browser_sessions;
mod byok_keys;
mod channel_identities;
mod channels;
mod commands;
#[cfg(test)]
mod coverage;
mod deliveries;
mod diagnostics;
mod drills;
mod etag;
mod events;
mod extract;
mod gate;
mod guesses;
mod idempotency;
mod instant;
mod interactions;
mod invitations;
mod maintenance;
mod members;
mod metrics;
mod number;
mod observe;
mod openapi;
mod orgs;
mod page;
mod policy;
mod probes;
mod problem;
mod profiles;
mod project_sources;
mod quotas;
mod rate;
mod roles;
mod router;
mod sessions;
mod sign_in;
mod subjects;
#[cfg(test)]
mod testing;
mod text;
mod tokens;
mod uploads;
mod usage;
mod workflows;
mod workspace;

pub use crate::api_token::ApiToken;
pub use crate::app::{App, AppParts, AppSecrets};
pub use crate::drills::{DrillRecords, DrillState, LastDrill, Verdict as DrillVerdict};
pub use crate::events::open::OpenStreams;
pub use crate::events::tails::Tails;
pub use crate::guesses::Guesses;
pub use crate::metrics::Exposition;
pub use crate::openapi::text as openapi;
pub use crate::probes::{Probes, probes};
pub use crate::rate::RateLimits;
pub use crate::router::router;
pub use crate::sign_in::{SignIn, SignInSettings, SignInSetupError};
