//! The ledger over stores that behave, and over those that don't.

mod compacting;
mod damage;
mod faults;
mod laws;
mod model;
mod support;
mod writing;
