//! Metered quantities. Each source counts once per kind, however often its work is
//! repeated.
//!
//! What is recorded is also added up by day (`usage_counters`), by the same statement: a record that was there already adds
//! nothing. Statements that stand alone spread over stripes, so that an org's turns don't wait for each other; a transaction that
//! records several times uses one stripe, so that two of them can't wait for each other crosswise.
//!
//! What models took is kept by model besides (`model_usage`), by the statement that ends the turn.
//!
//! Totals are read from the counters, of a range of days as of all history: they cost by days, not by what was done in them. A
//! process knows the kinds of its own release only, and leaves others out.
//!
//! Not here: comparing with quotas (`quota`), the plan that they are of (`subscription`), prices, which are the billing
//! provider's.

use chrono::NaiveDate;
use clock::Sources;
use domain::quota::{DayRange, UsageKind};
use domain::spend::{ModelSpend, ModelUse};
use ids::{CommandId, OrgId, SessionId, UsageId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Lease, Store, StoreError};

/// Meters `quantity` of `kind` from `source` (a command, artifact, delivery or run), in the transaction of the work.
pub(crate) async fn record(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    source: Uuid,
    kind: UsageKind,
    quantity: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- usage_record
        WITH metered AS (
            INSERT INTO usage_records (org_id, usage_id, source_id, kind, quantity, recorded_at)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org_id, source_id, kind) DO NOTHING
            RETURNING org_id, kind, quantity
        )
        INSERT INTO usage_counters (org_id, kind, day, stripe, quantity)
        SELECT org_id, kind, ($6::timestamptz AT TIME ZONE 'UTC')::date, 0, quantity FROM metered
        ON CONFLICT (org_id, kind, day, stripe) DO UPDATE SET quantity = usage_counters.quantity + excluded.quantity",
        org as OrgId,
        sources.id::<UsageId>() as UsageId,
        source,
        kind.as_str(),
        quantity,
        sources.now(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What an org used of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageTotal {
    pub kind: String,
    pub quantity: i64,
}

/// What an org used of one kind on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayTotal {
    /// In UTC.
    pub day: NaiveDate,
    pub kind: String,
    pub quantity: i64,
}

/// What one model took of an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTotal {
    pub provider: String,
    /// Empty: the provider did not say.
    pub model: String,
    /// Cached ones included.
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cached_tokens: i64,
    pub requests: i64,
    /// Of those, the ones of which nobody said the whole use.
    pub requests_unknown: i64,
}

impl Store {
    /// Totals by model, of what agents asked through doors. A turn counts when it has ended, and on that day. Without a range: since
    /// the org began.
    pub async fn usage_by_model(&self, org: OrgId, range: Option<DayRange>) -> Result<Vec<ModelTotal>, StoreError> {
        sqlx::query_as!(
            ModelTotal,
            r#"-- usage_by_model
            SELECT provider, model, sum(input_tokens)::bigint AS "input_tokens!", sum(output_tokens)::bigint AS "output_tokens!",
                sum(cached_tokens)::bigint AS "cached_tokens!", sum(requests)::bigint AS "requests!",
                sum(requests_unknown)::bigint AS "requests_unknown!"
            FROM model_usage
            WHERE org_id = $1 AND recorded_at >= coalesce($2::timestamptz, '-infinity')
                AND recorded_at < coalesce($3::timestamptz, 'infinity')
            GROUP BY provider, model ORDER BY provider, model"#,
            org as OrgId,
            range.map(|range| range.begins_at()),
            range.map(|range| range.ends_at()),
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("usage_by_model"))
    }

    /// What lost attempts at a command spent with providers, as far as their events tell.
    pub async fn turn_spent(&self, lease: &Lease, command: CommandId) -> Result<Vec<ModelSpend>, StoreError> {
        let rows = sqlx::query!(
            r#"-- turn_spent
            SELECT payload->'model'->>'provider' AS "provider!", payload->'model'->>'name' AS name,
                sum((payload->>'input_tokens')::bigint)::bigint AS "input_tokens!",
                sum((payload->>'output_tokens')::bigint)::bigint AS "output_tokens!",
                sum((payload->'model'->>'cached_tokens')::bigint)::bigint AS "cached_tokens!",
                sum((payload->'model'->>'requests')::bigint)::bigint AS "requests!",
                sum((payload->'model'->>'requests_unknown')::bigint)::bigint AS "requests_unknown!"
            FROM events AS used
            WHERE org_id = $1 AND session_id = $2 AND kind = 'usage_recorded' AND payload->'model' IS NOT NULL
                AND $3 = (
                    -- Whose turn it was: other commands may have been carried out between two attempts.
                    SELECT payload->>'command_id' FROM events AS begun
                    WHERE begun.org_id = $1 AND begun.session_id = $2 AND begun.sequence < used.sequence
                        AND begun.kind = 'turn_started'
                    ORDER BY begun.sequence DESC LIMIT 1)
            GROUP BY 1, 2 ORDER BY 1, 2"#,
            lease.org as OrgId,
            lease.session as SessionId,
            command.to_string(),
        )
        .fetch_all(self.of(lease.org))
        .await
        .map_err(StoreError::during("turn_spent"))?;
        let spend = rows.into_iter().map(|row| ModelSpend {
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            model: ModelUse {
                provider: row.provider,
                name: row.name,
                cached_tokens: row.cached_tokens,
                requests: row.requests,
                requests_unknown: row.requests_unknown,
            },
        });
        Ok(spend.collect())
    }

    /// Totals by kind; kinds that were not used are absent. Without a range: since the org began.
    pub async fn usage_totals(&self, org: OrgId, range: Option<DayRange>) -> Result<Vec<UsageTotal>, StoreError> {
        sqlx::query_as!(
            UsageTotal,
            // Kinds are named, so that the days of each are found in the key.
            r#"-- usage_totals
            SELECT kind, sum(quantity)::bigint AS "quantity!" FROM usage_counters
            WHERE org_id = $1 AND kind = ANY ($2)
                AND day >= coalesce($3::date, '-infinity') AND day < coalesce($4::date, 'infinity')
            GROUP BY kind ORDER BY kind"#,
            org as OrgId,
            &kinds(),
            range.map(|range| range.from()),
            range.map(|range| range.to()),
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("usage_totals"))
    }

    /// Totals by day and kind, in this order; what was not used on a day is absent.
    pub async fn usage_by_day(&self, org: OrgId, range: DayRange) -> Result<Vec<DayTotal>, StoreError> {
        sqlx::query_as!(
            DayTotal,
            r#"-- usage_by_day
            SELECT day, kind, sum(quantity)::bigint AS "quantity!" FROM usage_counters
            WHERE org_id = $1 AND kind = ANY ($2) AND day >= $3 AND day < $4
            GROUP BY day, kind ORDER BY day, kind"#,
            org as OrgId,
            &kinds(),
            range.from(),
            range.to(),
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("usage_by_day"))
    }
}

fn kinds() -> Vec<String> {
    UsageKind::ALL.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
