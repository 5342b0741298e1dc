//! Deliveries: one message to one destination, until it is accepted or set aside.
//!
//! An operator who retries a dead letter sends it after those that went out since.
//!
//! Not here: making deliveries (`cursor`), claiming and settling them (`claim`), whether and when to try again
//! (`domain::retry`).

mod claim;

use clock::Timestamp;
use domain::channel::DeliveryState;
use ids::{BindingId, ChannelId, DeliveryId, OrgId};
use sqlx::postgres::PgTransaction;

pub use self::claim::{ClaimedDelivery, Claims, Outcome, Settlement};
use crate::outbox::{self, Effect, SettledAs};
use crate::{Store, StoreError, audit};

/// A delivery as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub delivery_id: DeliveryId,
    pub binding_id: BindingId,
    pub channel_id: ChannelId,
    pub sequence: i64,
    pub state: DeliveryState,
    pub attempt: i32,
    pub next_attempt_at: Timestamp,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    /// When it was accepted or set aside; `None`: it is pending.
    pub finished_at: Option<Timestamp>,
}

struct Row {
    delivery_id: DeliveryId,
    binding_id: BindingId,
    channel_id: ChannelId,
    sequence: i64,
    state: String,
    attempt: i32,
    next_attempt_at: Timestamp,
    last_error: Option<String>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl TryFrom<Row> for Delivery {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let state = row.state.parse().map_err(StoreError::unreadable("deliveries", "state", row.delivery_id))?;
        Ok(Self {
            delivery_id: row.delivery_id,
            binding_id: row.binding_id,
            channel_id: row.channel_id,
            sequence: row.sequence,
            state,
            attempt: row.attempt,
            next_attempt_at: row.next_attempt_at,
            last_error: row.last_error,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}

/// What an operator's word did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intervention {
    Done,
    NoSuchDelivery,
    /// It is in another state than that takes, or it is being sent at this moment.
    NotNow,
}

impl Store {
    pub async fn delivery_find(&self, org: OrgId, delivery: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- delivery_find
            SELECT delivery_id AS "delivery_id: DeliveryId", binding_id AS "binding_id: BindingId",
                channel_id AS "channel_id: ChannelId", sequence, state, attempt, next_attempt_at, last_error,
                created_at, finished_at
            FROM deliveries WHERE org_id = $1 AND delivery_id = $2"#,
            org as OrgId,
            delivery as DeliveryId,
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::during("delivery_find"))?;
        row.map(Delivery::try_from).transpose()
    }

    /// In the order that they were made; of one state, or all.
    pub async fn delivery_list(
        &self,
        org: OrgId,
        state: Option<DeliveryState>,
        after: Option<DeliveryId>,
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- delivery_list
            SELECT delivery_id AS "delivery_id: DeliveryId", binding_id AS "binding_id: BindingId",
                channel_id AS "channel_id: ChannelId", sequence, state, attempt, next_attempt_at, last_error,
                created_at, finished_at
            FROM deliveries
            WHERE org_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR delivery_id > $3)
            ORDER BY delivery_id LIMIT $4"#,
            org as OrgId,
            state.map(DeliveryState::as_str),
            after as Option<DeliveryId>,
            limit,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::during("delivery_list"))?;
        rows.into_iter().map(Delivery::try_from).collect()
    }

    /// A dead letter goes out again, with all its attempts before it.
    pub async fn delivery_retry(
        &self,
        org: OrgId,
        delivery: DeliveryId,
        actor: &str,
    ) -> Result<Intervention, StoreError> {
        let during = || StoreError::during("delivery_retry");
        let mut tx = self.pool.begin().await.map_err(during())?;
        let revived = sqlx::query_scalar!(
            "-- delivery_retry
            UPDATE deliveries SET state = 'pending', attempt = 0, next_attempt_at = $3, finished_at = NULL
            WHERE org_id = $1 AND delivery_id = $2 AND state = 'dead' RETURNING attempt",
            org as OrgId,
            delivery as DeliveryId,
            self.sources.now(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?;
        let done = revived.map(|attempt| ("delivery.retry", attempt, SettledAs::NotSent));
        self.intervened(tx, org, delivery, actor, done).await
    }

    /// A pending delivery is set aside, unless it is being sent at this moment.
    pub async fn delivery_dead_letter(
        &self,
        org: OrgId,
        delivery: DeliveryId,
        actor: &str,
    ) -> Result<Intervention, StoreError> {
        let during = || StoreError::during("delivery_dead_letter");
        let mut tx = self.pool.begin().await.map_err(during())?;
        let set_aside = sqlx::query_scalar!(
            "-- delivery_dead_letter
            UPDATE deliveries
            SET state = 'dead', finished_at = $3, fencing_counter = fencing_counter + 1, leased_until = NULL
            WHERE org_id = $1 AND delivery_id = $2 AND state = 'pending'
                AND (leased_until IS NULL OR leased_until <= $3
                    OR generation < (SELECT max(generation) FROM generations))
            RETURNING attempt",
            org as OrgId,
            delivery as DeliveryId,
            self.sources.now(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?;
        let done = set_aside.map(|attempt| ("delivery.dead_letter", attempt, SettledAs::Dead));
        self.intervened(tx, org, delivery, actor, done).await
    }

    /// Ends the transaction of an operator's word, `done` being the action, the delivery's attempt and what it is now;
    /// `None`: nothing was touched.
    async fn intervened(
        &self,
        mut tx: PgTransaction<'_>,
        org: OrgId,
        delivery: DeliveryId,
        actor: &str,
        done: Option<(&'static str, i32, SettledAs)>,
    ) -> Result<Intervention, StoreError> {
        let during = || StoreError::during("delivery_intervene");
        let Some((action, attempt, outcome)) = done else {
            tx.rollback().await.map_err(during())?;
            let found = self.delivery_find(org, delivery).await?.is_some();
            return Ok(if found { Intervention::NotNow } else { Intervention::NoSuchDelivery });
        };
        let target = format!("delivery:{delivery}");
        let detail = serde_json::json!({});
        audit::record(&mut tx, &self.sources, org, actor, action, &target, detail).await.map_err(during())?;
        let effect = Effect::DeliverySettled { org, delivery, attempt, outcome };
        outbox::insert(&mut tx, &self.sources, &[effect]).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Intervention::Done)
    }
}
