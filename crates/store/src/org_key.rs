//! The data key of an org, wrapped.
//!
//! Not here: wrapping and unwrapping (`secrets`).

use ids::OrgId;

use crate::{Store, StoreError};

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgKey {
    pub wrapped_key: Vec<u8>,
    /// Version of the KMS key that wrapped it.
    pub key_version: String,
}

/// What an org's wrapped key is bound to: one that was moved to another row does not unwrap.
#[must_use]
pub fn org_key_aad(org: OrgId) -> Vec<u8> {
    format!("org_keys/{org}").into_bytes()
}

impl Store {
    pub async fn org_key(&self, org: OrgId) -> Result<Option<OrgKey>, StoreError> {
        sqlx::query_as!(
            OrgKey,
            "-- org_key
            SELECT wrapped_key, key_version FROM org_keys WHERE org_id = $1",
            org as OrgId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("org_key"))
    }

    /// Makes `new` the org's key unless it has one. Gives back the one that it has afterwards, whoever made it.
    pub async fn org_key_create(&self, org: OrgId, new: &OrgKey) -> Result<OrgKey, StoreError> {
        sqlx::query!(
            "-- org_key_create
            INSERT INTO org_keys (org_id, wrapped_key, key_version, created_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (org_id) DO NOTHING",
            org as OrgId,
            new.wrapped_key,
            new.key_version,
            self.sources.now(),
        )
        .execute(self.of(org))
        .await
        .map_err(StoreError::during("org_key_create"))?;
        Ok(self.org_key(org).await?.expect("a key was just inserted, and none is ever deleted"))
    }
}
