//! Which backups a ledger reaches: whether a restore from one finds all that happened since.
//!
//! Not here: which backups there are (whoever takes them), dropping what is too old (`compact`).

use chrono::TimeDelta;
use clock::Timestamp;
use ids::SystemId;
use objects::Objects;

use crate::compact::Compaction;
use crate::dropped;
use crate::error::LedgerError;

/// How far before a backup's snapshot a restore begins to read: more than clocks differ, and than a delivery is under way.
pub const BEFORE_SNAPSHOT: TimeDelta = TimeDelta::hours(1);

/// From when on a ledger tells everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    kept_from: Timestamp,
}

impl Reach {
    /// By what is configured: nothing older is sure to be there.
    #[must_use]
    pub fn of_retention(retention: TimeDelta, now: Timestamp) -> Self {
        let retention = retention.max(Compaction::MIN_RETENTION);
        Self { kept_from: now.checked_sub_signed(retention).unwrap_or(Timestamp::MIN_UTC) }
    }

    /// And by what was dropped already, perhaps while the retention was shorter.
    ///
    /// # Errors
    /// `Unavailable`, and what makes the marker another than this system's.
    pub async fn of_ledger(self, objects: &Objects, system: SystemId) -> Result<Self, LedgerError> {
        let dropped = dropped::kept_from(objects, system).await?;
        Ok(Self { kept_from: dropped.map_or(self.kept_from, |dropped| dropped.max(self.kept_from)) })
    }

    #[must_use]
    pub fn kept_from(&self) -> Timestamp {
        self.kept_from
    }

    /// Whether a restore of a backup whose snapshot was taken then forgets nothing.
    #[must_use]
    pub fn covers(&self, taken_at: Timestamp) -> bool {
        taken_at.checked_sub_signed(BEFORE_SNAPSHOT).is_some_and(|begins| begins >= self.kept_from)
    }
}

#[cfg(test)]
mod tests {
    use clock::Sources;

    use super::*;

    #[test]
    fn a_backup_is_covered_until_the_hour_before_it_may_be_dropped() {
        let now = testkit::system_sources().now();
        let reach = Reach::of_retention(TimeDelta::days(30), now);
        let aged = |age: TimeDelta| reach.covers(now - age);
        assert!(aged(TimeDelta::zero()) && aged(TimeDelta::days(30) - BEFORE_SNAPSHOT));
        assert!(!aged(TimeDelta::days(30)) && !aged(TimeDelta::days(31)));
    }

    #[tokio::test]
    async fn what_was_dropped_under_a_shorter_retention_stays_out_of_reach() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open_folder(folder.path()).unwrap();
        let sources: Sources = testkit::system_sources();
        let (system, now) = (sources.id(), sources.now());
        let reach = Reach::of_retention(TimeDelta::days(400), now);
        let backup = now - TimeDelta::days(10);
        assert!(reach.of_ledger(&objects, system).await.unwrap().covers(backup));
        let hour = TimeDelta::hours(1).num_seconds();
        let dropped = Timestamp::from_timestamp(backup.timestamp().div_euclid(hour) * hour + hour, 0).unwrap();
        dropped::mark(&objects, system, dropped).await.unwrap();
        let reach = reach.of_ledger(&objects, system).await.unwrap();
        assert_eq!((reach.kept_from(), reach.covers(backup)), (dropped, false));
    }
}
