//! Bindings: channel threads tied to sessions. Each has a delivery cursor from its first moment to its last.
//!
//! An unbound binding stays, without thread and cursor: its deliveries name it, and an erasure finds them by it.
//!
//! Not promised: that a thread stays unbound over a restore to a backup from before, unless its channel was closed.
//!
//! Not here: moving the cursor (`cursor`).

use clock::{Sources, Timestamp};
use ids::{BindingId, ChannelId, OrgId, SessionId};
use serde_json::json;
use sqlx::PgConnection;

use crate::delivery::set_aside;
use crate::{Store, StoreError, audit, channel, deadlock, outbox};

/// Why a delivery was set aside, for people.
const UNBOUND: &str = "its thread was unbound";

/// A thread to be tied to a session.
#[derive(Debug, Clone)]
pub struct NewBinding {
    pub org: OrgId,
    pub channel: ChannelId,
    /// 1 to 200 characters.
    pub thread: String,
    pub session: SessionId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub binding_id: BindingId,
    pub channel_id: ChannelId,
    pub thread: String,
    pub session_id: SessionId,
    /// The last event that was rendered in the thread.
    pub cursor_sequence: i64,
    pub created_at: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// Or it is closed.
    #[error("the org has no such channel")]
    NoSuchChannel,
    #[error("the org has no such session")]
    NoSuchSession,
    #[error("the thread is bound to a session already")]
    ThreadTaken,
    #[error("the database did not carry out binding_create")]
    Database(#[from] sqlx::Error),
}

/// Ties the thread to the session and sets its cursor at the session's newest event: what was said before is not told
/// there. Must be in a transaction.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    new: &NewBinding,
) -> Result<Binding, BindingError> {
    if !channel::hold(connection, new.org, new.channel).await? {
        return Err(BindingError::NoSuchChannel);
    }
    // The lock waits for a turn that is just ending; the end of any later turn sees the cursor.
    let cursor_sequence = sqlx::query_scalar!(
        "-- binding_insert_lock
        SELECT last_sequence FROM sessions WHERE org_id = $1 AND session_id = $2 FOR SHARE",
        new.org as OrgId,
        new.session as SessionId,
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(BindingError::NoSuchSession)?;
    let binding_id: BindingId = sources.id();
    let created_at = sources.now();
    let inserted = sqlx::query!(
        "-- binding_insert
        WITH binding AS (
            INSERT INTO bindings (org_id, binding_id, channel_id, thread, session_id, created_at)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org_id, channel_id, thread) DO NOTHING
            RETURNING org_id, binding_id, session_id
        )
        INSERT INTO delivery_cursors (org_id, binding_id, session_id, sequence, behind, updated_at)
        SELECT org_id, binding_id, session_id, $7, false, $6 FROM binding",
        new.org as OrgId,
        binding_id as BindingId,
        new.channel as ChannelId,
        new.thread,
        new.session as SessionId,
        created_at,
        cursor_sequence,
    )
    .execute(connection)
    .await?;
    if inserted.rows_affected() == 0 {
        return Err(BindingError::ThreadTaken);
    }
    let NewBinding { channel: channel_id, thread, session: session_id, .. } = new.clone();
    Ok(Binding { binding_id, channel_id, thread, session_id, cursor_sequence, created_at })
}

impl Store {
    pub async fn binding_create(&self, new: &NewBinding, actor: &str) -> Result<Binding, BindingError> {
        let mut tx = self.begin_of(new.org).await?;
        let binding = insert(&mut tx, &self.sources, new).await?;
        let detail = json!({"channel_id": new.channel, "session_id": new.session});
        let target = format!("binding:{}", binding.binding_id);
        audit::record(&mut tx, &self.sources, new.org, actor, "binding.create", &target, detail).await?;
        tx.commit().await?;
        Ok(binding)
    }

    /// Leads the thread nowhere any more: nothing is rendered there, and what waits to be sent is set aside, but for what a
    /// gateway has in hand. The next message in the thread begins a session. Unbinding twice changes nothing. `false`: the
    /// org has no such binding.
    pub async fn binding_remove(&self, org: OrgId, binding: BindingId, actor: &str) -> Result<bool, StoreError> {
        let mut tries = deadlock::Tries::default();
        loop {
            match self.remove_once(org, binding, actor).await {
                Err(error) if tries.another(&error) => {}
                removed => return removed.map_err(StoreError::during("binding_remove")),
            }
        }
    }

    async fn remove_once(&self, org: OrgId, binding: BindingId, actor: &str) -> Result<bool, sqlx::Error> {
        let mut tx = self.begin_of(org).await?;
        // In the order of whoever renders or settles: cursor, deliveries, binding.
        let Some(session) = remove_cursor(&mut tx, org, binding).await? else {
            return exists(&mut tx, org, binding).await;
        };
        let dropped = set_aside(&mut tx, org, &[binding], (UNBOUND, self.sources.now())).await?;
        outbox::insert(&mut tx, &self.sources, &dropped).await?;
        let channel = forget_thread(&mut tx, org, binding).await?;
        let detail = json!({"channel_id": channel, "session_id": session, "set_aside": dropped.len()});
        let target = format!("binding:{binding}");
        audit::record(&mut tx, &self.sources, org, actor, "binding.remove", &target, detail).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// One in force.
    pub async fn binding_get(&self, org: OrgId, binding: BindingId) -> Result<Option<Binding>, StoreError> {
        sqlx::query_as!(
            Binding,
            r#"-- binding_get
            SELECT bindings.binding_id AS "binding_id: BindingId", bindings.channel_id AS "channel_id: ChannelId",
                bindings.thread AS "thread!", bindings.session_id AS "session_id: SessionId",
                delivery_cursors.sequence AS cursor_sequence, bindings.created_at
            FROM bindings JOIN delivery_cursors USING (org_id, binding_id)
            WHERE bindings.org_id = $1 AND bindings.binding_id = $2"#,
            org as OrgId,
            binding as BindingId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("binding_get"))
    }

    /// Those in force, in the order that they were made.
    pub async fn binding_list(
        &self,
        org: OrgId,
        after: Option<BindingId>,
        limit: i64,
    ) -> Result<Vec<Binding>, StoreError> {
        sqlx::query_as!(
            Binding,
            r#"-- binding_list
            SELECT bindings.binding_id AS "binding_id: BindingId", bindings.channel_id AS "channel_id: ChannelId",
                bindings.thread AS "thread!", bindings.session_id AS "session_id: SessionId",
                delivery_cursors.sequence AS cursor_sequence, bindings.created_at
            FROM bindings JOIN delivery_cursors USING (org_id, binding_id)
            WHERE bindings.org_id = $1 AND ($2::uuid IS NULL OR bindings.binding_id > $2)
            ORDER BY bindings.binding_id LIMIT $3"#,
            org as OrgId,
            after as Option<BindingId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("binding_list"))
    }
}

/// `None`: the binding is unbound, or there is none.
async fn remove_cursor(
    connection: &mut PgConnection,
    org: OrgId,
    binding: BindingId,
) -> Result<Option<SessionId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- binding_remove_cursor
        DELETE FROM delivery_cursors WHERE org_id = $1 AND binding_id = $2 RETURNING session_id AS "session: SessionId""#,
        org as OrgId,
        binding as BindingId,
    )
    .fetch_optional(connection)
    .await
}

async fn forget_thread(
    connection: &mut PgConnection,
    org: OrgId,
    binding: BindingId,
) -> Result<ChannelId, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- binding_forget_thread
        UPDATE bindings SET thread = NULL WHERE org_id = $1 AND binding_id = $2
        RETURNING channel_id AS "channel: ChannelId""#,
        org as OrgId,
        binding as BindingId,
    )
    .fetch_one(connection)
    .await
}

async fn exists(connection: &mut PgConnection, org: OrgId, binding: BindingId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- binding_exists
        SELECT EXISTS (SELECT FROM bindings WHERE org_id = $1 AND binding_id = $2) AS "exists!""#,
        org as OrgId,
        binding as BindingId,
    )
    .fetch_one(connection)
    .await
}

#[cfg(test)]
mod tests;
