//! A check that a plan leaves out, on somebody's word and for a while.
//!
//! An excluded row is never passed: the report has it as not verified, with the reason, and the drill's verdict follows.

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, de};

use super::words::Name;
use crate::report::CheckId;
use crate::said::{self, Sentence, say};

/// The rows that can be left out. What the backup holds, that the target is quiet and that nothing leaks are the
/// drill itself.
pub(super) const EXCLUDABLE: [CheckId; 4] =
    [CheckId::ArtifactMetadata, CheckId::WorkerRecovery, CheckId::SchedulerRecovery, CheckId::GatewayRecovery];

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    pub check: CheckId,
    pub reason: Name,
    pub owner: Name,
    /// The last day on which it counts.
    #[serde(deserialize_with = "date")]
    pub expires: NaiveDate,
}

impl Exclusion {
    /// What the row says instead of a result.
    #[must_use]
    pub fn sentence(&self) -> Sentence {
        say!(
            "left out by the plan until {}: {} ({})",
            self.expires,
            said::Name::from(&self.reason),
            said::Name::from(&self.owner)
        )
    }
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom("a date is written as \"2027-01-31\""))
}
