//! The judge: restores, brings roles up in order, asks, records, decides.

pub mod progress;
pub mod report;
