//! Making dead letters of what waits for threads that lead nowhere any more.
//!
//! What a gateway has in hand is left alone: it may have arrived, and whoever has it settles it. If they are lost, a later claim
//! judges it as any other (`claim`).
//!
//! Not promised: that nothing of what is set aside has arrived. One that was to be tried again after an answer that left this
//! open is a dead letter, too; its last error is gone, and its attempt is counted.
//!
//! Not here: what a person sets aside (`intervene`).

use clock::Timestamp;
use ids::{BindingId, ChannelId, DeliveryId, OrgId};
use sqlx::PgConnection;

use crate::outbox::{Effect, SettledAs};

/// Whose deliveries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    Binding(BindingId),
    /// All of its threads', those that were unbound before, too.
    Channel(ChannelId),
}

impl Whose {
    /// As `last_error` says it.
    fn why(self) -> &'static str {
        match self {
            Self::Binding(_) => "its thread was unbound",
            Self::Channel(_) => "its channel was closed",
        }
    }
}

/// Gives back what the recovery ledger has to know.
pub(crate) async fn set_aside(
    connection: &mut PgConnection,
    org: OrgId,
    whose: Whose,
    now: Timestamp,
) -> Result<Vec<Effect>, sqlx::Error> {
    let (binding, channel) = match whose {
        Whose::Binding(binding) => (Some(binding), None),
        Whose::Channel(channel) => (None, Some(channel)),
    };
    let rows = sqlx::query!(
        r#"-- delivery_set_aside
        UPDATE deliveries
        SET state = 'dead', sendings = sendings + 1, finished_at = $4, fencing_counter = fencing_counter + 1,
            last_error = $5
        FROM bindings
        WHERE bindings.org_id = $1 AND (bindings.binding_id = $2 OR bindings.channel_id = $3)
            AND deliveries.org_id = bindings.org_id AND deliveries.binding_id = bindings.binding_id
            AND deliveries.state = 'pending' AND deliveries.leased_until IS NULL
        RETURNING deliveries.delivery_id AS "delivery: DeliveryId", deliveries.sendings"#,
        org as OrgId,
        binding as Option<BindingId>,
        channel as Option<ChannelId>,
        now,
        whose.why(),
    )
    .fetch_all(connection)
    .await?;
    let outcome = SettledAs::Dead;
    let settled = |delivery, sending| Effect::DeliverySettled { org, delivery, sending, outcome };
    Ok(rows.into_iter().map(|row| settled(row.delivery, row.sendings)).collect())
}
