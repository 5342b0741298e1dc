//! Looking for records of an org's audit trail, and handing all of them out.
//!
//! The list is in the order in which positions were given, which is not that of commits: a record may appear before one that
//! was seen. Whoever must miss none reads sealed records, whose numbers have no holes and to which nothing is added but at the end.
//!
//! Not here: the form that they are handed out in (`web`).

use clock::Timestamp;
use ids::{AuditId, OrgId};

use super::AuditRecord;
use crate::wall::Reach;
use crate::{Store, StoreError};

/// Records that one page of the list looks at.
const STRETCH: i64 = 5_000;

/// What a record must be to be found: all of it. Texts are compared whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub target: Option<String>,
    /// Recorded at this time or later.
    pub since: Option<Timestamp>,
    /// Recorded before this time.
    pub until: Option<Timestamp>,
}

/// A record with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    pub number: i64,
    pub record: AuditRecord,
    /// 32 bytes.
    pub hash: Vec<u8>,
}

impl Store {
    /// Records of an org after a position that match, oldest first; and the position after which a next page goes on. A page
    /// looks at a bounded number of records, so it may be short, or empty, though there are more.
    pub async fn audit_list(
        &self,
        org: OrgId,
        filter: &AuditFilter,
        after: i64,
        limit: i64,
    ) -> Result<(Vec<AuditRecord>, Option<i64>), StoreError> {
        let during = || StoreError::during("audit_list");
        let mut connection = self.connections.lend(Reach::Org(org)).await.map_err(during())?;
        let end = sqlx::query_scalar!(
            r#"-- audit_list_end
            SELECT position AS "position!" FROM audit_records
            WHERE org_id = $1 AND position > $2 ORDER BY position OFFSET $3 LIMIT 1"#,
            org as OrgId,
            after,
            STRETCH - 1,
        )
        .fetch_optional(&mut *connection)
        .await
        .map_err(during())?;
        let found = sqlx::query_as!(
            AuditRecord,
            r#"-- audit_list
            SELECT audit_id AS "audit_id: AuditId", position AS "position!", actor, action, target, detail, recorded_at
            FROM audit_records WHERE org_id = $1 AND position > $2 AND position <= $3
                AND ($4::text IS NULL OR actor = $4) AND ($5::text IS NULL OR action = $5)
                AND ($6::text IS NULL OR target = $6)
                AND ($7::timestamptz IS NULL OR recorded_at >= $7) AND ($8::timestamptz IS NULL OR recorded_at < $8)
            ORDER BY position LIMIT $9"#,
            org as OrgId,
            after,
            end.unwrap_or(i64::MAX),
            filter.actor,
            filter.action,
            filter.target,
            filter.since,
            filter.until,
            limit,
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(during())?;
        connection.done();
        let full = i64::try_from(found.len()).is_ok_and(|count| count >= limit);
        let next = if full { found.last().map(|record| record.position) } else { end };
        Ok((found, next))
    }

    /// Sealed records of an org past a number, in the order of the chain.
    pub async fn audit_sealed(&self, org: OrgId, after: i64, limit: i64) -> Result<Vec<SealedRecord>, StoreError> {
        let rows = sqlx::query!(
            r#"-- audit_sealed
            SELECT audit_id AS "audit_id: AuditId", position AS "position!", actor, action, target, detail, recorded_at,
                seal_number AS "seal_number!", seal_hash AS "seal_hash!"
            FROM audit_records WHERE org_id = $1 AND seal_number > $2 ORDER BY seal_number LIMIT $3"#,
            org as OrgId,
            after,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("audit_sealed"))?;
        let sealed = rows.into_iter().map(|row| {
            let record = AuditRecord {
                audit_id: row.audit_id,
                position: row.position,
                actor: row.actor,
                action: row.action,
                target: row.target,
                detail: row.detail,
                recorded_at: row.recorded_at,
            };
            SealedRecord { number: row.seal_number, record, hash: row.seal_hash }
        });
        Ok(sealed.collect())
    }
}
