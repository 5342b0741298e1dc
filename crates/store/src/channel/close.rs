//! Closing a channel for good.
//!
//! In one transaction the channel is closed, its threads follow no session any more, what waits to be sent is set aside, and the
//! recovery ledger gets word, so that no restore opens it again. What a gateway has in hand at that moment, it finishes: a
//! message that came in is a prompt, a delivery is sent. If that fails it is not tried again, since a claim finds the channel
//! closed (`delivery/claim.sql`).
//!
//! Whoever binds a thread or sends a delivery again holds the channel's row ([`hold`]), and so is either before the closing or
//! finds the channel closed.
//!
//! Not here: opening it again, which nothing does; what a restore closes (`replay`).

use clock::Timestamp;
use ids::{BindingId, ChannelId, OrgId};
use serde_json::json;
use sqlx::PgConnection;

use super::lock;
use crate::delivery::set_aside;
use crate::outbox::{self, Effect};
use crate::{Store, StoreError, audit, deadlock};

/// Why a delivery was set aside, for people. A claim says it, too (`delivery/claim.sql`).
const CLOSED: &str = "its channel was closed";

impl Store {
    /// Closes the channel for good. Closing twice changes nothing. `false`: the org has no such channel.
    pub async fn channel_close(&self, org: OrgId, channel: ChannelId, actor: &str) -> Result<bool, StoreError> {
        let during = || StoreError::during("channel_close");
        let mut tries = deadlock::Tries::default();
        let found = loop {
            match self.close_once(org, channel, actor).await {
                Err(error) if tries.another(&error) => {}
                closed => break closed.map_err(during())?,
            }
        };
        if found {
            // Apart from the rest: a message in a bound thread holds the binding and waits for the session, which may wait for
            // whoever holds the thread's cursor. Whoever was interrupted here and asks again does it then.
            let mut tries = deadlock::Tries::default();
            while let Err(error) = self.forget_threads(org, channel).await {
                if !tries.another(&error) {
                    return Err(during()(error));
                }
            }
        }
        Ok(found)
    }

    async fn close_once(&self, org: OrgId, channel: ChannelId, actor: &str) -> Result<bool, sqlx::Error> {
        let mut tx = self.begin_of(org).await?;
        let Some(found) = lock(&mut tx, org, channel).await? else { return Ok(false) };
        if found.closed_at.is_none() {
            self.close_in(&mut tx, org, channel, actor).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn close_in(
        &self,
        connection: &mut PgConnection,
        org: OrgId,
        channel: ChannelId,
        actor: &str,
    ) -> Result<(), sqlx::Error> {
        let now = self.sources.now();
        // In the order of whoever renders or settles: cursors, deliveries.
        let unbound = remove_cursors(connection, org, channel).await?;
        // Of threads that were unbound before, too: one may be tried again.
        let bindings = bindings(connection, org, channel).await?;
        let mut effects = set_aside(connection, org, &bindings, (CLOSED, now)).await?;
        close(connection, org, channel, now).await?;
        let detail = json!({"unbound": unbound, "set_aside": effects.len()});
        effects.push(Effect::ChannelClosed { org, channel });
        outbox::insert(connection, &self.sources, &effects).await?;
        let target = format!("channel:{channel}");
        audit::record(connection, &self.sources, org, actor, "channel.close", &target, detail).await
    }

    async fn forget_threads(&self, org: OrgId, channel: ChannelId) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "-- channel_forget_threads
            UPDATE bindings SET thread = NULL WHERE org_id = $1 AND channel_id = $2 AND thread IS NOT NULL",
            org as OrgId,
            channel as ChannelId,
        )
        .execute(self.of(org))
        .await?;
        Ok(())
    }
}

/// Holds off a closing until the transaction ends. `false`: the org has no such channel, or it is closed.
pub(crate) async fn hold(connection: &mut PgConnection, org: OrgId, channel: ChannelId) -> Result<bool, sqlx::Error> {
    let held = sqlx::query_scalar!(
        r#"-- channel_hold
        SELECT channel_id AS "channel: ChannelId" FROM channels
        WHERE org_id = $1 AND channel_id = $2 AND closed_at IS NULL FOR SHARE"#,
        org as OrgId,
        channel as ChannelId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(held.is_some())
}

async fn bindings(
    connection: &mut PgConnection,
    org: OrgId,
    channel: ChannelId,
) -> Result<Vec<BindingId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- channel_bindings
        SELECT binding_id AS "binding: BindingId" FROM bindings WHERE org_id = $1 AND channel_id = $2"#,
        org as OrgId,
        channel as ChannelId,
    )
    .fetch_all(connection)
    .await
}

/// How many threads follow a session no more.
async fn remove_cursors(connection: &mut PgConnection, org: OrgId, channel: ChannelId) -> Result<u64, sqlx::Error> {
    let removed = sqlx::query!(
        "-- channel_remove_cursors
        DELETE FROM delivery_cursors USING bindings
        WHERE bindings.org_id = $1 AND bindings.channel_id = $2
            AND delivery_cursors.org_id = bindings.org_id AND delivery_cursors.binding_id = bindings.binding_id",
        org as OrgId,
        channel as ChannelId,
    )
    .execute(connection)
    .await?;
    Ok(removed.rows_affected())
}

async fn close(
    connection: &mut PgConnection,
    org: OrgId,
    channel: ChannelId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- channel_close
        UPDATE channels SET closed_at = $3, version = version + 1 WHERE org_id = $1 AND channel_id = $2",
        org as OrgId,
        channel as ChannelId,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
