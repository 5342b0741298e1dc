//! Which version of the adapter key is the current one.
//!
//! The configuration of each process says what it seals under, and nothing here changes that. What is written down is what
//! the operator has decided, so that a process, a person or a restored system that says otherwise can be told.
//!
//! Not here: what is sealed under which version (`data_key`), carrying the word out (`cowork keys`).

use clock::Timestamp;
use serde_json::json;

use crate::outbox::{self, Effect};
use crate::{Store, StoreError, audit};

/// The version that is the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRotation {
    pub version: String,
    pub rotated_at: Timestamp,
}

impl Store {
    /// `None`: the adapter key was never rotated.
    pub async fn key_rotation_current(&self) -> Result<Option<KeyRotation>, StoreError> {
        sqlx::query_as!(
            KeyRotation,
            "-- key_rotation_current
            SELECT version, rotated_at FROM key_rotations ORDER BY rotated_at DESC, version DESC LIMIT 1",
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("key_rotation_current"))
    }

    /// Makes `version` the current one. Every org's audit trail tells of it, and the recovery ledger. `false`: it is already.
    ///
    /// Going back to a version that was current before is a rotation, too.
    pub async fn key_rotate(&self, version: &str, actor: &str) -> Result<bool, StoreError> {
        let during = || StoreError::during("key_rotate");
        let now = self.sources.now();
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        // Two at once: the second waits here, and then sees what the first has made current.
        sqlx::query!("-- key_rotate_lock\nLOCK TABLE key_rotations IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut *tx)
            .await
            .map_err(during())?;
        let rotated = sqlx::query!(
            "-- key_rotate
            INSERT INTO key_rotations (version, rotated_at)
            SELECT $1, greatest($2, max(rotated_at) + interval '1 microsecond') FROM key_rotations
            HAVING $1 IS DISTINCT FROM (SELECT version FROM key_rotations ORDER BY rotated_at DESC, version DESC LIMIT 1)
            ON CONFLICT (version) DO UPDATE SET rotated_at = excluded.rotated_at",
            version,
            now,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        if rotated.rows_affected() == 0 {
            return Ok(false);
        }
        let target = format!("adapter_key:{version}");
        audit::record_everywhere(&mut tx, &self.sources, actor, "keys.rotate", &target, json!({}))
            .await
            .map_err(during())?;
        let effect = Effect::AdapterKeyRotated { version: version.to_owned() };
        outbox::insert(&mut tx, &self.sources, &[effect]).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AuditFilter;
    use crate::testing::World;

    async fn current(store: &Store) -> Option<String> {
        store.key_rotation_current().await.unwrap().map(|rotation| rotation.version)
    }

    #[tokio::test]
    async fn the_last_word_is_current_also_if_it_goes_back() {
        let world = World::new().await;
        let store = &world.store;
        assert_eq!(current(store).await, None);
        for (version, new) in [("2", true), ("2", false), ("3", true), ("2", true)] {
            assert_eq!(store.key_rotate(version, "role:test").await.unwrap(), new);
            assert_eq!(current(store).await.as_deref(), Some(version), "the clock stands, and the order holds");
        }
    }

    #[tokio::test]
    async fn a_rotation_is_told_to_every_org_and_to_the_ledger() {
        let world = World::new().await;
        let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
        world.store.key_rotate("2", "role:test").await.unwrap();
        for org in [world.org, other] {
            let filter = AuditFilter { action: Some("keys.rotate".into()), ..AuditFilter::default() };
            let (records, _) = world.store.audit_list(org, &filter, 0, 10).await.unwrap();
            assert_eq!(records.iter().map(|record| record.target.as_str()).collect::<Vec<_>>(), ["adapter_key:2"]);
        }
        let told = world.store.outbox_list(world.store.sources().now(), 10).await.unwrap();
        let effect = Effect::AdapterKeyRotated { version: "2".into() };
        assert_eq!(told.iter().map(|row| &row.effect).collect::<Vec<_>>(), [&effect]);
    }
}
