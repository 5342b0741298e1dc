//! The protocol of effects as a state machine: claim, intent, send, outcome, acknowledgement, backup, restore.
//!
//! An effect is a delivery, a slot that fires, or a revocation. [`explore`] visits every state that small sizes can
//! reach, with a crash at every step, and asks the laws ([`Law`]) of each; [`trace::is_a_path`] asks whether what the real
//! program did is something that the model can do. Every rule of the protocol can be switched off ([`Rules`]), and then
//! exploring must find a counterexample: a model that can't fail proves nothing.
//!
//! Time is not here: a lease may run out at any moment, a process may sleep for any while, a copy that was lost may come
//! back at any moment. Nor are segments, checksums and retention (`ledger`), nor why the ledger can't be
//! reached: one that can't be written is a claim that is given back, before its intent or after it.

mod after;
mod explore;
mod law;
mod rules;
mod state;
mod step;
pub mod trace;

pub use crate::explore::{Counterexample, Explored, explore};
pub use crate::law::Law;
pub use crate::rules::{Fence, Kind, Limits, Rules, World};
pub use crate::state::{Answer, Copy, Row, RowState, State, Told, Word};
pub use crate::step::Action;
