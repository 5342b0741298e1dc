//! Quotas: how much of something an org may use in a period, and when the next period begins. Ranges of days, for which is
//! told what was used.
//!
//! Periods are those of the calendar in UTC: the same for everybody, and nobody's period depends on when an operator set
//! a quota. Days of a range are the same days, and it ends as a period does: where the next one begins.
//!
//! Not here: counting (`store::usage`), comparing (`store::quota`).

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, Months, NaiveDate, NaiveTime};
use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::tenancy::UnknownWord;

/// Days of a range, at most: a year, with something of the one before.
pub const RANGE_DAYS_MAX: i64 = 400;

/// What is metered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UsageKind {
    Turns,
    /// Milliseconds that turns were at work. Time in which one waits for a person, and lost attempts, do not count.
    TurnMs,
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

/// Days of the calendar in UTC, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayRange {
    from: NaiveDate,
    to: NaiveDate,
}

/// Why there is no such range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DayRangeError {
    #[error("a range can't end before it begins")]
    Backwards,
    #[error("a range has at most {max} days", max = RANGE_DAYS_MAX)]
    TooLong,
}

impl UsageKind {
    pub const ALL: [Self; 7] = [
        Self::Turns,
        Self::TurnMs,
        Self::InputTokens,
        Self::OutputTokens,
        Self::ArtifactBytes,
        Self::Deliveries,
        Self::Runs,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::TurnMs => "turn_ms",
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
        midnight(next)
    }
}

impl DayRange {
    /// From `from` to the day before `to`. None at all, if they are the same.
    ///
    /// # Errors
    /// If it ends before it begins, or is too long.
    pub fn new(from: NaiveDate, to: NaiveDate) -> Result<Self, DayRangeError> {
        match (to - from).num_days() {
            ..0 => Err(DayRangeError::Backwards),
            0..=RANGE_DAYS_MAX => Ok(Self { from, to }),
            _ => Err(DayRangeError::TooLong),
        }
    }

    /// The first day.
    #[must_use]
    pub fn from(&self) -> NaiveDate {
        self.from
    }

    /// The day after the last one.
    #[must_use]
    pub fn to(&self) -> NaiveDate {
        self.to
    }

    /// When the first day begins.
    #[must_use]
    pub fn begins_at(&self) -> Timestamp {
        midnight(self.from)
    }

    /// When the last day has ended.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        midnight(self.to)
    }
}

fn midnight(day: NaiveDate) -> Timestamp {
    day.and_time(NaiveTime::MIN).and_utc()
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

    #[test]
    fn a_range_holds_its_first_day_and_not_its_last_and_has_a_bound() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let range = |from, to| DayRange::new(day(from), day(to));
        let month = range("2024-02-01", "2024-03-01").unwrap();
        assert_eq!(month.begins_at(), "2024-02-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let now = "2024-02-29T12:00:00Z".parse().unwrap();
        assert_eq!((month.from(), month.ends_at()), (QuotaPeriod::Month.begins(now), QuotaPeriod::Month.ends_at(now)));
        assert!(range("2024-02-01", "2024-02-01").is_ok());
        assert_eq!(range("2024-02-02", "2024-02-01"), Err(DayRangeError::Backwards));
        assert!(range("2024-01-01", "2025-02-04").is_ok(), "400 days");
        assert_eq!(range("2024-01-01", "2025-02-05"), Err(DayRangeError::TooLong));
        assert_eq!(range("0000-01-01", "9999-12-31"), Err(DayRangeError::TooLong));
    }

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        for kind in UsageKind::ALL {
            assert_eq!(kind.as_str().parse::<UsageKind>().ok(), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
