//! The HTTP API: JSON under `/api`, health beside it, streams where a client wants to follow.
//!
//! A file per resource, each with its `routes()`. Everything under `/api` is behind one layer that authenticates, so a
//! route can't be open by omission; what a caller may do there, its handler says by the extractor it takes
//! (`auth::{Reader, Writer, Manager, Operator}`). Every failure is a problem (RFC 9457), made in `problem`.
//!
//! Not here: listening and draining (the binary), SQL (`store`), messages from channels (`gateway`).

mod app;
mod artifacts;
mod auth;
mod bindings;
mod channels;
mod commands;
mod deliveries;
mod events;
mod extract;
mod page;
mod problem;
mod router;
mod sessions;
mod workflows;

pub use crate::app::App;
pub use crate::router::router;
