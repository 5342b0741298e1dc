//! Archives that took a backup of this system, how old the oldest in each is, and which backup each took last.
//!
//! So that somebody is told in time what a restore could no longer remember, and that backups are no longer taken. Whoever backs up
//! writes it down after the backup.
//!
//! So the rows of a backup know of those before it, and not of itself: after a restore they tell of a backup that is older than
//! what was restored, and nobody has backed up what this life of the system did since. Therefore the newest backup is told of the
//! current generation only, and a restored system has none until it takes one. The oldest is told of whatever generation: it may
//! still be restored.
//!
//! Not promised: that a backup is still there, nor that none lies elsewhere. Copies of an archive are not known, nor backups that
//! were taken in another way than by `cowork backup`.
//!
//! Not here: what an archive holds (crate `archive`), how far the recovery ledger reaches (`ledger::Reach`).

use clock::Timestamp;
use ids::BackupId;
use uuid::Uuid;

use crate::{Store, StoreError};

/// The oldest backup that somebody could restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestBackup {
    pub archive_id: Uuid,
    pub taken_at: Timestamp,
}

/// The newest backup of this life of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewestBackup {
    pub archive_id: Uuid,
    pub backup_id: BackupId,
    pub taken_at: Timestamp,
}

/// A backup that was just taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotedBackup {
    pub backup_id: BackupId,
    /// Whose life it is of.
    pub generation: i64,
    /// The instant of its snapshot.
    pub taken_at: Timestamp,
}

impl Store {
    /// The archive took the backup `newest` just now, and its oldest is of `oldest_backup_at`.
    ///
    /// Archives that took none since `unused_since` are forgotten: an operator who gave one up is not told of it for ever.
    pub async fn archive_note(
        &self,
        archive_id: Uuid,
        newest: NotedBackup,
        oldest_backup_at: Timestamp,
        unused_since: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "-- archive_note
            WITH unused AS (DELETE FROM archives WHERE seen_at < $4 AND archive_id <> $1)
            INSERT INTO archives (archive_id, oldest_backup_at, seen_at, newest_backup_id, newest_backup_at,
                newest_backup_generation)
            VALUES ($1, $2, $3, $5, $6, $7)
            ON CONFLICT (archive_id) DO UPDATE SET oldest_backup_at = excluded.oldest_backup_at, seen_at = excluded.seen_at,
                newest_backup_id = excluded.newest_backup_id, newest_backup_at = excluded.newest_backup_at,
                newest_backup_generation = excluded.newest_backup_generation",
            archive_id,
            oldest_backup_at,
            self.sources.now(),
            unused_since,
            newest.backup_id as BackupId,
            newest.taken_at,
            newest.generation,
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

    /// Of the current generation, over all archives that are known. `None`: none of it is known.
    pub async fn archive_newest_backup(&self) -> Result<Option<NewestBackup>, StoreError> {
        sqlx::query_as!(
            NewestBackup,
            r#"-- archive_newest_backup
            SELECT archive_id, newest_backup_id AS "backup_id!: BackupId", newest_backup_at AS "taken_at!" FROM archives
            WHERE newest_backup_generation = (SELECT max(generation) FROM generations)
            ORDER BY newest_backup_at DESC, archive_id LIMIT 1"#,
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("archive_newest_backup"))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::Environment;
    use crate::testing::World;

    /// A backup of `generation`, taken now.
    fn taken(world: &World, generation: i64) -> NotedBackup {
        let sources = world.store.sources();
        NotedBackup { backup_id: sources.id(), generation, taken_at: sources.now() }
    }

    #[tokio::test]
    async fn the_oldest_backup_of_all_archives_is_known_until_its_archive_is_given_up() {
        let world = World::new().await;
        let (store, day) = (&world.store, TimeDelta::days(1));
        let [daily, weekly]: [Uuid; 2] = [(); 2].map(|()| store.sources().id());
        let oldest = async || store.archive_oldest_backup().await.unwrap();
        let took = async |archive, age: i32| {
            let now = store.sources().now();
            store.archive_note(archive, taken(&world, 1), now - day * age, now - day * 30).await.unwrap();
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

    #[tokio::test]
    async fn the_newest_backup_is_that_of_this_life_and_a_restored_system_claims_none() {
        let world = World::new().await;
        let (store, hour) = (&world.store, TimeDelta::hours(1));
        let [daily, weekly]: [Uuid; 2] = [(); 2].map(|()| store.sources().id());
        let took = async |archive, backup: NotedBackup| {
            store.archive_note(archive, backup, backup.taken_at, backup.taken_at - hour * 10).await.unwrap();
        };
        let newest = async || store.archive_newest_backup().await.unwrap();
        assert_eq!(newest().await, None);
        took(weekly, taken(&world, 1)).await;
        world.clock.advance(hour);
        let backup = taken(&world, 1);
        took(daily, backup).await;
        let NotedBackup { backup_id, taken_at, .. } = backup;
        assert_eq!(newest().await, Some(NewestBackup { archive_id: daily, backup_id, taken_at }));
        world.clock.advance(hour);
        let backup = taken(&world, 1);
        took(weekly, backup).await;
        assert_eq!(newest().await.map(|newest| newest.backup_id), Some(backup.backup_id));

        // As after a restore: the rows are those of the backup.
        store.generation_start(backup.backup_id, Environment::Production).await.unwrap();
        assert_eq!(newest().await, None);
        assert!(store.archive_oldest_backup().await.unwrap().is_some(), "it may still be restored");
        let backup = taken(&world, 2);
        took(daily, backup).await;
        assert_eq!(newest().await.map(|newest| newest.backup_id), Some(backup.backup_id));
    }
}
