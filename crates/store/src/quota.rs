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
//! A quota is the org's own, or else its plan's: both stand in one row, with the one that is in force where all statements look
//! ([`QuotaOrigin`]). While the org's subscription is refused, it has a third kind above both: no turns and no runs.
//!
//! Not here: counting (`usage`), periods (`domain::quota`), which plan an org is on (`subscription`).

use clock::Timestamp;
use domain::plan::Plan;
use domain::quota::{QuotaOrigin, QuotaPeriod, UsageKind};
use domain::version::{Expected, RowVersion};
use ids::OrgId;
use serde_json::json;
use sqlx::{PgConnection, PgExecutor};

use crate::wake::Wake;
use crate::{Store, StoreError, audit};

/// What a turn uses. A prompt is refused, and a session not claimed, while one of these is used up.
pub const OF_TURNS: [UsageKind; 5] =
    [UsageKind::Turns, UsageKind::TurnMs, UsageKind::InputTokens, UsageKind::OutputTokens, UsageKind::ArtifactBytes];

/// What nothing is left of while a subscription is refused: what was begun is finished, sent and read.
const REFUSED: [UsageKind; 2] = [UsageKind::Turns, UsageKind::Runs];

/// How much an org may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    pub origin: QuotaOrigin,
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
    /// `Subscription`: the end of the period changes nothing.
    pub origin: QuotaOrigin,
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
    /// The plan's is in force from now on, if it has one.
    Done,
    /// The org has none of its own.
    NoSuchQuota,
    /// It is in another state than was expected.
    Stale,
}

struct Row {
    origin: String,
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
            origin: row.origin.parse().map_err(unreadable())?,
            kind: row.kind.parse().map_err(unreadable())?,
            period: row.period.parse().map_err(unreadable())?,
            quantity_max: row.quantity_max,
            updated_at: row.updated_at,
            version: RowVersion { since: row.created_at, version: row.version },
        })
    }
}

/// Which of `kinds` are used up, of those that the org has a quota for. A subscription that is refused comes before all.
pub(crate) async fn used_up(
    connection: impl PgExecutor<'_>,
    org: OrgId,
    kinds: &[UsageKind],
    now: Timestamp,
) -> Result<Option<UsedUp>, StoreError> {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        "-- quota_used_up
        SELECT kind, period, origin FROM quotas
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
        let origin = row.origin.parse().map_err(unreadable())?;
        let found = UsedUp { origin, kind, period, ends_at: period.ends_at(now), seen_at: now };
        if origin == QuotaOrigin::Subscription {
            return Ok(Some(found));
        }
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
            SELECT origin, kind, period, quantity_max, created_at, updated_at, version, (
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
            let (origin, kind, period, quantity_max) = (row.origin, row.kind, row.period, row.quantity_max);
            let quota = Quota::try_from(Row { origin, kind, period, quantity_max, created_at, updated_at, version })?;
            Ok(QuotaUse { used, ends_at: quota.period.ends_at(now), quota })
        });
        read.collect()
    }

    pub async fn quota_get(&self, org: OrgId, kind: UsageKind) -> Result<Option<Quota>, StoreError> {
        let row = get(self.of(org), org, kind).await.map_err(StoreError::during("quota_get"))?;
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
        let found = lock(&mut tx, org, kind).await.map_err(during())?;
        if !expected.met_by(found.as_ref().map(|found| found.version)) {
            return Ok(None);
        }
        let now = self.sources.now();
        sqlx::query!(
            "-- quota_put
            INSERT INTO quotas (org_id, kind, period, quantity_max, own_period, own_quantity_max, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $3, $4, $5, $5)
            ON CONFLICT (org_id, kind) DO UPDATE SET period = excluded.period, quantity_max = excluded.quantity_max,
                origin = 'org', own_period = excluded.period, own_quantity_max = excluded.quantity_max, updated_at = $5,
                version = quotas.version + 1",
            org as OrgId,
            kind.as_str(),
            period.as_str(),
            quantity_max,
            now,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        settle(&mut tx, org, now).await.map_err(during())?;
        let row = get(&mut *tx, org, kind).await.map_err(during())?;
        let row = row.ok_or_else(|| during()(sqlx::Error::RowNotFound))?;
        let detail = json!({"period": period, "quantity_max": quantity_max});
        let target = format!("quota:{kind}");
        audit::record(&mut tx, &self.sources, org, actor, "quota.put", &target, detail).await.map_err(during())?;
        wake(&mut tx, org, self.sources.now()).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Work);
        Ok(Some(row.try_into()?))
    }

    /// Takes the org's own quota away: its plan's is in force, or it may use any number.
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
        let Some(found) = found.filter(|found| found.own) else { return Ok(QuotaRemoval::NoSuchQuota) };
        if !expected.met_by(Some(found.version)) {
            return Ok(QuotaRemoval::Stale);
        }
        sqlx::query!(
            "-- quota_remove
            UPDATE quotas SET own_period = NULL, own_quantity_max = NULL, origin = 'plan', version = version + 1
            WHERE org_id = $1 AND kind = $2",
            org as OrgId,
            kind.as_str(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        settle(&mut tx, org, self.sources.now()).await.map_err(during())?;
        let target = format!("quota:{kind}");
        audit::record(&mut tx, &self.sources, org, actor, "quota.remove", &target, json!({})).await.map_err(during())?;
        wake(&mut tx, org, self.sources.now()).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Work);
        Ok(QuotaRemoval::Done)
    }
}

async fn get(connection: impl PgExecutor<'_>, org: OrgId, kind: UsageKind) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "-- quota_get
        SELECT origin, kind, period, quantity_max, created_at, updated_at, version FROM quotas
        WHERE org_id = $1 AND kind = $2",
        org as OrgId,
        kind.as_str(),
    )
    .fetch_optional(connection)
    .await
}

/// Gives the org what `plan` allows, but for the kinds that it has quotas of its own for; without one, what it had of a plan stays.
/// Its subscription's row is locked, and says whether it is refused.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    org: OrgId,
    plan: Option<&Plan>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    lock_org(connection, org).await?;
    if let Some(plan) = plan {
        allow(connection, org, plan, now).await?;
    }
    settle(connection, org, now).await?;
    wake(connection, org, now).await
}

/// Writes down what the plan allows, beside what the org has of its own.
async fn allow(connection: &mut PgConnection, org: OrgId, plan: &Plan, now: Timestamp) -> Result<(), sqlx::Error> {
    let kinds: Vec<String> = plan.quotas.keys().map(ToString::to_string).collect();
    let periods: Vec<String> = plan.quotas.values().map(|allowance| allowance.period.as_str().to_owned()).collect();
    let most: Vec<i64> = plan.quotas.values().map(|allowance| allowance.quantity_max).collect();
    sqlx::query!(
        "-- quota_allow
        WITH gone AS (
            UPDATE quotas SET plan_period = NULL, plan_quantity_max = NULL WHERE org_id = $1 AND kind <> ALL ($2)
        )
        INSERT INTO quotas (org_id, kind, period, quantity_max, origin, plan_period, plan_quantity_max, created_at, updated_at)
        SELECT $1, kind, period, quantity_max, 'plan', period, quantity_max, $5, $5
        FROM unnest($2::text[], $3::text[], $4::bigint[]) AS planned (kind, period, quantity_max)
        ON CONFLICT (org_id, kind) DO UPDATE SET plan_period = excluded.plan_period,
            plan_quantity_max = excluded.plan_quantity_max",
        org as OrgId,
        &kinds,
        &periods,
        &most,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts into force what has to be, of what the org, its plan and its subscription say. What nobody says goes.
async fn settle(connection: &mut PgConnection, org: OrgId, now: Timestamp) -> Result<(), sqlx::Error> {
    let refused = REFUSED.map(|kind| kind.to_string());
    sqlx::query!(
        "-- quota_refuse
        INSERT INTO quotas (org_id, kind, period, quantity_max, origin, created_at, updated_at)
        SELECT $1, kind, 'day', 0, 'subscription', $3, $3 FROM subscriptions, unnest($2::text[]) AS refused (kind)
        WHERE org_id = $1 AND subscriptions.refused
        ON CONFLICT (org_id, kind) DO NOTHING",
        org as OrgId,
        &refused,
        now,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "-- quota_settle
        WITH said AS (
            SELECT kind, refused AND kind = ANY ($2) AS ends,
                -- An older release sets what is in force, and nothing beside it.
                CASE origin WHEN 'org' THEN period ELSE own_period END AS own_period,
                CASE origin WHEN 'org' THEN quantity_max ELSE own_quantity_max END AS own_max
            FROM quotas JOIN subscriptions USING (org_id) WHERE org_id = $1
        ), judged AS (
            SELECT said.*, CASE WHEN ends THEN 'subscription' WHEN own_period IS NOT NULL THEN 'org' ELSE 'plan' END AS origin
            FROM said
        ), unsaid AS (
            DELETE FROM quotas USING said
            WHERE quotas.org_id = $1 AND quotas.kind = said.kind
                AND NOT ends AND said.own_period IS NULL AND plan_period IS NULL
        )
        UPDATE quotas SET origin = judged.origin, own_period = judged.own_period, own_quantity_max = judged.own_max,
            period = CASE judged.origin WHEN 'subscription' THEN 'day' WHEN 'org' THEN judged.own_period
                ELSE plan_period END,
            quantity_max = CASE judged.origin WHEN 'subscription' THEN 0 WHEN 'org' THEN own_max ELSE plan_quantity_max END,
            updated_at = $3, version = version + 1
        FROM judged
        WHERE quotas.org_id = $1 AND quotas.kind = judged.kind
            AND (ends OR judged.own_period IS NOT NULL OR plan_period IS NOT NULL)
            AND (quotas.origin, period, quantity_max) IS DISTINCT FROM (
                judged.origin,
                CASE judged.origin WHEN 'subscription' THEN 'day' WHEN 'org' THEN judged.own_period ELSE plan_period END,
                CASE judged.origin WHEN 'subscription' THEN 0 WHEN 'org' THEN own_max ELSE plan_quantity_max END)",
        org as OrgId,
        &refused,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
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

/// A quota that nobody else changes meanwhile.
struct Locked {
    version: RowVersion,
    /// Whether the org has one of its own.
    own: bool,
}

async fn lock(connection: &mut PgConnection, org: OrgId, kind: UsageKind) -> Result<Option<Locked>, sqlx::Error> {
    lock_org(connection, org).await?;
    let row = sqlx::query!(
        r#"-- quota_lock
        SELECT created_at, version, own_quantity_max IS NOT NULL OR origin = 'org' AS "own!"
        FROM quotas WHERE org_id = $1 AND kind = $2 FOR UPDATE"#,
        org as OrgId,
        kind.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    let locked = |since, version, own| Locked { version: RowVersion { since, version }, own };
    Ok(row.map(|row| locked(row.created_at, row.version, row.own)))
}

/// Two who set quotas at once come one after the other; the org's row stands for those that are not there yet.
async fn lock_org(connection: &mut PgConnection, org: OrgId) -> Result<(), sqlx::Error> {
    sqlx::query!("-- quota_lock_org\nSELECT org_id FROM orgs WHERE org_id = $1 FOR NO KEY UPDATE", org as OrgId)
        .fetch_optional(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
