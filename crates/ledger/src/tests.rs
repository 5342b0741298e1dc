//! The ledger over stores that behave, and over those that don't.

mod writing;
