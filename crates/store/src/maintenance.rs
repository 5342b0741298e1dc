//! Maintenance: the system is read and not written, until an operator ends it.
//!
//! Who would begin something asks first: web before each request that changes something, gateways before they take a message in,
//! and the statements that claim a session, a delivery or a due trigger ask themselves. What was begun is finished: a
//! turn in hand, an erasure, seals, what the recovery ledger is owed. Who may still read has a last use, of a token or of a browser
//! session, and it is written as ever.
//!
//! The row belongs to the generation that it was written in. A system that was restored from a backup that was taken in
//! maintenance is not in it.
//!
//! Not promised: that nothing is written from the very moment on. A process that does not hear the others remembers for
//! [`REMEMBERED`] that there is none.
//!
//! Not here: the answers (`web::maintenance`, `gateway`).

use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use clock::Timestamp;
use serde_json::json;

use crate::wake::Wake;
use crate::{Store, StoreError, audit};

/// How long a look counts, at most.
const REMEMBERED: TimeDelta = TimeDelta::seconds(1);

/// Since when, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    pub since: Timestamp,
    /// For people.
    pub reason: String,
}

/// The last look. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastLook(Arc<Mutex<Option<Look>>>);

#[derive(Debug, Clone)]
struct Look {
    found: Option<Maintenance>,
    at: Timestamp,
    /// Changes that were heard of before it.
    changes: u64,
}

impl LastLook {
    fn get(&self, now: Timestamp, changes: u64) -> Option<Option<Maintenance>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = |look: &&Look| look.changes == changes && (look.at..look.at + REMEMBERED).contains(&now);
        last.as_ref().filter(counts).map(|look| look.found.clone())
    }

    fn keep(&self, look: Look) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
    }
}

impl Store {
    /// `None`: the system works.
    pub async fn maintenance(&self) -> Result<Option<Maintenance>, StoreError> {
        sqlx::query_as!(
            Maintenance,
            "-- maintenance
            SELECT since, reason FROM maintenance WHERE generation = (SELECT max(generation) FROM generations)",
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("maintenance"))
    }

    /// As [`Self::maintenance`], for who asks with every request: remembered for a moment while this process hears others.
    pub async fn maintenance_remembered(&self) -> Result<Option<Maintenance>, StoreError> {
        let Some(changes) = self.wakes.identity_changes() else { return self.maintenance().await };
        let at = self.sources.now();
        if let Some(found) = self.maintenance.get(at, changes) {
            return Ok(found);
        }
        let found = self.maintenance().await?;
        self.maintenance.keep(Look { found: found.clone(), at, changes });
        Ok(found)
    }

    /// Begins maintenance, or gives it another reason. Every org's audit trail tells of it.
    pub async fn maintenance_begin(&self, reason: &str, actor: &str) -> Result<Maintenance, StoreError> {
        let during = || StoreError::during("maintenance_begin");
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        let begun = sqlx::query_as!(
            Maintenance,
            "-- maintenance_begin
            INSERT INTO maintenance AS known (generation, since, reason)
            SELECT max(generation), $1, $2 FROM generations
            ON CONFLICT (generation) DO UPDATE SET reason = excluded.reason
            RETURNING since, reason",
            self.sources.now(),
            reason,
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        self.told(&mut tx, actor, "maintenance.begin", json!({"reason": reason})).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        Ok(begun)
    }

    /// Ends maintenance. `false`: there was none.
    pub async fn maintenance_end(&self, actor: &str) -> Result<bool, StoreError> {
        let during = || StoreError::during("maintenance_end");
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        let ended = sqlx::query!(
            "-- maintenance_end
            DELETE FROM maintenance WHERE generation = (SELECT max(generation) FROM generations)",
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        if ended.rows_affected() == 0 {
            return Ok(false);
        }
        self.told(&mut tx, actor, "maintenance.end", json!({})).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        self.wakes.tell(Wake::Work);
        Ok(true)
    }

    async fn told(
        &self,
        connection: &mut sqlx::PgConnection,
        actor: &str,
        action: &str,
        detail: serde_json::Value,
    ) -> Result<(), sqlx::Error> {
        audit::record_everywhere(connection, &self.sources, actor, action, "installation", detail).await
    }
}

#[cfg(test)]
mod tests {
    use ids::BackupId;

    use super::*;
    use crate::Environment;
    use crate::testing::World;

    #[tokio::test]
    async fn nothing_is_claimed_in_maintenance_and_everything_after_it() {
        let world = World::new().await;
        world.ready().await;
        let begun = world.store.maintenance_begin("moving", "role:test").await.unwrap();
        assert_eq!(world.store.maintenance().await.unwrap(), Some(begun.clone()));
        assert!(world.claim(9).await.is_empty());
        world.clock.advance(TimeDelta::minutes(1));
        let again = world.store.maintenance_begin("still moving", "role:test").await.unwrap();
        assert_eq!((again.since, again.reason.as_str()), (begun.since, "still moving"));
        assert!(world.store.maintenance_end("role:test").await.unwrap());
        assert!(!world.store.maintenance_end("role:test").await.unwrap());
        assert_eq!(world.claim(9).await.len(), 1);
    }

    #[tokio::test]
    async fn a_system_restored_from_a_backup_of_maintenance_works() {
        let world = World::new().await;
        world.store.maintenance_begin("moving", "role:test").await.unwrap();
        let backup: BackupId = world.store.sources().id();
        world.store.generation_start(backup, Environment::Production).await.unwrap();
        assert_eq!(world.store.maintenance().await.unwrap(), None);
        world.store.maintenance_begin("moving again", "role:test").await.unwrap();
        assert_eq!(world.store.maintenance().await.unwrap().unwrap().reason, "moving again");
    }

    #[tokio::test]
    async fn every_org_is_told_of_maintenance() {
        let world = World::new().await;
        let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
        world.store.maintenance_begin("moving", "role:test").await.unwrap();
        for org in [world.org, other] {
            let (records, _) = world.store.audit_list(org, &crate::AuditFilter::default(), 0, 10).await.unwrap();
            assert_eq!(records.last().unwrap().action, "maintenance.begin");
        }
    }
}
