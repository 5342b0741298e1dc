//! Bindings: channel threads tied to sessions. Each has a delivery cursor from its first moment.
//!
//! Not here: moving the cursor (`cursor`).

use clock::{Sources, Timestamp};
use ids::{BindingId, ChannelId, OrgId, SessionId};
use sqlx::PgConnection;

use crate::{Store, StoreError, audit};

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
    .await
    .map_err(no_such_channel)?;
    if inserted.rows_affected() == 0 {
        return Err(BindingError::ThreadTaken);
    }
    let NewBinding { channel: channel_id, thread, session: session_id, .. } = new.clone();
    Ok(Binding { binding_id, channel_id, thread, session_id, cursor_sequence, created_at })
}

fn no_such_channel(error: sqlx::Error) -> BindingError {
    match error.as_database_error() {
        Some(database) if database.is_foreign_key_violation() => BindingError::NoSuchChannel,
        _ => BindingError::Database(error),
    }
}

impl Store {
    pub async fn binding_create(&self, new: &NewBinding, actor: &str) -> Result<Binding, BindingError> {
        let mut tx = self.begin_of(new.org).await?;
        let binding = insert(&mut tx, &self.sources, new).await?;
        let detail = serde_json::json!({"channel_id": new.channel, "session_id": new.session});
        let target = format!("binding:{}", binding.binding_id);
        audit::record(&mut tx, &self.sources, new.org, actor, "binding.create", &target, detail).await?;
        tx.commit().await?;
        Ok(binding)
    }

    /// In the order that they were made.
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
                bindings.thread, bindings.session_id AS "session_id: SessionId",
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
