//! Worlds that are whole, each in its own way: the judge has to pass them.
//!
//! What the program can't do yet has no variant here.

use super::act::Act;
use super::fault::Step::{self, Source};

/// A world in which nothing is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) steps: &'static [Step],
}

/// Those that stand for the rest.
pub(crate) const QUICK: [&str; 2] = ["as-it-is", "second-backup"];

pub(crate) fn all() -> impl Iterator<Item = &'static Variant> {
    VARIANTS.iter()
}

const VARIANTS: &[Variant] = &[
    Variant { id: "as-it-is", what: "the shared world, unbroken", steps: &[] },
    Variant {
        id: "second-backup",
        what: "the second backup in an archive, of the same state",
        steps: &[Step::EarlierBackup, Source(Act::Define("SELECT 1"))],
    },
];
