//! Metered quantities. Each source counts once per kind, however often its work is
//! repeated.
//!
//! What is recorded is also added up by day (`usage_counters`), by the same statement: a record that was there already adds
//! nothing. Statements that stand alone spread over stripes, so that an org's turns don't wait for each other; a transaction that
//! records several times uses one stripe, so that two of them can't wait for each other crosswise.
//!
//! Not here: comparing with quotas (`quota`), the plan that they are of (`subscription`), prices, which are the billing
//! provider's.

use clock::Sources;
use domain::quota::UsageKind;
use ids::{OrgId, UsageId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Store, StoreError};

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

/// What an org used of one kind, since it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageTotal {
    pub kind: String,
    pub quantity: i64,
}

impl Store {
    /// Totals by kind; kinds that were never used are absent.
    pub async fn usage_totals(&self, org: OrgId) -> Result<Vec<UsageTotal>, StoreError> {
        sqlx::query_as!(
            UsageTotal,
            r#"-- usage_totals
            SELECT kind, sum(quantity)::bigint AS "quantity!" FROM usage_records
            WHERE org_id = $1 GROUP BY kind ORDER BY kind"#,
            org as OrgId,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("usage_totals"))
    }
}
