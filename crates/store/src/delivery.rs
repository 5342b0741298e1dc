//! Deliveries: one message to one destination, until it is accepted or set aside.
//!
//! Not here: making deliveries (`cursor`), claiming and settling them (`claim`), what a person does about one
//! (`intervene`), what becomes of them when their thread leads nowhere any more (`set_aside`), whether and when to try again
//! (`domain::retry`), deleting those that were finished long ago (`sweep`).

mod claim;
mod intervene;
mod set_aside;
mod sweep;
mod unknown;

use clock::Timestamp;
use domain::channel::DeliveryState;
use ids::{BindingId, ChannelId, DeliveryId, OrgId};

pub use self::claim::{ClaimedDelivery, Claims, Outcome, Settlement};
pub use self::intervene::Intervention;
pub(crate) use self::set_aside::set_aside;
pub use self::sweep::DeliverySweep;
pub use self::unknown::UnknownDelivery;
use crate::{Store, StoreError};

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
        .fetch_optional(self.of(org))
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
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("delivery_list"))?;
        rows.into_iter().map(Delivery::try_from).collect()
    }
}

#[cfg(test)]
mod tests;
