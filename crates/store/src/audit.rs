//! The audit trail: append-only.
//!
//! Every change that a person or a program asks for is told of here, by the transaction that makes it; a command, by the
//! statement that takes it down (`command::telling`). Told of as well is whenever a secret is opened.
//!
//! Not here: what the agents did, which is what events are for; sealing (`seal`), checking seals (`verify`), looking for
//! records (`read`).

mod chain;
mod read;
mod seal;
mod verify;

use clock::{Sources, Timestamp};
use ids::{AuditId, OrgId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{StoreError, idempotency};

pub use self::read::{AuditFilter, SealedRecord};
pub use self::seal::BATCH as AUDIT_SEALED_AT_ONCE;
pub use self::verify::{AuditFault, AuditFaultKind, AuditHead, AuditVerification};

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
    insert(connection, sources, &[org.into()], actor, action, target, detail).await
}

/// As [`record`], of a change to the installation, in the trail of every org.
pub(crate) async fn record_everywhere(
    connection: &mut PgConnection,
    sources: &Sources,
    actor: &str,
    action: &str,
    target: &str,
    detail: serde_json::Value,
) -> Result<(), sqlx::Error> {
    let orgs = sqlx::query_scalar!("-- audit_orgs\nSELECT org_id FROM orgs ORDER BY org_id")
        .fetch_all(&mut *connection)
        .await?;
    insert(connection, sources, &orgs, actor, action, target, detail).await
}

async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    orgs: &[Uuid],
    actor: &str,
    action: &str,
    target: &str,
    detail: serde_json::Value,
) -> Result<(), sqlx::Error> {
    idempotency::mark(connection).await?;
    let ids: Vec<Uuid> = orgs.iter().map(|_| sources.id::<AuditId>().into()).collect();
    sqlx::query!(
        "-- audit_record
        INSERT INTO audit_records (org_id, audit_id, actor, action, target, detail, recorded_at)
        SELECT org_id, audit_id, $3, $4, $5, $6, $7 FROM unnest($1::uuid[], $2::uuid[]) AS told (org_id, audit_id)",
        orgs,
        &ids,
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

/// 32 bytes of a column.
fn hash(table: &'static str, org: OrgId, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    let array = <[u8; 32]>::try_from(bytes);
    array.map_err(StoreError::unreadable(table, "seal_hash", org))
}

#[cfg(test)]
mod tests;
