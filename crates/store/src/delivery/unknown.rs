//! Deliveries that may have arrived and that nobody repeats by himself, for whoever finds out what became of them.
//!
//! Not here: deciding (`intervene`).

use clock::Timestamp;
use ids::{ChannelId, DeliveryId, OrgId, SessionId};

use crate::{Store, StoreError};

/// What a person needs to ask the far side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownDelivery {
    pub org: OrgId,
    pub delivery_id: DeliveryId,
    pub channel_id: ChannelId,
    pub channel: String,
    pub destination: String,
    pub thread: String,
    pub session_id: SessionId,
    /// The event that it renders.
    pub sequence: i64,
    pub created_at: Timestamp,
    /// Since when it is unknown, or when the lost system was heard of it last.
    pub since: Option<Timestamp>,
    pub reason: Option<String>,
}

impl Store {
    /// Unknown deliveries of all orgs, or of one channel, in the order that they were made.
    pub async fn delivery_list_unknown(
        &self,
        channel: Option<ChannelId>,
        after: Option<DeliveryId>,
        limit: i64,
    ) -> Result<Vec<UnknownDelivery>, StoreError> {
        sqlx::query_as!(
            UnknownDelivery,
            r#"-- delivery_list_unknown
            SELECT deliveries.org_id AS "org: OrgId", delivery_id AS "delivery_id: DeliveryId",
                channels.channel_id AS "channel_id: ChannelId", channels.name AS channel, channels.destination,
                coalesce(bindings.thread, payload -> 'data' ->> 'thread', '') AS "thread!",
                bindings.session_id AS "session_id: SessionId", deliveries.sequence,
                deliveries.created_at, deliveries.finished_at AS since, deliveries.last_error AS reason
            FROM deliveries
                JOIN bindings ON bindings.org_id = deliveries.org_id AND bindings.binding_id = deliveries.binding_id
                JOIN channels ON channels.org_id = deliveries.org_id AND channels.channel_id = deliveries.channel_id
            WHERE deliveries.state = 'unknown' AND ($1::uuid IS NULL OR channels.channel_id = $1)
                AND ($2::uuid IS NULL OR delivery_id > $2)
            ORDER BY delivery_id LIMIT $3"#,
            channel as Option<ChannelId>,
            after as Option<DeliveryId>,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("delivery_list_unknown"))
    }

    /// Which org an unknown delivery is of. `None`: there is none of that id.
    pub async fn delivery_org_of_unknown(&self, delivery: DeliveryId) -> Result<Option<OrgId>, StoreError> {
        sqlx::query_scalar!(
            r#"-- delivery_org_of_unknown
            SELECT org_id AS "org: OrgId" FROM deliveries WHERE delivery_id = $1 AND state = 'unknown'"#,
            delivery as DeliveryId,
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("delivery_org_of_unknown"))
    }
}
