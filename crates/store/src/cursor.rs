//! Delivery cursors: the last event of a session that was rendered in a thread.
//!
//! A cursor is `behind` from the transaction that ends a turn until the one that renders it. Rendering inserts the
//! deliveries and moves the cursor in one transaction that compares the cursor's old place, so two gateways may render
//! the same turn and one of them writes it.
//!
//! Not here: reading the events (`event`), what a turn looks like (`domain::channel::Renderer`), sending (`delivery`).

use chrono::TimeDelta;
use clock::Timestamp;
use ids::{BindingId, ChannelId, CommandId, DeliveryId, OrgId, SessionId};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use crate::interaction::NewInteraction;
use crate::wake::Wake;
use crate::{Store, StoreError, interaction};

/// A cursor that has something to render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BehindCursor {
    pub org: OrgId,
    pub binding_id: BindingId,
    pub channel_id: ChannelId,
    pub thread: String,
    pub session_id: SessionId,
    /// Where it stands.
    pub sequence: i64,
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// The command that it tells the end of.
    pub command: CommandId,
    /// The event that it renders.
    pub sequence: i64,
    /// What is posted, whole: the same at every attempt.
    pub payload: Value,
    /// What somebody in the thread can decide by it.
    pub interaction: Option<NewInteraction>,
}

impl Store {
    /// Cursors that are behind, the longest waiting first.
    pub async fn cursor_behind(&self, limit: i64) -> Result<Vec<BehindCursor>, StoreError> {
        sqlx::query_as!(
            BehindCursor,
            r#"-- cursor_behind
            SELECT cursors.org_id AS "org: OrgId", cursors.binding_id AS "binding_id: BindingId",
                bindings.channel_id AS "channel_id: ChannelId", bindings.thread AS "thread!",
                cursors.session_id AS "session_id: SessionId", cursors.sequence
            FROM delivery_cursors AS cursors JOIN bindings USING (org_id, binding_id)
            WHERE cursors.behind AND cursors.updated_at <= $1
            ORDER BY cursors.updated_at LIMIT $2"#,
            self.sources.now(),
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("cursor_behind"))
    }

    /// Inserts the deliveries and moves the cursor to `to`, the end of the last turn that was looked at. `false`:
    /// somebody else moved it, and nothing was written.
    ///
    /// A delivery that the recovery ledger remembers is inserted as what became of it before the restore.
    pub async fn cursor_advance(
        &self,
        cursor: &BehindCursor,
        to: i64,
        deliveries: &[NewDelivery],
    ) -> Result<bool, StoreError> {
        let during = || StoreError::during("cursor_advance");
        let mut tx = self.begin_of(cursor.org).await.map_err(during())?;
        lock_session(&mut tx, cursor).await.map_err(during())?;
        if !move_cursor(&mut tx, cursor, to, self.sources.now()).await.map_err(during())? {
            return Ok(false);
        }
        for delivery in deliveries {
            self.insert_delivery(&mut tx, cursor, delivery).await.map_err(during())?;
            if let Some(new) = &delivery.interaction {
                interaction::insert(&mut tx, cursor, new, self.sources.now()).await.map_err(during())?;
            }
        }
        tx.commit().await.map_err(during())?;
        // A claim passes over a session whose row was locked here, and nobody else would tell of it.
        self.wakes.tell(Wake::Work);
        Ok(true)
    }

    async fn insert_delivery(
        &self,
        connection: &mut PgConnection,
        cursor: &BehindCursor,
        delivery: &NewDelivery,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "-- delivery_insert
            INSERT INTO deliveries (org_id, delivery_id, channel_id, binding_id, sequence, payload, state, last_error,
                next_attempt_at, created_at, finished_at, sendings, traceparent)
            SELECT $1, $2, $3, $4, $5, $6, told.state,
                CASE WHEN told.state <> 'pending' THEN 'the recovery ledger remembers it from before the restore' END,
                $7, $7, CASE WHEN told.state <> 'pending' THEN remembered.happened_at END, coalesce(remembered.sendings, 0),
                (SELECT traceparent FROM commands WHERE commands.org_id = $1 AND commands.command_id = $8)
            FROM channels
            LEFT JOIN remembered_effects AS remembered ON remembered.org_id = $1 AND remembered.kind = 'delivery'
                AND remembered.effect_id = $2 AND remembered.effect_key = ''
            CROSS JOIN LATERAL (
                SELECT CASE
                    WHEN remembered.state IS NULL OR remembered.state = 'not_sent' THEN 'pending'
                    WHEN remembered.state IN ('unknown', 'again') AND channels.deduplicates THEN 'pending'
                    WHEN remembered.state = 'again' THEN 'unknown'
                    ELSE remembered.state END AS state) AS told
            WHERE channels.org_id = $1 AND channels.channel_id = $3",
            cursor.org as OrgId,
            delivery_id(cursor.binding_id, delivery.command) as DeliveryId,
            cursor.channel_id as ChannelId,
            cursor.binding_id as BindingId,
            delivery.sequence,
            delivery.payload,
            self.sources.now(),
            delivery.command as CommandId,
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Looks at the cursor no sooner than `wait` from now, so that one that can't be rendered doesn't hold up others.
    pub async fn cursor_postpone(&self, cursor: &BehindCursor, wait: TimeDelta) -> Result<(), StoreError> {
        sqlx::query!(
            "-- cursor_postpone
            UPDATE delivery_cursors SET updated_at = $3 WHERE org_id = $1 AND binding_id = $2 AND behind",
            cursor.org as OrgId,
            cursor.binding_id as BindingId,
            self.sources.now() + wait,
        )
        .execute(self.of(cursor.org))
        .await
        .map_err(StoreError::during("cursor_postpone"))?;
        Ok(())
    }
}

/// The id of the delivery that tells one thread how one command ended: the same whenever and wherever it is rendered.
///
/// A receiver knows a delivery by its id, and so does the recovery ledger. A restored system renders again what the lost
/// one had rendered after the backup, and runs a command again that the lost one had run: either way the far side has
/// heard of this command already, whatever the sequence and the instant are this time. A version 7 UUID whose time is
/// the command's and whose random bits are a hash (RFC 9562, section 5.7).
fn delivery_id(binding: BindingId, command: CommandId) -> DeliveryId {
    let mut hash = Sha256::new_with_prefix(b"cowork delivery v2");
    hash.update(binding.as_uuid().as_bytes());
    hash.update(command.as_uuid().as_bytes());
    let hash = hash.finalize();
    let mut bytes = *command.as_uuid().as_bytes();
    bytes[6..].copy_from_slice(&hash[..10]);
    let mut builder = uuid::Builder::from_bytes(bytes);
    builder.set_version(uuid::Version::SortRand).set_variant(uuid::Variant::RFC4122);
    builder.into_uuid().into()
}

/// Waits for a turn that is just ending and holds off the next one. Without it, a turn that ends between our look at
/// the events and our commit finds the cursor behind already, and we would then say it is not.
async fn lock_session(connection: &mut PgConnection, cursor: &BehindCursor) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- cursor_lock_session
        SELECT last_sequence FROM sessions WHERE org_id = $1 AND session_id = $2 FOR SHARE",
        cursor.org as OrgId,
        cursor.session_id as SessionId,
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

async fn move_cursor(
    connection: &mut PgConnection,
    cursor: &BehindCursor,
    to: i64,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query!(
        "-- cursor_move
        UPDATE delivery_cursors SET sequence = $4, updated_at = $5, behind = EXISTS (
            SELECT FROM events
            WHERE events.org_id = $1 AND events.session_id = $3 AND events.sequence > $4 AND events.kind = 'turn_ended')
        WHERE org_id = $1 AND binding_id = $2 AND sequence = $6",
        cursor.org as OrgId,
        cursor.binding_id as BindingId,
        cursor.session_id as SessionId,
        to,
        now,
        cursor.sequence,
    )
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_to_a_thread_under_one_id() {
        let id = |binding, command| {
            delivery_id(uuid::Uuid::from_u128(binding).into(), uuid::Uuid::from_u128(command).into())
        };
        let made = 0x0192_54d3_8000_7118_b0d3_641a_68f9_4a69;
        assert_eq!(id(1, made), id(1, made));
        assert_ne!(id(1, made), id(2, made));
        assert_ne!(id(1, made), id(1, made + 1));
        assert_eq!(id(1, made).as_uuid().get_version_num(), 7);
        assert_eq!(id(1, made).as_uuid().as_bytes()[..6], made.to_be_bytes()[..6]);
    }
}
