//! The audit trail: append-only.
//!
//! Every change that a person or a program asks for is told of here, by the transaction that makes it.
//!
//! Not here: what the agents did, which is what events are for.

use clock::{Sources, Timestamp};
use ids::{AuditId, OrgId};
use sqlx::PgConnection;

use crate::{Store, StoreError, idempotency};

/// Who did what to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    pub audit_id: AuditId,
    /// Grows with every entry of the installation; an org sees gaps.
    pub position: i64,
    /// `account:ID`, `token:ID`, `browser_session:ID` or `role:NAME`.
    pub actor: String,
    pub action: String,
    pub target: String,
    pub detail: serde_json::Value,
    pub recorded_at: Timestamp,
}

/// Writes one entry, in the transaction of the change that it tells of. So here is also where a request with an
/// `Idempotency-Key` learns that it has its effect.
pub(crate) async fn record(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    actor: &str,
    action: &str,
    target: &str,
    detail: serde_json::Value,
) -> Result<(), sqlx::Error> {
    idempotency::mark(connection).await?;
    sqlx::query!(
        "-- audit_record
        INSERT INTO audit_records (org_id, audit_id, actor, action, target, detail, recorded_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)",
        org as OrgId,
        sources.id::<AuditId>() as AuditId,
        actor,
        action,
        target,
        detail,
        sources.now(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Entries of an org after a position, oldest first.
    pub async fn audit_list(&self, org: OrgId, after: i64, limit: i64) -> Result<Vec<AuditRecord>, StoreError> {
        sqlx::query_as!(
            AuditRecord,
            r#"-- audit_list
            SELECT audit_id AS "audit_id: AuditId", position AS "position!", actor, action, target, detail, recorded_at
            FROM audit_records WHERE org_id = $1 AND position > $2 ORDER BY position LIMIT $3"#,
            org as OrgId,
            after,
            limit,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::during("audit_list"))
    }
}
