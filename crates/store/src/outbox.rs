//! The outbox of the recovery ledger: effects that are committed here and that it does not know yet.
//!
//! The transaction that has the effect writes the row. So whatever happened has either reached the ledger or stands here,
//! however the process ends; telling twice does no harm, since the ledger is read as a set of facts.
//!
//! Not here: telling the ledger (`effects`), what a restore makes of it.

use clock::{Sources, Timestamp};
use ids::{AccountId, ByokKeyId, ChannelId, DeliveryId, InletId, OrgId, OutboxId, TokenId, TriggerId, WorkflowId};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::wall::Reach;
use crate::{Store, StoreError};

/// Something that a restore must not forget. Holds ids, digests and versions, and no content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Effect {
    /// What became of a delivery, told late or by a person.
    DeliverySettled {
        org: OrgId,
        delivery: DeliveryId,
        /// The ledger's number of the sending.
        sending: i32,
        outcome: SettledAs,
    },
    /// Told late.
    SlotFired {
        org: OrgId,
        workflow: WorkflowId,
        due_at: Timestamp,
    },
    /// `event` is a keyed digest of the provider's id.
    InboundAccepted {
        org: OrgId,
        /// Called after the only one that there was at first, also by processes of an older build.
        #[serde(rename = "channel")]
        inlet: InletId,
        event: [u8; 32],
    },
    /// `interaction` is a digest of the session and the request that was approved, rejected or answered.
    InteractionUsed {
        org: OrgId,
        interaction: [u8; 32],
    },
    /// Something was taken from a person in a chat. `identity` is a keyed digest of who that is.
    IdentityRestricted {
        org: OrgId,
        identity: [u8; 32],
    },
    TokenRevoked {
        org: OrgId,
        token: TokenId,
    },
    /// `session` is the SHA-256 of the browser's cookie.
    BrowserSessionRevoked {
        account: AccountId,
        session: [u8; 32],
    },
    MemberRemoved {
        org: OrgId,
        account: AccountId,
    },
    /// A key that a user brought is out of force.
    KeyRevoked {
        org: OrgId,
        key: ByokKeyId,
    },
    /// The secrets of before of a key that a user brought are replaced.
    ByokKeyRotated {
        org: OrgId,
        key: ByokKeyId,
        number: i32,
    },
    /// Signatures under the trigger's older secrets are not believed any more.
    TriggerSecretRotated {
        org: OrgId,
        trigger: TriggerId,
        number: i32,
    },
    /// Nothing comes in or goes out by the channel any more.
    ChannelClosed {
        org: OrgId,
        channel: ChannelId,
    },
    /// Another version of the adapter key is the current one.
    AdapterKeyRotated {
        version: String,
    },
    /// `org`: `None` if in all of them.
    SubjectErased {
        org: Option<OrgId>,
        account: AccountId,
    },
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettledAs {
    Sent,
    /// It goes out again.
    NotSent,
    Dead,
    Unknown,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outboxed {
    pub outbox: OutboxId,
    pub effect: Effect,
    pub happened_at: Timestamp,
}

/// What waits in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxBacklog {
    pub rows: i64,
    /// `None`: nothing waits.
    pub oldest_at: Option<Timestamp>,
}

struct Row {
    outbox: OutboxId,
    effect: serde_json::Value,
    happened_at: Timestamp,
}

impl TryFrom<Row> for Outboxed {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = StoreError::unreadable("ledger_outbox", "effect", row.outbox);
        let effect = serde_json::from_value(row.effect).map_err(unreadable)?;
        Ok(Self { outbox: row.outbox, effect, happened_at: row.happened_at })
    }
}

/// Writes effects down, in the transaction that has them.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    effects: &[Effect],
) -> Result<(), sqlx::Error> {
    let ids: Vec<uuid::Uuid> = effects.iter().map(|_| sources.id::<OutboxId>().into()).collect();
    let effects: Vec<_> =
        effects.iter().map(|effect| serde_json::to_value(effect).expect("it is plain data")).collect();
    sqlx::query!(
        "-- outbox_insert
        INSERT INTO ledger_outbox (outbox_id, effect, happened_at)
        SELECT outbox_id, effect, $3 FROM unnest($1::uuid[], $2::jsonb[]) AS new (outbox_id, effect)",
        &ids,
        &effects,
        sources.now(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Writes down effects whose own transaction is over.
    pub async fn outbox_add(&self, effects: &[Effect]) -> Result<(), StoreError> {
        let during = || StoreError::during("outbox_add");
        let mut lent = self.connections.lend(Reach::Everywhere).await.map_err(during())?;
        insert(&mut lent, &self.sources, effects).await.map_err(during())?;
        lent.done();
        Ok(())
    }

    /// At most `limit` effects that happened by `until` and that the ledger does not know yet, oldest first.
    pub async fn outbox_list(&self, until: Timestamp, limit: i64) -> Result<Vec<Outboxed>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- outbox_list
            SELECT outbox_id AS "outbox: OutboxId", effect, happened_at FROM ledger_outbox
            WHERE happened_at <= $1
            ORDER BY outbox_id LIMIT $2"#,
            until,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("outbox_list"))?;
        rows.into_iter().map(Outboxed::try_from).collect()
    }

    /// Forgets effects that the ledger has.
    pub async fn outbox_remove(&self, told: &[Outboxed]) -> Result<(), StoreError> {
        let ids: Vec<uuid::Uuid> = told.iter().map(|row| row.outbox.into()).collect();
        sqlx::query!("-- outbox_remove\nDELETE FROM ledger_outbox WHERE outbox_id = ANY ($1)", &ids)
            .execute(self.everywhere())
            .await
            .map_err(StoreError::during("outbox_remove"))?;
        Ok(())
    }

    pub async fn outbox_backlog(&self) -> Result<OutboxBacklog, StoreError> {
        sqlx::query_as!(
            OutboxBacklog,
            r#"-- outbox_backlog
            SELECT count(*) AS "rows!", min(happened_at) AS oldest_at FROM ledger_outbox"#
        )
        .fetch_one(self.everywhere())
        .await
        .map_err(StoreError::during("outbox_backlog"))
    }
}

#[cfg(test)]
mod tests {
    use testkit::TestDatabase;

    use super::*;

    #[tokio::test]
    async fn an_effect_stands_in_the_outbox_until_it_is_told() {
        let database = TestDatabase::create().await;
        let (clock, sources) = testkit::sources(1);
        let store = Store::from_pool(database.pool(), sources);
        store.migrate().await.unwrap();
        let org = store.sources().id();
        let used = Effect::InteractionUsed { org, interaction: [7; 32] };
        let revoked = Effect::TokenRevoked { org, token: store.sources().id() };
        store.outbox_add(std::slice::from_ref(&used)).await.unwrap();
        clock.advance(chrono::TimeDelta::seconds(1));
        store.outbox_add(std::slice::from_ref(&revoked)).await.unwrap();
        assert_eq!(store.outbox_backlog().await.unwrap().rows, 2);

        let rows = store.outbox_list(store.sources().now(), 10).await.unwrap();
        assert_eq!(rows.iter().map(|row| &row.effect).collect::<Vec<_>>(), [&used, &revoked]);
        store.outbox_remove(&rows[..1]).await.unwrap();
        assert_eq!(store.outbox_list(store.sources().now(), 10).await.unwrap(), rows[1..]);
    }
}
