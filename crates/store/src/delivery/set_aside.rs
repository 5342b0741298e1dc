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
use ids::{BindingId, DeliveryId, OrgId};
use sqlx::PgConnection;

use crate::outbox::{Effect, SettledAs};

/// `why`: what the dead letters say of it. Gives back what the recovery ledger has to know.
pub(crate) async fn set_aside(
    connection: &mut PgConnection,
    org: OrgId,
    bindings: &[BindingId],
    (why, now): (&str, Timestamp),
) -> Result<Vec<Effect>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"-- delivery_set_aside
        UPDATE deliveries
        SET state = 'dead', sendings = sendings + 1, finished_at = $3, fencing_counter = fencing_counter + 1,
            last_error = $4
        WHERE org_id = $1 AND binding_id = ANY ($2) AND state = 'pending' AND leased_until IS NULL
        RETURNING delivery_id AS "delivery: DeliveryId", sendings"#,
        org as OrgId,
        bindings as &[BindingId],
        now,
        why,
    )
    .fetch_all(connection)
    .await?;
    let outcome = SettledAs::Dead;
    let settled = |delivery, sending| Effect::DeliverySettled { org, delivery, sending, outcome };
    Ok(rows.into_iter().map(|row| settled(row.delivery, row.sendings)).collect())
}
