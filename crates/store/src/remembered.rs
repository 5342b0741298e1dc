//! Effects that the recovery ledger remembered and that no row stands for: asked by whoever is about to make such a row.
//!
//! Not here: writing them (a restore's replay), and deliveries, which look at them in the statement that inserts them
//! (`cursor`).

use ids::{InletId, OrgId};
use sqlx::PgConnection;

/// What the table calls an effect that hangs from no other id.
const NOBODY: uuid::Uuid = uuid::Uuid::nil();

/// Whether the lost system had accepted an event of a provider.
pub(crate) async fn inbound(
    connection: &mut PgConnection,
    org: OrgId,
    inlet: InletId,
    event: &[u8; 32],
) -> Result<bool, sqlx::Error> {
    is_there(connection, org, "inbound", inlet.into(), event).await
}

/// Whether a person had spoken to a request already, in the lost system.
pub(crate) async fn interaction(
    connection: &mut PgConnection,
    org: OrgId,
    interaction: &[u8; 32],
) -> Result<bool, sqlx::Error> {
    is_there(connection, org, "interaction", NOBODY, interaction).await
}

/// Whether something was taken from a person in a chat, in the lost system.
pub(crate) async fn identity(
    connection: &mut PgConnection,
    org: OrgId,
    identity: &[u8; 32],
) -> Result<bool, sqlx::Error> {
    is_there(connection, org, "identity", NOBODY, identity).await
}

async fn is_there(
    connection: &mut PgConnection,
    org: OrgId,
    kind: &str,
    effect: uuid::Uuid,
    key: &[u8],
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- remembered_is_there
        SELECT EXISTS (
            SELECT FROM remembered_effects WHERE org_id = $1 AND kind = $2 AND effect_id = $3 AND effect_key = $4
        ) AS "there!""#,
        org as OrgId,
        kind,
        effect,
        key,
    )
    .fetch_one(connection)
    .await
}
