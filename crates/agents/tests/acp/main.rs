//! Agents that speak ACP, as processes: a fake one that does what it is told, also to misbehave.
//!
//! Not here: a real one (`e2e`).

mod cage;
mod spending;
mod turns;
mod world;
