//! Quotas: how much of something an org may use in a period, and when the next period begins.
//!
//! Periods are those of the calendar in UTC: the same for everybody, and nobody's period depends on when an operator set
//! a quota.
//!
//! Not here: counting (`store::usage`), comparing (`store::quota`).

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, Months, NaiveDate};
use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::tenancy::UnknownWord;

/// What is metered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UsageKind {
    Turns,
    InputTokens,
    OutputTokens,
    ArtifactBytes,
    Deliveries,
    Runs,
}

/// How long a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum QuotaPeriod {
    Day,
    Month,
}

/// Where a quota comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum QuotaOrigin {
    /// An operator set it for this org.
    Org,
    /// The plan that the org is on.
    Plan,
    /// The org's subscription has ended, or is not paid.
    Subscription,
}

impl UsageKind {
    pub const ALL: [Self; 6] =
        [Self::Turns, Self::InputTokens, Self::OutputTokens, Self::ArtifactBytes, Self::Deliveries, Self::Runs];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::ArtifactBytes => "artifact_bytes",
            Self::Deliveries => "deliveries",
            Self::Runs => "runs",
        }
    }
}

impl QuotaPeriod {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The first day of the period that `now` is in.
    #[must_use]
    pub fn begins(self, now: Timestamp) -> NaiveDate {
        let today = now.date_naive();
        match self {
            Self::Day => today,
            Self::Month => today.with_day(1).expect("every month has a first day"),
        }
    }

    /// When the next period begins.
    #[must_use]
    pub fn ends_at(self, now: Timestamp) -> Timestamp {
        let begins = self.begins(now);
        let next = match self {
            Self::Day => begins + Days::new(1),
            Self::Month => begins + Months::new(1),
        };
        next.and_time(chrono::NaiveTime::MIN).and_utc()
    }
}

impl fmt::Display for UsageKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for UsageKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownWord::new(text))
    }
}

impl FromStr for QuotaPeriod {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        [Self::Day, Self::Month]
            .into_iter()
            .find(|period| period.as_str() == text)
            .ok_or_else(|| UnknownWord::new(text))
    }
}

impl FromStr for QuotaOrigin {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "org" => Ok(Self::Org),
            "plan" => Ok(Self::Plan),
            "subscription" => Ok(Self::Subscription),
            other => Err(UnknownWord::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_ends_where_the_next_one_of_the_calendar_begins() {
        for (period, now, begins, ends) in [
            (QuotaPeriod::Day, "2024-02-29T23:59:59.999Z", "2024-02-29", "2024-03-01T00:00:00Z"),
            (QuotaPeriod::Day, "2024-03-01T00:00:00Z", "2024-03-01", "2024-03-02T00:00:00Z"),
            (QuotaPeriod::Month, "2024-12-31T23:00:00Z", "2024-12-01", "2025-01-01T00:00:00Z"),
            (QuotaPeriod::Month, "2024-01-31T12:00:00Z", "2024-01-01", "2024-02-01T00:00:00Z"),
        ] {
            let now: Timestamp = now.parse().unwrap();
            assert_eq!(period.begins(now), begins.parse().unwrap());
            assert_eq!(period.ends_at(now), ends.parse::<Timestamp>().unwrap());
        }
    }
}
