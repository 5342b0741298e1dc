//! Archives that took a backup of this system, and how old the oldest in each is.
//!
//! So that somebody is told in time what a restore could no longer remember. Whoever backs up writes it down after the backup.
//!
//! Not promised: that a backup is still there, nor that none lies elsewhere. Copies of an archive are not known.
//!
//! Not here: what an archive holds (crate `archive`), how far the recovery ledger reaches (`ledger::Reach`).

use clock::Timestamp;
use uuid::Uuid;

use crate::{Store, StoreError};

/// The oldest backup that somebody could restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestBackup {
    pub archive_id: Uuid,
    pub taken_at: Timestamp,
}

impl Store {
    /// The archive took a backup just now, and its oldest is of `oldest_backup_at`.
    ///
    /// Archives that took none since `unused_since` are forgotten: an operator who gave one up is not told of it for ever.
    pub async fn archive_note(
        &self,
        archive_id: Uuid,
        oldest_backup_at: Timestamp,
        unused_since: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "-- archive_note
            WITH unused AS (DELETE FROM archives WHERE seen_at < $4 AND archive_id <> $1)
            INSERT INTO archives (archive_id, oldest_backup_at, seen_at) VALUES ($1, $2, $3)
            ON CONFLICT (archive_id) DO UPDATE SET oldest_backup_at = excluded.oldest_backup_at, seen_at = excluded.seen_at",
            archive_id,
            oldest_backup_at,
            self.sources.now(),
            unused_since,
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("archive_note"))?;
        Ok(())
    }

    /// Of all archives that are known. `None`: none took a backup.
    pub async fn archive_oldest_backup(&self) -> Result<Option<OldestBackup>, StoreError> {
        sqlx::query_as!(
            OldestBackup,
            "-- archive_oldest_backup
            SELECT archive_id, oldest_backup_at AS taken_at FROM archives ORDER BY oldest_backup_at, archive_id LIMIT 1",
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("archive_oldest_backup"))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn the_oldest_backup_of_all_archives_is_known_until_its_archive_is_given_up() {
        let world = World::new().await;
        let (store, day) = (&world.store, TimeDelta::days(1));
        let [daily, weekly]: [Uuid; 2] = [(); 2].map(|()| store.sources().id());
        let oldest = async || store.archive_oldest_backup().await.unwrap();
        let took = async |archive, age: i32| {
            let now = store.sources().now();
            store.archive_note(archive, now - day * age, now - day * 30).await.unwrap();
        };
        assert_eq!(oldest().await, None);
        took(weekly, 20).await;
        took(daily, 3).await;
        let first = store.sources().now() - day * 20;
        assert_eq!(oldest().await, Some(OldestBackup { archive_id: weekly, taken_at: first }));
        // Its oldest was taken away.
        took(weekly, 2).await;
        assert_eq!(oldest().await.unwrap().archive_id, daily);

        world.clock.advance(day * 31);
        took(weekly, 1).await;
        let left = store.sources().now() - day;
        assert_eq!(oldest().await, Some(OldestBackup { archive_id: weekly, taken_at: left }));
    }
}
