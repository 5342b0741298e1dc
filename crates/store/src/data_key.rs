//! Data keys: whatever is sealed in this installation is sealed under one of its own, and the KMS key wraps it.
//!
//! A data key that is wrapped anew under another version of the KMS key opens the same ciphertext, so that is how an older
//! version is done without. Each write compares the wrapped key that it replaces: a record that was sealed anew, revoked
//! or forgotten meanwhile is left alone.
//!
//! Not here: wrapping (`secrets`), the records themselves (`byok`, `org_key`, `idempotency`), which version is the current
//! one (`key_rotation`).

use std::collections::BTreeMap;

use ids::{AccountId, ByokKeyId, OrgId};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::byok::byok_aad;
use crate::org_key::org_key_aad;
use crate::{Store, StoreError, audit, idempotency};

/// A table whose records are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SealedTable {
    ByokKeys,
    IdempotencyKeys,
    OrgKeys,
}

/// How many records of a table are sealed under a version of the KMS key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCount {
    pub table: String,
    pub version: String,
    pub records: i64,
}

/// Which record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPlace {
    pub org: OrgId,
    /// The BYOK key or the account; nil for an org's own key.
    id: Uuid,
    /// The idempotency key; else empty.
    key: String,
}

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    pub table: SealedTable,
    pub place: SealedPlace,
    pub wrapped_key: Vec<u8>,
    pub key_version: String,
}

/// A data key, and what it is wrapped as from now on.
#[derive(Debug, Clone)]
pub struct Rewrapped {
    pub before: WrappedKey,
    pub wrapped_key: Vec<u8>,
}

struct Row {
    org: OrgId,
    id: Uuid,
    key: String,
    wrapped_key: Vec<u8>,
    key_version: String,
}

impl SealedTable {
    pub const ALL: [Self; 3] = [Self::ByokKeys, Self::IdempotencyKeys, Self::OrgKeys];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ByokKeys => "byok_keys",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::OrgKeys => "org_keys",
        }
    }
}

impl WrappedKey {
    /// What the wrapped key is bound to.
    #[must_use]
    pub fn aad(&self) -> Vec<u8> {
        let SealedPlace { org, id, key } = &self.place;
        match self.table {
            SealedTable::ByokKeys => byok_aad(*org, ByokKeyId::from(*id)),
            SealedTable::IdempotencyKeys => idempotency::aad(*org, AccountId::from(*id), key),
            SealedTable::OrgKeys => org_key_aad(*org),
        }
    }
}

impl Store {
    /// What is sealed, by table and version of the KMS key. Reads all of it: for a person who asks.
    pub async fn data_key_counts(&self) -> Result<Vec<SealedCount>, StoreError> {
        sqlx::query_as!(
            SealedCount,
            r#"-- data_key_counts
            SELECT table_name AS "table!", key_version AS "version!", count(*) AS "records!"
            FROM (
                SELECT 'byok_keys' AS table_name, key_version FROM byok_keys WHERE revoked_at IS NULL
                UNION ALL
                SELECT 'idempotency_keys', key_version FROM idempotency_keys WHERE key_version IS NOT NULL
                UNION ALL
                SELECT 'org_keys', key_version FROM org_keys
            ) AS sealed
            GROUP BY table_name, key_version ORDER BY table_name, key_version"#
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("data_key_counts"))
    }

    /// At most `limit` data keys of `table`, after `after`, that are wrapped under another version than `current`.
    pub async fn data_key_list_older(
        &self,
        table: SealedTable,
        current: &str,
        after: Option<&SealedPlace>,
        limit: i64,
    ) -> Result<Vec<WrappedKey>, StoreError> {
        let start = SealedPlace { org: Uuid::nil().into(), id: Uuid::nil(), key: String::new() };
        let SealedPlace { org, id, key } = after.unwrap_or(&start);
        let rows = match table {
            SealedTable::ByokKeys => {
                sqlx::query_as!(
                    Row,
                    r#"-- data_key_list_older_byok
                    SELECT org_id AS "org: OrgId", byok_key_id AS id, '' AS "key!", wrapped_key, key_version
                    FROM byok_keys
                    WHERE revoked_at IS NULL AND key_version <> $1 AND (org_id, byok_key_id) > ($2, $3)
                    ORDER BY org_id, byok_key_id LIMIT $4"#,
                    current,
                    *org as OrgId,
                    id,
                    limit,
                )
                .fetch_all(self.everywhere())
                .await
            }
            SealedTable::IdempotencyKeys => {
                sqlx::query_as!(
                    Row,
                    r#"-- data_key_list_older_answers
                    SELECT org_id AS "org: OrgId", account_id AS id, key, wrapped_key AS "wrapped_key!",
                        key_version AS "key_version!"
                    FROM idempotency_keys
                    WHERE key_version <> $1 AND (org_id, account_id, key) > ($2, $3, $4)
                    ORDER BY org_id, account_id, key LIMIT $5"#,
                    current,
                    *org as OrgId,
                    id,
                    key,
                    limit,
                )
                .fetch_all(self.everywhere())
                .await
            }
            SealedTable::OrgKeys => {
                sqlx::query_as!(
                    Row,
                    r#"-- data_key_list_older_orgs
                    SELECT org_id AS "org: OrgId", '00000000-0000-0000-0000-000000000000'::uuid AS "id!", '' AS "key!",
                        wrapped_key, key_version
                    FROM org_keys WHERE key_version <> $1 AND org_id > $2 ORDER BY org_id LIMIT $3"#,
                    current,
                    *org as OrgId,
                    limit,
                )
                .fetch_all(self.everywhere())
                .await
            }
        };
        let rows = rows.map_err(StoreError::during("data_key_list_older"))?;
        let wrapped = |Row { org, id, key, wrapped_key, key_version }| {
            let place = SealedPlace { org, id, key };
            WrappedKey { table, place, wrapped_key, key_version }
        };
        Ok(rows.into_iter().map(wrapped).collect())
    }

    /// Puts data keys of `table` in place of those that they were, under `version`. How many: those that changed meanwhile
    /// stay as they are. Each org's audit trail tells of its own.
    pub async fn data_key_rewrap(
        &self,
        table: SealedTable,
        version: &str,
        keys: &[Rewrapped],
        actor: &str,
    ) -> Result<u64, StoreError> {
        let during = || StoreError::during("data_key_rewrap");
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        let changed = write(&mut tx, table, version, keys).await.map_err(during())?;
        let mut by_org: BTreeMap<OrgId, u64> = BTreeMap::new();
        for org in &changed {
            *by_org.entry(*org).or_default() += 1;
        }
        let target = format!("adapter_key:{version}");
        for (org, records) in by_org {
            let detail = json!({"table": table.as_str(), "records": records});
            audit::record(&mut tx, &self.sources, org, actor, "keys.rewrap", &target, detail).await.map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        Ok(changed.len() as u64)
    }
}

/// The org of each record that was written. Rows are locked in the order of their keys, so that two who do this at once
/// don't wait for each other.
async fn write(
    connection: &mut PgConnection,
    table: SealedTable,
    version: &str,
    keys: &[Rewrapped],
) -> Result<Vec<OrgId>, sqlx::Error> {
    let orgs: Vec<Uuid> = keys.iter().map(|key| key.before.place.org.into()).collect();
    let ids: Vec<Uuid> = keys.iter().map(|key| key.before.place.id).collect();
    let before: Vec<Vec<u8>> = keys.iter().map(|key| key.before.wrapped_key.clone()).collect();
    let after: Vec<Vec<u8>> = keys.iter().map(|key| key.wrapped_key.clone()).collect();
    match table {
        SealedTable::ByokKeys => {
            sqlx::query_scalar!(
                r#"-- data_key_rewrap_byok
                WITH found AS (
                    SELECT org_id, byok_key_id, new.after
                    FROM unnest($2::uuid[], $3::uuid[], $4::bytea[], $5::bytea[]) AS new (org_id, byok_key_id, before, after)
                        JOIN byok_keys USING (org_id, byok_key_id)
                    WHERE wrapped_key = new.before AND revoked_at IS NULL
                    ORDER BY org_id, byok_key_id FOR UPDATE OF byok_keys
                )
                UPDATE byok_keys SET wrapped_key = found.after, key_version = $1, version = version + 1 FROM found
                WHERE byok_keys.org_id = found.org_id AND byok_keys.byok_key_id = found.byok_key_id
                RETURNING byok_keys.org_id AS "org: OrgId""#,
                version,
                &orgs,
                &ids,
                &before,
                &after,
            )
            .fetch_all(connection)
            .await
        }
        SealedTable::IdempotencyKeys => {
            let names: Vec<String> = keys.iter().map(|key| key.before.place.key.clone()).collect();
            sqlx::query_scalar!(
                r#"-- data_key_rewrap_answers
                WITH found AS (
                    SELECT org_id, account_id, key, new.after
                    FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::bytea[])
                            AS new (org_id, account_id, key, before, after)
                        JOIN idempotency_keys USING (org_id, account_id, key)
                    WHERE wrapped_key = new.before
                    ORDER BY org_id, account_id, key FOR UPDATE OF idempotency_keys
                )
                UPDATE idempotency_keys SET wrapped_key = found.after, key_version = $1 FROM found
                WHERE idempotency_keys.org_id = found.org_id AND idempotency_keys.account_id = found.account_id
                    AND idempotency_keys.key = found.key
                RETURNING idempotency_keys.org_id AS "org: OrgId""#,
                version,
                &orgs,
                &ids,
                &names,
                &before,
                &after,
            )
            .fetch_all(connection)
            .await
        }
        SealedTable::OrgKeys => {
            sqlx::query_scalar!(
                r#"-- data_key_rewrap_orgs
                WITH found AS (
                    SELECT org_id, new.after
                    FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS new (org_id, before, after)
                        JOIN org_keys USING (org_id)
                    WHERE wrapped_key = new.before
                    ORDER BY org_id FOR UPDATE OF org_keys
                )
                UPDATE org_keys SET wrapped_key = found.after, key_version = $1 FROM found
                WHERE org_keys.org_id = found.org_id
                RETURNING org_keys.org_id AS "org: OrgId""#,
                version,
                &orgs,
                &before,
                &after,
            )
            .fetch_all(connection)
            .await
        }
    }
}

#[cfg(test)]
mod tests;
