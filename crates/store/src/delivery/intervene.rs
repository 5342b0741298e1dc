//! What a person does about a delivery: send it again, set it aside, say what became of it.
//!
//! Each word takes a number of its own among the sendings of its delivery, and stands in the outbox with it: the recovery
//! ledger has to know whether it came before or after the last sending.
//!
//! An operator who sends a delivery again sends it after those of its thread that went out since.
//!
//! Not here: sending (`gateway`), what the ledger makes of it (`ledger`).

use domain::quota::UsageKind;
use ids::{ChannelId, DeliveryId, OrgId};
use sqlx::PgConnection;
use sqlx::postgres::PgTransaction;

use crate::outbox::{self, Effect, SettledAs};
use crate::{Store, StoreError, audit, usage};

/// What an operator's word did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intervention {
    Done,
    NoSuchDelivery,
    /// It is in another state than that takes, or it is being sent at this moment, or it would go to a channel that is closed.
    NotNow,
}

/// A word that was written, and what the ledger has to know: what became of the delivery with which number.
struct Word<'a> {
    org: OrgId,
    delivery: DeliveryId,
    actor: &'a str,
    action: &'static str,
    told: Vec<(i32, SettledAs)>,
}

impl Store {
    /// A dead letter goes out again, with all its attempts before it.
    pub async fn delivery_retry(
        &self,
        org: OrgId,
        delivery: DeliveryId,
        actor: &str,
    ) -> Result<Intervention, StoreError> {
        let during = || StoreError::during("delivery_retry");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        if !hold_channel(&mut tx, org, delivery).await.map_err(during())? {
            return self.not_now(org, delivery).await;
        }
        let number = sqlx::query_scalar!(
            "-- delivery_retry
            UPDATE deliveries
            SET state = 'pending', attempt = 0, sendings = sendings + 1, next_attempt_at = $3, finished_at = NULL
            WHERE org_id = $1 AND delivery_id = $2 AND state = 'dead' RETURNING sendings",
            org as OrgId,
            delivery as DeliveryId,
            self.sources.now(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?;
        let Some(number) = number else { return self.not_now(org, delivery).await };
        let told = vec![(number, SettledAs::NotSent)];
        self.spoken(tx, Word { org, delivery, actor, action: "delivery.retry", told }).await
    }

    /// A pending delivery is set aside, unless it is being sent at this moment.
    pub async fn delivery_dead_letter(
        &self,
        org: OrgId,
        delivery: DeliveryId,
        actor: &str,
    ) -> Result<Intervention, StoreError> {
        let during = || StoreError::during("delivery_dead_letter");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let number = sqlx::query_scalar!(
            "-- delivery_dead_letter
            UPDATE deliveries
            SET state = 'dead', sendings = sendings + 1, finished_at = $3, fencing_counter = fencing_counter + 1,
                leased_until = NULL
            WHERE org_id = $1 AND delivery_id = $2 AND state = 'pending'
                AND (leased_until IS NULL OR leased_until <= $3
                    OR generation < (SELECT max(generation) FROM generations))
            RETURNING sendings",
            org as OrgId,
            delivery as DeliveryId,
            self.sources.now(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?;
        let Some(number) = number else { return self.not_now(org, delivery).await };
        let told = vec![(number, SettledAs::Dead)];
        self.spoken(tx, Word { org, delivery, actor, action: "delivery.dead_letter", told }).await
    }

    /// An unknown delivery goes out again: whoever says so accepts that it may arrive twice.
    pub async fn delivery_resend(
        &self,
        org: OrgId,
        delivery: DeliveryId,
        actor: &str,
    ) -> Result<Intervention, StoreError> {
        let during = || StoreError::during("delivery_resend");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        if !hold_channel(&mut tx, org, delivery).await.map_err(during())? {
            return self.not_now(org, delivery).await;
        }
        let number = sqlx::query_scalar!(
            "-- delivery_resend
            UPDATE deliveries
            SET state = 'pending', attempt = 0, sendings = sendings + 2, next_attempt_at = $3, finished_at = NULL
            WHERE org_id = $1 AND delivery_id = $2 AND state = 'unknown' RETURNING sendings",
            org as OrgId,
            delivery as DeliveryId,
            self.sources.now(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?;
        let Some(number) = number else { return self.not_now(org, delivery).await };
        // The first settles every sending up to it, the second says that it is wanted all the same.
        let told = vec![(number - 1, SettledAs::Dead), (number, SettledAs::NotSent)];
        self.spoken(tx, Word { org, delivery, actor, action: "delivery.resend", told }).await
    }

    /// Somebody found out what became of an unknown delivery: it has `arrived`, or it did not and is given up.
    pub async fn delivery_settle_unknown(
        &self,
        org: OrgId,
        delivery: DeliveryId,
        arrived: bool,
        actor: &str,
    ) -> Result<Intervention, StoreError> {
        let during = || StoreError::during("delivery_settle_unknown");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let number = sqlx::query_scalar!(
            "-- delivery_settle_unknown
            UPDATE deliveries SET state = $4, sendings = sendings + 1, finished_at = $3
            WHERE org_id = $1 AND delivery_id = $2 AND state = 'unknown' RETURNING sendings",
            org as OrgId,
            delivery as DeliveryId,
            self.sources.now(),
            if arrived { "sent" } else { "dead" },
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?;
        let Some(number) = number else { return self.not_now(org, delivery).await };
        if arrived {
            let kind = UsageKind::Deliveries;
            usage::record(&mut tx, &self.sources, org, delivery.into(), kind, 1).await.map_err(during())?;
        }
        let told = vec![(number, if arrived { SettledAs::Sent } else { SettledAs::Dead })];
        self.spoken(tx, Word { org, delivery, actor, action: "delivery.settle", told }).await
    }

    /// Ends the transaction of a word that was written.
    async fn spoken(&self, mut tx: PgTransaction<'_>, word: Word<'_>) -> Result<Intervention, StoreError> {
        let during = || StoreError::during("delivery_intervene");
        let Word { org, delivery, actor, action, told } = word;
        let target = format!("delivery:{delivery}");
        let (_, outcome) = told.last().expect("a word says something");
        let detail = serde_json::json!({"outcome": outcome});
        audit::record(&mut tx, &self.sources, org, actor, action, &target, detail).await.map_err(during())?;
        let effects: Vec<Effect> = told
            .into_iter()
            .map(|(sending, outcome)| Effect::DeliverySettled { org, delivery, sending, outcome })
            .collect();
        outbox::insert(&mut tx, &self.sources, &effects).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Intervention::Done)
    }

    /// Nothing was touched.
    async fn not_now(&self, org: OrgId, delivery: DeliveryId) -> Result<Intervention, StoreError> {
        let found = self.delivery_find(org, delivery).await?.is_some();
        Ok(if found { Intervention::NotNow } else { Intervention::NoSuchDelivery })
    }
}

/// Holds off the closing of the delivery's channel until the transaction ends. `false`: the channel is closed, or there is no such
/// delivery.
async fn hold_channel(connection: &mut PgConnection, org: OrgId, delivery: DeliveryId) -> Result<bool, sqlx::Error> {
    let held = sqlx::query_scalar!(
        r#"-- delivery_hold_channel
        SELECT channels.channel_id AS "channel: ChannelId"
        FROM channels JOIN deliveries USING (org_id, channel_id)
        WHERE org_id = $1 AND delivery_id = $2 AND channels.closed_at IS NULL FOR SHARE OF channels"#,
        org as OrgId,
        delivery as DeliveryId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(held.is_some())
}
