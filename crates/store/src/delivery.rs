//! Deliveries: one message to one destination, until it is accepted or set aside.
//!
//! Of each binding only the oldest pending delivery can be claimed, so messages arrive in their thread's order and one
//! that fails holds up its own thread only. A claim is a lease with a fencing token of generation and counter: whoever
//! is late with a result touches no row, and a restored system does not wait for claims of gateways that are gone.
//!
//! Not guaranteed: exactly once. A gateway that dies between the far side's acceptance and our acknowledgement sends
//! again, under the same id, which is how the far side can tell. An operator who retries a dead letter sends it after
//! those that went out since.
//!
//! Not here: making deliveries (`cursor`), whether and when to try again (`domain::retry`).

use chrono::TimeDelta;
use clock::Timestamp;
use domain::channel::DeliveryState;
use domain::session::FencingToken;
use ids::{BindingId, ChannelId, DeliveryId, OrgId};
use serde_json::Value;
use sqlx::postgres::PgTransaction;

use crate::usage::UsageKind;
use crate::{Store, StoreError, audit, usage};

/// Permission to send one delivery until the lease ends.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    pub org: OrgId,
    pub delivery_id: DeliveryId,
    pub channel_id: ChannelId,
    /// The channel's kind and destination as they are stored: reading them is part of sending, so that a row that can't be
    /// read fails alone.
    pub kind: String,
    pub destination: String,
    pub secret_version: String,
    /// What is posted, whole.
    pub payload: Value,
    /// From 1.
    pub attempt: i32,
    pub token: FencingToken,
    pub created_at: Timestamp,
}

struct ClaimRow {
    org: OrgId,
    delivery_id: DeliveryId,
    channel_id: ChannelId,
    kind: String,
    destination: String,
    secret_version: String,
    payload: Value,
    attempt: i32,
    generation: i64,
    fencing_counter: i64,
    created_at: Timestamp,
}

impl From<ClaimRow> for ClaimedDelivery {
    fn from(row: ClaimRow) -> Self {
        Self {
            org: row.org,
            delivery_id: row.delivery_id,
            channel_id: row.channel_id,
            kind: row.kind,
            destination: row.destination,
            secret_version: row.secret_version,
            payload: row.payload,
            attempt: row.attempt,
            token: FencingToken { generation: row.generation, counter: row.fencing_counter },
            created_at: row.created_at,
        }
    }
}

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
    /// `None`: it is pending.
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

/// What becomes of a delivery that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    RetryAt(Timestamp),
    Dead,
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
    /// Claims up to `limit` deliveries that are due, for `lease`. A gateway of an earlier generation claims nothing.
    pub async fn delivery_claim(
        &self,
        generation: i64,
        limit: i64,
        lease: TimeDelta,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let now = self.sources.now();
        let rows = sqlx::query_as!(
            ClaimRow,
            r#"-- delivery_claim
            WITH due AS (
                SELECT org_id, delivery_id FROM deliveries AS candidates
                WHERE state = 'pending' AND next_attempt_at <= $1
                    AND (leased_until IS NULL OR leased_until <= $1 OR generation < $4)
                    AND $4 = (SELECT max(generation) FROM generations)
                    AND NOT EXISTS (
                        SELECT FROM deliveries AS earlier
                        WHERE earlier.org_id = candidates.org_id AND earlier.binding_id = candidates.binding_id
                            AND earlier.sequence < candidates.sequence AND earlier.state = 'pending')
                ORDER BY next_attempt_at, delivery_id
                LIMIT $3
                FOR UPDATE SKIP LOCKED
            )
            UPDATE deliveries
            SET leased_until = $2, generation = $4, fencing_counter = fencing_counter + 1, attempt = attempt + 1
            FROM due, channels
            WHERE deliveries.org_id = due.org_id AND deliveries.delivery_id = due.delivery_id
                AND channels.org_id = deliveries.org_id AND channels.channel_id = deliveries.channel_id
            RETURNING deliveries.org_id AS "org: OrgId", deliveries.delivery_id AS "delivery_id: DeliveryId",
                deliveries.channel_id AS "channel_id: ChannelId", channels.kind, channels.destination,
                channels.secret_version, deliveries.payload, deliveries.attempt, deliveries.generation,
                deliveries.fencing_counter, deliveries.created_at"#,
            now,
            now + lease,
            limit,
            generation,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::during("delivery_claim"))?;
        Ok(rows.into_iter().map(ClaimedDelivery::from).collect())
    }

    /// Records that the far side accepted it, and meters it.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if somebody else holds the delivery by now, or an operator set it aside.
    pub async fn delivery_sent(&self, claim: &ClaimedDelivery) -> Result<(), StoreError> {
        let during = || StoreError::during("delivery_sent");
        let mut tx = self.pool.begin().await.map_err(during())?;
        let sent = sqlx::query!(
            "-- delivery_sent
            UPDATE deliveries SET state = 'sent', leased_until = NULL, finished_at = $5
            WHERE org_id = $1 AND delivery_id = $2 AND generation = $3 AND fencing_counter = $4 AND state = 'pending'",
            claim.org as OrgId,
            claim.delivery_id as DeliveryId,
            claim.token.generation,
            claim.token.counter,
            self.sources.now(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        if sent.rows_affected() == 0 {
            return Err(StoreError::LeaseLost);
        }
        let source = claim.delivery_id.into();
        usage::record(&mut tx, &self.sources, claim.org, source, UsageKind::Deliveries, 1).await.map_err(during())?;
        tx.commit().await.map_err(during())
    }

    /// Records that the far side did not accept it. `error` is for people, and holds no secret.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], as [`Self::delivery_sent`].
    pub async fn delivery_not_sent(
        &self,
        claim: &ClaimedDelivery,
        then: NotSent,
        error: &str,
    ) -> Result<(), StoreError> {
        let (retry_at, finished_at) = match then {
            NotSent::RetryAt(at) => (Some(at), None),
            NotSent::Dead => (None, Some(self.sources.now())),
        };
        let state = if finished_at.is_some() { DeliveryState::Dead } else { DeliveryState::Pending };
        let written = sqlx::query!(
            "-- delivery_not_sent
            UPDATE deliveries
            SET state = $5, next_attempt_at = coalesce($6, next_attempt_at), finished_at = $7, last_error = $8,
                leased_until = NULL
            WHERE org_id = $1 AND delivery_id = $2 AND generation = $3 AND fencing_counter = $4 AND state = 'pending'",
            claim.org as OrgId,
            claim.delivery_id as DeliveryId,
            claim.token.generation,
            claim.token.counter,
            state.as_str(),
            retry_at,
            finished_at,
            error,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::during("delivery_not_sent"))?;
        if written.rows_affected() == 0 { Err(StoreError::LeaseLost) } else { Ok(()) }
    }

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
        let revived = sqlx::query!(
            "-- delivery_retry
            UPDATE deliveries SET state = 'pending', attempt = 0, next_attempt_at = $3, finished_at = NULL
            WHERE org_id = $1 AND delivery_id = $2 AND state = 'dead'",
            org as OrgId,
            delivery as DeliveryId,
            self.sources.now(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        self.intervened(tx, org, delivery, actor, "delivery.retry", revived.rows_affected()).await
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
        let set_aside = sqlx::query!(
            "-- delivery_dead_letter
            UPDATE deliveries
            SET state = 'dead', finished_at = $3, fencing_counter = fencing_counter + 1, leased_until = NULL
            WHERE org_id = $1 AND delivery_id = $2 AND state = 'pending'
                AND (leased_until IS NULL OR leased_until <= $3
                    OR generation < (SELECT max(generation) FROM generations))",
            org as OrgId,
            delivery as DeliveryId,
            self.sources.now(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        self.intervened(tx, org, delivery, actor, "delivery.dead_letter", set_aside.rows_affected()).await
    }

    async fn intervened(
        &self,
        mut tx: PgTransaction<'_>,
        org: OrgId,
        delivery: DeliveryId,
        actor: &str,
        action: &'static str,
        touched: u64,
    ) -> Result<Intervention, StoreError> {
        let during = || StoreError::during(action);
        if touched == 0 {
            tx.rollback().await.map_err(during())?;
            let found = self.delivery_find(org, delivery).await?.is_some();
            return Ok(if found { Intervention::NotNow } else { Intervention::NoSuchDelivery });
        }
        let target = format!("delivery:{delivery}");
        let detail = serde_json::json!({});
        audit::record(&mut tx, &self.sources, org, actor, action, &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Intervention::Done)
    }
}
