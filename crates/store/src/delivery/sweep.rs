//! Deleting deliveries that were finished long ago.
//!
//! Only what is over goes: sent, or set aside as dead. What waits, is under way, or may have arrived and waits for a person stays for
//! however long it takes. Nothing that keeps a message from going out twice lives in these rows: its thread's cursor stands past it,
//! and a restore asks the recovery ledger (decision 0085).
//!
//! An id begins with the instant of the command that it tells the end of, so those of an org that may be old enough are the first
//! ones in the order of the primary key. No index is there for it, and a walk meets little but what it deletes.
//!
//! Not here: how long deliveries are kept, and when to look (crate `scheduler`).

use clock::Timestamp;
use ids::{DeliveryId, OrgId};
use uuid::Uuid;

use crate::{Store, StoreError};

/// A stretch of an org's deliveries that was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliverySweep {
    pub deleted: i64,
    /// Where the next stretch begins. `None`: there are no more that may be old enough.
    pub last: Option<DeliveryId>,
}

impl Store {
    /// Looks at up to `limit` deliveries of an org past `after`, and deletes those that were finished before `before`. One that
    /// somebody is at stays until the next time.
    pub async fn delivery_sweep(
        &self,
        org: OrgId,
        after: Option<DeliveryId>,
        before: Timestamp,
        limit: i64,
    ) -> Result<DeliverySweep, StoreError> {
        sqlx::query_as!(
            DeliverySweep,
            r#"-- delivery_sweep
            WITH page AS (
                SELECT delivery_id FROM deliveries WHERE org_id = $1 AND delivery_id > $2 AND delivery_id < $3
                ORDER BY delivery_id LIMIT $5
            ), found AS (
                SELECT delivery_id FROM deliveries JOIN page USING (delivery_id)
                WHERE org_id = $1 AND state IN ('sent', 'dead') AND finished_at < $4
                ORDER BY delivery_id FOR UPDATE OF deliveries SKIP LOCKED
            ), gone AS (
                DELETE FROM deliveries USING found
                WHERE deliveries.org_id = $1 AND deliveries.delivery_id = found.delivery_id
                RETURNING 1
            )
            SELECT (SELECT count(*) FROM gone) AS "deleted!",
                (SELECT delivery_id FROM page ORDER BY delivery_id DESC LIMIT 1) AS "last: DeliveryId""#,
            org as OrgId,
            after.map_or_else(Uuid::nil, Uuid::from),
            made_before(before),
            before,
            limit,
        )
        .fetch_one(self.of(org))
        .await
        .map_err(StoreError::during("delivery_sweep"))
    }
}

/// No id of an earlier instant sorts behind it, and no id of that instant or a later one sorts before it. A delivery is finished after
/// its command was made; clocks that differ only put it off.
fn made_before(before: Timestamp) -> Uuid {
    let millis = u128::try_from(before.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::channel::DeliveryState;

    use super::*;
    use crate::testing::Thread;
    use crate::{Outcome, Settlement};

    const ACTOR: &str = "role:test";
    const KEPT: TimeDelta = TimeDelta::days(30);

    impl Thread {
        /// One more delivery, which becomes what is said of it.
        async fn delivery(&mut self, outcome: Option<Outcome>) -> DeliveryId {
            self.render().await;
            let store = &self.world.store;
            let Some(outcome) = outcome else {
                let waiting =
                    store.delivery_list(self.world.org, Some(DeliveryState::Pending), None, 200).await.unwrap();
                return waiting.last().unwrap().delivery_id;
            };
            let claim = self.claim().await;
            let delivery = claim.delivery_id;
            store.delivery_settle(&[Settlement { claim, outcome }], false).await.unwrap();
            delivery
        }

        async fn sweep(&self, limit: i64) -> i64 {
            let store = &self.world.store;
            let (mut after, mut deleted, before) = (None, 0, store.sources().now() - KEPT);
            loop {
                let sweep = store.delivery_sweep(self.world.org, after, before, limit).await.unwrap();
                deleted += sweep.deleted;
                after = sweep.last;
                if after.is_none() {
                    return deleted;
                }
            }
        }

        async fn left(&self) -> Vec<DeliveryId> {
            let all = self.world.store.delivery_list(self.world.org, None, None, 200).await.unwrap();
            all.iter().map(|delivery| delivery.delivery_id).collect()
        }
    }

    #[tokio::test]
    async fn what_is_over_goes_when_it_is_old_and_what_somebody_waits_for_never_does() {
        let mut thread = Thread::new().await;
        thread.delivery(Some(Outcome::Sent)).await;
        thread.delivery(Some(Outcome::Dead("no".into()))).await;
        let unknown = thread.delivery(Some(Outcome::Unknown("who knows".into()))).await;
        thread.world.clock.advance(KEPT);
        assert_eq!(thread.sweep(100).await, 0, "they are just as old as they may be");
        let young = thread.delivery(Some(Outcome::Sent)).await;
        let waiting = thread.delivery(None).await;
        thread.world.clock.advance(TimeDelta::seconds(1));
        assert_eq!(thread.sweep(1).await, 2);
        assert_eq!(thread.left().await, [unknown, young, waiting]);
        thread.world.clock.advance(KEPT);
        assert_eq!(thread.sweep(1).await, 1);
        assert_eq!(thread.left().await, [unknown, waiting]);
        assert_eq!(thread.claim().await.delivery_id, waiting, "its thread goes on");
    }

    #[tokio::test]
    async fn a_delivery_that_was_finished_late_is_kept_as_long_as_one_that_was_finished_early() {
        let mut thread = Thread::new().await;
        let waiting = thread.delivery(None).await;
        thread.world.clock.advance(KEPT + KEPT);
        let claim = thread.claim().await;
        let settlement = Settlement { claim, outcome: Outcome::Sent };
        thread.world.store.delivery_settle(&[settlement], false).await.unwrap();
        assert_eq!(thread.sweep(100).await, 0);
        assert_eq!(thread.left().await, [waiting]);
    }

    #[tokio::test]
    async fn a_dead_letter_that_a_person_revives_is_not_deleted_under_them() {
        let mut thread = Thread::new().await;
        let dead = thread.delivery(Some(Outcome::Dead("no".into()))).await;
        thread.world.clock.advance(KEPT + TimeDelta::seconds(1));
        let mut at_it = thread.world.store.pool.begin().await.unwrap();
        let revive = "UPDATE deliveries SET state = 'pending', finished_at = NULL WHERE delivery_id = $1";
        sqlx::query(revive).bind(Uuid::from(dead)).execute(&mut *at_it).await.unwrap();
        assert_eq!(thread.sweep(100).await, 0);
        at_it.commit().await.unwrap();
        assert_eq!(thread.sweep(100).await, 0);
        assert_eq!(thread.left().await, [dead]);
    }

    #[tokio::test]
    async fn nothing_of_another_org_goes() {
        let mut thread = Thread::new().await;
        thread.delivery(Some(Outcome::Sent)).await;
        thread.world.clock.advance(KEPT + TimeDelta::seconds(1));
        let other = thread.world.store.org_create("Other", ACTOR).await.unwrap().org_id;
        let before = thread.world.store.sources().now();
        let sweep = thread.world.store.delivery_sweep(other, None, before, 100).await.unwrap();
        assert_eq!(sweep, DeliverySweep::default());
        assert_eq!(thread.left().await.len(), 1);
    }
}
