//! Metered quantities. Each source counts once per kind, however often its work is repeated.

use clock::Sources;
use ids::{OrgId, UsageId};
use sqlx::PgConnection;
use uuid::Uuid;

/// What is metered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageKind {
    Turns,
    InputTokens,
    OutputTokens,
    ArtifactBytes,
    Deliveries,
    Runs,
}

impl UsageKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::ArtifactBytes => "artifact_bytes",
            Self::Deliveries => "deliveries",
            Self::Runs => "runs",
        }
    }
}

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
        INSERT INTO usage_records (org_id, usage_id, source_id, kind, quantity, recorded_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org_id, source_id, kind) DO NOTHING",
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
