//! The faults, by the row that is meant to see each first.

mod backup;
mod gateway;
mod kept;
mod objects;
mod output;
mod parity;
mod people;
mod remembered;
mod rows;
mod scheduler;
mod secrets;
mod web;
mod worker;

use super::fault::Fault;

/// Those that stand for the rest: one of each kind.
pub(crate) const QUICK: [&str; 8] = [
    "dump-flipped",
    "row-changed",
    "blob-flipped",
    "ciphertext-moved",
    "projection-different",
    "slot-forgotten",
    "delivery-sent-twice",
    "scanner-deaf",
];

pub(crate) fn all() -> impl Iterator<Item = &'static Fault> {
    let by_row = [
        backup::FAULTS,
        rows::FAULTS,
        objects::FAULTS,
        secrets::FAULTS,
        web::FAULTS,
        parity::FAULTS,
        worker::FAULTS,
        scheduler::FAULTS,
        gateway::FAULTS,
        remembered::FAULTS,
        kept::FAULTS,
        people::FAULTS,
        output::FAULTS,
    ];
    by_row.into_iter().flatten()
}
