//! The fencing token of a session's lease.

use serde::{Deserialize, Serialize};

/// What makes a late holder harmless: every write under a lease compares it in the database.
///
/// Ordered: a later lease has a larger token, and any lease of a later generation outranks all of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FencingToken {
    pub generation: i64,
    pub counter: i64,
}
