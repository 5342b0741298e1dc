//! Quotas: how much of something an org may use in a day or a month.
//!
//! What is used is read from the counters (`usage`), a bounded number of rows whatever the org's history. Who refuses,
//! compares before the work begins: a prompt in the statement that would write it down, a claim of a session or a delivery in the
//! statement that would take it, a run before it starts. What waits is put off to the end of the period, so that it is not in the
//! way of other orgs' work.
//!
//! Not guaranteed: that a quota is kept to the unit. Work that was begun is finished, so an org overshoots by what it has
//! under way at once.
//!
//! Not here: counting (`usage`), periods (`domain::quota`).

use clock::Timestamp;
use domain::quota::{QuotaPeriod, UsageKind};
use domain::version::{Expected, RowVersion};
use ids::OrgId;
use serde_json::json;
use sqlx::{PgConnection, PgExecutor};

use crate::wake::Wake;
use crate::{Store, StoreError, audit};

/// What a turn uses. A prompt is refused, and a session not claimed, while one of these is used up.
pub const OF_TURNS: [UsageKind; 4] =
    [UsageKind::Turns, UsageKind::InputTokens, UsageKind::OutputTokens, UsageKind::ArtifactBytes];

/// How much an org may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    pub kind: UsageKind,
    pub period: QuotaPeriod,
    /// As many are allowed.
    pub quantity_max: i64,
    pub updated_at: Timestamp,
    pub version: RowVersion,
}

/// A quota, and how it fares in the present period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUse {
    pub quota: Quota,
    pub used: i64,
    /// When the next period begins.
    pub ends_at: Timestamp,
}

/// A quota that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedUp {
    pub kind: UsageKind,
    pub period: QuotaPeriod,
    /// When the next period begins.
    pub ends_at: Timestamp,
    /// When it was found to be used up.
    pub seen_at: Timestamp,
}

/// What became of a quota that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaRemoval {
    Done,
    NoSuchQuota,
    /// It is in another state than was expected.
    Stale,
}

struct Row {
    kind: String,
    period: String,
    quantity_max: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: i64,
}

impl TryFrom<Row> for Quota {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = || StoreError::unreadable("quotas", "kind", row.kind.clone());
        Ok(Self {
            kind: row.kind.parse().map_err(unreadable())?,
            period: row.period.parse().map_err(unreadable())?,
            quantity_max: row.quantity_max,
            updated_at: row.updated_at,
            version: RowVersion { since: row.created_at, version: row.version },
        })
    }
}

/// Which of `kinds` are used up, of those that the org has a quota for.
pub(crate) async fn used_up(
    connection: impl PgExecutor<'_>,
    org: OrgId,
    kinds: &[UsageKind],
    now: Timestamp,
) -> Result<Option<UsedUp>, StoreError> {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        "-- quota_used_up
        SELECT kind, period FROM quotas
        WHERE org_id = $1 AND kind = ANY ($2) AND quantity_max <= (
            SELECT coalesce(sum(quantity), 0) FROM usage_counters AS used
            WHERE used.org_id = quotas.org_id AND used.kind = quotas.kind
                AND used.day >= CASE period WHEN 'day' THEN $3::date ELSE date_trunc('month', $3::timestamp)::date END)",
        org as OrgId,
        &kinds,
        now.date_naive(),
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("quota_used_up"))?;
    let mut longest: Option<UsedUp> = None;
    for row in rows {
        let unreadable = || StoreError::unreadable("quotas", "kind", row.kind.clone());
        let period: QuotaPeriod = row.period.parse().map_err(unreadable())?;
        let kind = row.kind.parse().map_err(unreadable())?;
        let found = UsedUp { kind, period, ends_at: period.ends_at(now), seen_at: now };
        longest = Some(longest.filter(|longest| longest.ends_at >= found.ends_at).unwrap_or(found));
    }
    Ok(longest)
}

/// How many runs may still start in the present period. `None`: any number.
pub(crate) async fn runs_left(
    connection: &mut PgConnection,
    org: OrgId,
    now: Timestamp,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- quota_runs_left
        SELECT greatest(quantity_max - (
            SELECT coalesce(sum(quantity), 0)::bigint FROM usage_counters AS used
            WHERE used.org_id = quotas.org_id AND used.kind = quotas.kind
                AND used.day >= CASE period WHEN 'day' THEN $2::date ELSE date_trunc('month', $2::timestamp)::date END
        ), 0) AS "left!"
        FROM quotas WHERE org_id = $1 AND kind = 'runs'"#,
        org as OrgId,
        now.date_naive(),
    )
    .fetch_optional(connection)
    .await
}

impl Store {
    /// Of `kinds`, the one that is used up for longest. `None`: none is.
    pub async fn quota_used_up(&self, org: OrgId, kinds: &[UsageKind]) -> Result<Option<UsedUp>, StoreError> {
        used_up(self.of(org), org, kinds, self.sources.now()).await
    }

    /// The org's quotas by kind, with what is used.
    pub async fn quota_list(&self, org: OrgId) -> Result<Vec<QuotaUse>, StoreError> {
        let now = self.sources.now();
        let rows = sqlx::query!(
            r#"-- quota_list
            SELECT kind, period, quantity_max, created_at, updated_at, version, (
                SELECT coalesce(sum(quantity), 0)::bigint FROM usage_counters AS used
                WHERE used.org_id = quotas.org_id AND used.kind = quotas.kind
                    AND used.day >= CASE period WHEN 'day' THEN $2::date ELSE date_trunc('month', $2::timestamp)::date END
            ) AS "used!"
            FROM quotas WHERE org_id = $1 ORDER BY kind"#,
            org as OrgId,
            now.date_naive(),
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("quota_list"))?;
        let read = rows.into_iter().map(|row| {
            let used = row.used;
            let (created_at, updated_at, version) = (row.created_at, row.updated_at, row.version);
            let (kind, period, quantity_max) = (row.kind, row.period, row.quantity_max);
            let quota = Quota::try_from(Row { kind, period, quantity_max, created_at, updated_at, version })?;
            Ok(QuotaUse { used, ends_at: quota.period.ends_at(now), quota })
        });
        read.collect()
    }

    pub async fn quota_get(&self, org: OrgId, kind: UsageKind) -> Result<Option<Quota>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "-- quota_get
            SELECT kind, period, quantity_max, created_at, updated_at, version FROM quotas WHERE org_id = $1 AND kind = $2",
            org as OrgId,
            kind.as_str(),
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("quota_get"))?;
        row.map(Quota::try_from).transpose()
    }

    /// Sets how much an org may use of a kind. `None`: the quota is in another state than `expected`.
    pub async fn quota_put(
        &self,
        org: OrgId,
        kind: UsageKind,
        period: QuotaPeriod,
        quantity_max: i64,
        expected: &Expected,
        actor: &str,
    ) -> Result<Option<Quota>, StoreError> {
        let during = || StoreError::during("quota_put");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        if !expected.met_by(lock(&mut tx, org, kind).await.map_err(during())?) {
            return Ok(None);
        }
        let row = sqlx::query_as!(
            Row,
            "-- quota_put
            INSERT INTO quotas (org_id, kind, period, quantity_max, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
            ON CONFLICT (org_id, kind) DO UPDATE SET period = excluded.period, quantity_max = excluded.quantity_max,
                updated_at = excluded.updated_at, version = quotas.version + 1
            RETURNING kind, period, quantity_max, created_at, updated_at, version",
            org as OrgId,
            kind.as_str(),
            period.as_str(),
            quantity_max,
            self.sources.now(),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        let detail = json!({"period": period, "quantity_max": quantity_max});
        let target = format!("quota:{kind}");
        audit::record(&mut tx, &self.sources, org, actor, "quota.put", &target, detail).await.map_err(during())?;
        wake(&mut tx, org, self.sources.now()).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Work);
        Ok(Some(row.try_into()?))
    }

    /// Takes a quota away: the org may use any number.
    pub async fn quota_remove(
        &self,
        org: OrgId,
        kind: UsageKind,
        expected: &Expected,
        actor: &str,
    ) -> Result<QuotaRemoval, StoreError> {
        let during = || StoreError::during("quota_remove");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let found = lock(&mut tx, org, kind).await.map_err(during())?;
        if found.is_none() {
            return Ok(QuotaRemoval::NoSuchQuota);
        }
        if !expected.met_by(found) {
            return Ok(QuotaRemoval::Stale);
        }
        sqlx::query!(
            "-- quota_remove
            DELETE FROM quotas WHERE org_id = $1 AND kind = $2",
            org as OrgId,
            kind.as_str(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        let target = format!("quota:{kind}");
        audit::record(&mut tx, &self.sources, org, actor, "quota.remove", &target, json!({})).await.map_err(during())?;
        wake(&mut tx, org, self.sources.now()).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Work);
        Ok(QuotaRemoval::Done)
    }
}

/// What was put off is looked at again: it is put off once more if the new quota is used up, too. Work that waits for
/// another attempt comes earlier by this, which does no harm.
async fn wake(connection: &mut PgConnection, org: OrgId, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- quota_wake
        WITH sessions AS (
            UPDATE session_leases SET wake_at = $2 WHERE org_id = $1 AND wake_at > $2 AND leased_until IS NULL
        )
        UPDATE deliveries SET next_attempt_at = $2
        WHERE org_id = $1 AND state = 'pending' AND next_attempt_at > $2 AND leased_until IS NULL",
        org as OrgId,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Two who set a quota at once come one after the other; the org's row stands for those that are not there yet.
async fn lock(connection: &mut PgConnection, org: OrgId, kind: UsageKind) -> Result<Option<RowVersion>, sqlx::Error> {
    sqlx::query!("-- quota_lock_org\nSELECT org_id FROM orgs WHERE org_id = $1 FOR NO KEY UPDATE", org as OrgId)
        .fetch_optional(&mut *connection)
        .await?;
    let row = sqlx::query!(
        "-- quota_lock
        SELECT created_at, version FROM quotas WHERE org_id = $1 AND kind = $2 FOR UPDATE",
        org as OrgId,
        kind.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| RowVersion { since: row.created_at, version: row.version }))
}

#[cfg(test)]
mod tests;
