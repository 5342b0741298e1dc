//! Keys that users bring: what people may see of them, and the sealed key itself.
//!
//! Not here: sealing and opening (`secrets`). This file never holds a key in clear.

use clock::Timestamp;
use ids::{ByokKeyId, OrgId};
use serde_json::json;

use crate::outbox::{self, Effect};
use crate::{Store, StoreError, audit};

/// What people may see of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByokKey {
    pub byok_key_id: ByokKeyId,
    pub provider: String,
    pub label: String,
    pub last_four: String,
    /// Version of the KMS key that wraps it.
    pub key_version: String,
    pub created_at: Timestamp,
    /// `None`: in force.
    pub revoked_at: Option<Timestamp>,
}

/// A sealed key to be written down. Its id is part of what the seal is bound to, so the caller makes it.
#[derive(Debug, Clone)]
pub struct NewByokKey {
    pub byok_key_id: ByokKeyId,
    pub provider: String,
    pub label: String,
    pub last_four: String,
    pub ciphertext: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    pub key_version: String,
}

/// A key as it is stored, to be opened.
#[derive(Debug, Clone)]
pub struct SealedByokKey {
    pub org_id: OrgId,
    pub byok_key_id: ByokKeyId,
    pub ciphertext: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    pub key_version: String,
}

/// What a key's seal is bound to: an envelope that was moved to another row does not open.
#[must_use]
pub fn byok_aad(org: OrgId, key: ByokKeyId) -> Vec<u8> {
    format!("byok_keys/{org}/{key}").into_bytes()
}

impl Store {
    pub async fn byok_create(&self, org: OrgId, new: &NewByokKey, actor: &str) -> Result<ByokKey, StoreError> {
        let during = || StoreError::during("byok_create");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let key = sqlx::query_as!(
            ByokKey,
            r#"-- byok_create
            INSERT INTO byok_keys (org_id, byok_key_id, provider, label, last_four, ciphertext, wrapped_key, key_version,
                created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            RETURNING byok_key_id AS "byok_key_id: ByokKeyId", provider, label, last_four, key_version, created_at,
                revoked_at"#,
            org as OrgId,
            new.byok_key_id as ByokKeyId,
            new.provider,
            new.label,
            new.last_four,
            new.ciphertext,
            new.wrapped_key,
            new.key_version,
            self.sources.now(),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        let (target, detail) = (format!("byok_key:{}", key.byok_key_id), json!({ "provider": key.provider }));
        audit::record(&mut tx, &self.sources, org, actor, "byok_key.create", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(key)
    }

    pub async fn byok_list(
        &self,
        org: OrgId,
        after: Option<ByokKeyId>,
        limit: i64,
    ) -> Result<Vec<ByokKey>, StoreError> {
        sqlx::query_as!(
            ByokKey,
            r#"-- byok_list
            SELECT byok_key_id AS "byok_key_id: ByokKeyId", provider, label, last_four, key_version, created_at,
                revoked_at
            FROM byok_keys
            WHERE org_id = $1 AND ($2::uuid IS NULL OR byok_key_id > $2) ORDER BY byok_key_id LIMIT $3"#,
            org as OrgId,
            after as Option<ByokKeyId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("byok_list"))
    }

    /// Takes a key out of force and forgets it: only what people may see of it stays. `false`: there is no such key.
    pub async fn byok_revoke(&self, org: OrgId, key: ByokKeyId, actor: &str) -> Result<bool, StoreError> {
        let during = || StoreError::during("byok_revoke");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let row = sqlx::query!(
            r#"-- byok_revoke
            WITH found AS (
                SELECT org_id, byok_key_id, revoked_at FROM byok_keys
                WHERE org_id = $1 AND byok_key_id = $2 FOR UPDATE
            ), revoked AS (
                UPDATE byok_keys SET revoked_at = $3, ciphertext = '', wrapped_key = '' FROM found
                WHERE byok_keys.org_id = found.org_id AND byok_keys.byok_key_id = found.byok_key_id
                    AND found.revoked_at IS NULL
            )
            SELECT revoked_at IS NULL AS "revoked_now!" FROM found"#,
            org as OrgId,
            key as ByokKeyId,
            self.sources.now(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?;
        if row.as_ref().is_some_and(|row| row.revoked_now) {
            let target = format!("byok_key:{key}");
            audit::record(&mut tx, &self.sources, org, actor, "byok_key.revoke", &target, json!({}))
                .await
                .map_err(during())?;
            let effect = Effect::KeyRevoked { org, key };
            outbox::insert(&mut tx, &self.sources, &[effect]).await.map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        Ok(row.is_some())
    }

    /// The keys in force of all orgs, as they are stored, to see whether each opens.
    pub async fn byok_sealed_list(
        &self,
        after: Option<ByokKeyId>,
        limit: i64,
    ) -> Result<Vec<SealedByokKey>, StoreError> {
        sqlx::query_as!(
            SealedByokKey,
            r#"-- byok_sealed_list
            SELECT org_id AS "org_id: OrgId", byok_key_id AS "byok_key_id: ByokKeyId", ciphertext, wrapped_key, key_version
            FROM byok_keys
            WHERE revoked_at IS NULL AND ($1::uuid IS NULL OR byok_key_id > $1) ORDER BY byok_key_id LIMIT $2"#,
            after as Option<ByokKeyId>,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("byok_sealed_list"))
    }
}
