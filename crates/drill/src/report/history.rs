//! An earlier drill, as a later report shows it.
//!
//! Not here: finding earlier drills (`crate::history`), drawing them (`trend`).

use clock::Timestamp;
use serde::{Deserialize, Serialize};

use super::Verdict;

/// What an earlier drill came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    pub drill_id: String,
    pub started_at: Timestamp,
    /// Absent: it was interrupted, whatever it had found by then.
    pub verdict: Option<Verdict>,
    pub rto_s: Option<f64>,
    pub rpo_s: Option<f64>,
}
