//! The audit trail: append-only.

use clock::Sources;
use ids::{AuditId, OrgId};
use sqlx::PgConnection;

/// Writes one entry, in the transaction of the change that it tells of.
pub(crate) async fn record(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    actor: &str,
    action: &str,
    target: &str,
    detail: serde_json::Value,
) -> Result<(), sqlx::Error> {
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
