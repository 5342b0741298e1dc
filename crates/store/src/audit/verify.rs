//! Whether an org's audit trail is what was sealed.
//!
//! Every link is computed anew from its record and compared. Whoever noted a link elsewhere begins there: then a chain that
//! was written anew, or wound back by a restore, is found out, too.
//!
//! Not promised, without such a note: more than that nobody changed the trail who left the chain alone.

use clock::Timestamp;
use domain::erasure::ERASED;
use futures::TryStreamExt as _;
use ids::{AuditId, OrgId};

use super::chain::{self, Hash, Link};
use crate::{Store, StoreError};

/// A link of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// 0: before the first.
    pub number: i64,
    pub hash: [u8; 32],
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerification {
    /// Links that hold, from where it began.
    pub verified: i64,
    /// The last that holds. Whoever notes it can begin there next time.
    pub head: AuditHead,
    /// Whether that is the end of the chain. `false` without a fault: it ended at the limit.
    pub complete: bool,
    /// Records whose detail was erased with a person: what it quoted can't be compared any more.
    pub erased: i64,
    /// Records that are not sealed yet.
    pub unsealed: i64,
    /// `None`: none was found.
    pub fault: Option<AuditFault>,
}

/// Where a chain breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFault {
    /// Of the first link that does not hold.
    pub number: i64,
    pub kind: AuditFaultKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFaultKind {
    /// The link that the verification was to begin at is another one, or is not there.
    NotFound,
    /// A record is missing.
    Missing,
    /// The record is not what was sealed.
    Changed,
    /// The detail is not what was sealed, and it was not erased.
    DetailChanged,
    /// The chain ends before its head, or goes on behind it.
    End,
}

impl AuditFaultKind {
    /// A word for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::DetailChanged => "detail_changed",
            Self::End => "end",
        }
    }
}

struct Row {
    audit_id: AuditId,
    actor: String,
    action: String,
    target: String,
    detail: String,
    title: Option<String>,
    recorded_at: Timestamp,
    seal_number: i64,
    seal_salt: Option<Vec<u8>>,
    seal_detail: Vec<u8>,
    seal_hash: Vec<u8>,
}

impl Store {
    /// Goes through the chain of an org, at most `limit` links of it, from the link after `from` on. Reads rows as they come,
    /// and holds one at a time.
    pub async fn audit_verify(
        &self,
        org: OrgId,
        from: Option<AuditHead>,
        limit: i64,
    ) -> Result<AuditVerification, StoreError> {
        let during = || StoreError::during("audit_verify");
        let head = self.audit_head(org).await?;
        let mut seen = AuditVerification {
            verified: 0,
            head: from.unwrap_or(AuditHead { number: 0, hash: chain::beginning(org) }),
            complete: false,
            erased: 0,
            unsealed: self.audit_unsealed(org).await?,
            fault: None,
        };
        if !self.stands(org, seen.head).await? {
            seen.fault = Some(AuditFault { number: seen.head.number, kind: AuditFaultKind::NotFound });
            return Ok(seen);
        }
        let mut rows = sqlx::query_as!(
            Row,
            r#"-- audit_verify
            SELECT audit_id AS "audit_id: AuditId", actor, action, target, detail::text AS "detail!",
                detail ->> 'title' AS title, recorded_at, seal_number AS "seal_number!", seal_salt,
                seal_detail AS "seal_detail!", seal_hash AS "seal_hash!"
            FROM audit_records WHERE org_id = $1 AND seal_number > $2 AND seal_number <= $3
            ORDER BY seal_number LIMIT $4"#,
            org as OrgId,
            seen.head.number,
            head.number,
            limit,
        )
        .fetch(self.of(org));
        while let Some(row) = rows.try_next().await.map_err(during())? {
            if let Some(kind) = compare(org, &mut seen, &row) {
                seen.fault = Some(AuditFault { number: seen.head.number + 1, kind });
                return Ok(seen);
            }
        }
        drop(rows);
        self.ended(org, head, limit, &mut seen).await?;
        Ok(seen)
    }

    /// The newest link of an org.
    pub async fn audit_head(&self, org: OrgId) -> Result<AuditHead, StoreError> {
        let row = sqlx::query!(
            "-- audit_head
            SELECT seal_number, seal_hash FROM audit_heads WHERE org_id = $1",
            org as OrgId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("audit_head"))?;
        match row {
            Some(row) => {
                Ok(AuditHead { number: row.seal_number, hash: super::hash("audit_heads", org, &row.seal_hash)? })
            }
            None => Ok(AuditHead { number: 0, hash: chain::beginning(org) }),
        }
    }

    async fn audit_unsealed(&self, org: OrgId) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            r#"-- audit_unsealed_count
            SELECT count(*) AS "count!" FROM audit_records WHERE org_id = $1 AND seal_number IS NULL"#,
            org as OrgId,
        )
        .fetch_one(self.of(org))
        .await
        .map_err(StoreError::during("audit_unsealed_count"))
    }

    /// Whether the link is one of the chain.
    async fn stands(&self, org: OrgId, link: AuditHead) -> Result<bool, StoreError> {
        if link.number == 0 {
            return Ok(link.hash == chain::beginning(org));
        }
        let hash = sqlx::query_scalar!(
            r#"-- audit_link
            SELECT seal_hash AS "seal_hash!" FROM audit_records WHERE org_id = $1 AND seal_number = $2"#,
            org as OrgId,
            link.number,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("audit_link"))?;
        Ok(hash.is_some_and(|hash| hash == link.hash))
    }

    /// What the rows themselves can't tell: that some are missing at the end, or are there behind it.
    async fn ended(
        &self,
        org: OrgId,
        head: AuditHead,
        limit: i64,
        seen: &mut AuditVerification,
    ) -> Result<(), StoreError> {
        if seen.head.number < head.number && seen.verified >= limit {
            return Ok(());
        }
        let beyond = sqlx::query_scalar!(
            r#"-- audit_beyond
            SELECT EXISTS (SELECT FROM audit_records, audit_heads AS head
                WHERE audit_records.org_id = $1 AND head.org_id = $1 AND audit_records.seal_number > head.seal_number
            ) AS "beyond!""#,
            org as OrgId,
        )
        .fetch_one(self.of(org))
        .await
        .map_err(StoreError::during("audit_beyond"))?;
        if seen.head != head || beyond {
            seen.fault = Some(AuditFault { number: seen.head.number + 1, kind: AuditFaultKind::End });
        } else {
            seen.complete = true;
        }
        Ok(())
    }
}

/// Moves on to the row's link, or says why it can't.
fn compare(org: OrgId, seen: &mut AuditVerification, row: &Row) -> Option<AuditFaultKind> {
    if row.seal_number != seen.head.number + 1 {
        return Some(AuditFaultKind::Missing);
    }
    let link = Link {
        number: row.seal_number,
        org,
        audit_id: row.audit_id,
        recorded_at: row.recorded_at,
        actor: &row.actor,
        action: &row.action,
        target: &row.target,
        detail: &row.seal_detail,
    };
    let hash: Hash = chain::next(&seen.head.hash, &link);
    if row.seal_hash != hash {
        return Some(AuditFaultKind::Changed);
    }
    match &row.seal_salt {
        Some(salt) if chain::detail(salt, &row.detail)[..] == row.seal_detail[..] => {}
        None if row.title.as_deref() == Some(ERASED) => seen.erased += 1,
        _ => return Some(AuditFaultKind::DetailChanged),
    }
    seen.head = AuditHead { number: row.seal_number, hash };
    seen.verified += 1;
    None
}
