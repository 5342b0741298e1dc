//! Sealing: every record gets its place in its org's chain.
//!
//! The order of a chain is that of sealing. So a record that is committed late, after others with a greater position were
//! sealed, is sealed later and slips under nothing, and no watermark is needed. Whoever seals holds the org's head, so there is one
//! chain, however many seal.
//!
//! Not here: in what time (crate `scheduler`).

use clock::{Sources, Timestamp};
use ids::{AuditId, OrgId};
use sqlx::PgConnection;

use super::chain::{self, Hash, Link};
use crate::{Store, StoreError};

/// Records of an org that are sealed at a time. Their rows and the head are locked meanwhile.
pub const BATCH: usize = 500;

struct Row {
    audit_id: AuditId,
    actor: String,
    action: String,
    target: String,
    detail: String,
    recorded_at: Timestamp,
}

#[derive(Default)]
struct Sealed {
    ids: Vec<uuid::Uuid>,
    numbers: Vec<i64>,
    salts: Vec<Vec<u8>>,
    details: Vec<Vec<u8>>,
    hashes: Vec<Vec<u8>>,
}

impl Store {
    /// Orgs after `after` that have records to seal, in the order of their ids, at most `limit`.
    pub async fn audit_unsealed_orgs(&self, after: Option<OrgId>, limit: i64) -> Result<Vec<OrgId>, StoreError> {
        sqlx::query_scalar!(
            r#"-- audit_unsealed_orgs
            SELECT DISTINCT org_id AS "org: OrgId" FROM audit_records
            WHERE seal_number IS NULL AND ($1::uuid IS NULL OR org_id > $1) ORDER BY org_id LIMIT $2"#,
            after as Option<OrgId>,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("audit_unsealed_orgs"))
    }

    /// Seals records of an org, [`BATCH`] of them at most. Gives back how many.
    pub async fn audit_seal(&self, org: OrgId) -> Result<usize, StoreError> {
        let during = || StoreError::during("audit_seal");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let (number, hash) = lock_head(&mut tx, org).await.map_err(during())?;
        let hash = super::hash("audit_heads", org, &hash)?;
        let rows = unsealed(&mut tx, org).await.map_err(during())?;
        if rows.is_empty() {
            return Ok(0);
        }
        let (sealed, head) = links(&self.sources, org, number, hash, &rows);
        write(&mut tx, org, &sealed, &head).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(rows.len())
    }
}

/// Number and hash of the newest link; makes the head of an org whose first records are sealed.
async fn lock_head(tx: &mut PgConnection, org: OrgId) -> Result<(i64, Vec<u8>), sqlx::Error> {
    sqlx::query!(
        "-- audit_head_begin
        INSERT INTO audit_heads (org_id, seal_number, seal_hash) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING",
        org as OrgId,
        &chain::beginning(org)[..],
    )
    .execute(&mut *tx)
    .await?;
    let head = sqlx::query!(
        "-- audit_head_lock
        SELECT seal_number, seal_hash FROM audit_heads WHERE org_id = $1 FOR UPDATE",
        org as OrgId,
    )
    .fetch_one(tx)
    .await?;
    Ok((head.seal_number, head.seal_hash))
}

/// Locked, so that an erasure comes before or after, and not between reading a detail and sealing it.
async fn unsealed(tx: &mut PgConnection, org: OrgId) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"-- audit_unsealed
        SELECT audit_id AS "audit_id: AuditId", actor, action, target, detail::text AS "detail!", recorded_at
        FROM audit_records WHERE org_id = $1 AND seal_number IS NULL ORDER BY position LIMIT $2 FOR UPDATE"#,
        org as OrgId,
        i64::try_from(BATCH).unwrap_or(i64::MAX),
    )
    .fetch_all(tx)
    .await
}

fn links(sources: &Sources, org: OrgId, mut number: i64, mut hash: Hash, rows: &[Row]) -> (Sealed, Hash) {
    let mut sealed = Sealed::default();
    for row in rows {
        let salt: [u8; 32] = sources.bytes();
        let detail = chain::detail(&salt, &row.detail);
        number += 1;
        let (audit_id, recorded_at) = (row.audit_id, row.recorded_at);
        let (actor, action, target) = (&*row.actor, &*row.action, &*row.target);
        let link = Link { number, org, audit_id, recorded_at, actor, action, target, detail: &detail };
        hash = chain::next(&hash, &link);
        sealed.ids.push(audit_id.into());
        sealed.numbers.push(number);
        sealed.salts.push(salt.to_vec());
        sealed.details.push(detail.to_vec());
        sealed.hashes.push(hash.to_vec());
    }
    (sealed, hash)
}

async fn write(tx: &mut PgConnection, org: OrgId, sealed: &Sealed, head: &Hash) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- audit_seal
        UPDATE audit_records SET seal_number = link.number, seal_salt = link.salt, seal_detail = link.detail,
            seal_hash = link.hash
        FROM unnest($2::uuid[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[])
            AS link (audit_id, number, salt, detail, hash)
        WHERE audit_records.org_id = $1 AND audit_records.audit_id = link.audit_id",
        org as OrgId,
        &sealed.ids,
        &sealed.numbers,
        &sealed.salts,
        &sealed.details,
        &sealed.hashes,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "-- audit_head_move
        UPDATE audit_heads SET seal_number = $2, seal_hash = $3 WHERE org_id = $1",
        org as OrgId,
        sealed.numbers.last(),
        &head[..],
    )
    .execute(tx)
    .await?;
    Ok(())
}
