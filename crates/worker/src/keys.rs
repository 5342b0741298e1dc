//! The data keys of orgs, unwrapped: made when an org's first checkpoint is saved.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ids::OrgId;
use objects::CheckpointKey;
use secrets::{DataKey, Kms, KmsError, Wrapped};
use store::{OrgKey, Store, StoreError, org_key_aad};

/// Finds the key that an org's checkpoints are sealed under. Keeps those it has found.
#[derive(Debug)]
pub struct OrgKeys {
    store: Store,
    kms: Arc<dyn Kms>,
    known: Mutex<HashMap<OrgId, CheckpointKey>>,
}

#[derive(Debug, thiserror::Error)]
pub enum OrgKeysError {
    #[error("the org's data key can't be unwrapped")]
    Kms(#[from] KmsError),
    #[error("the org's data key can't be read or written")]
    Store(#[from] StoreError),
}

impl OrgKeys {
    #[must_use]
    pub fn new(store: Store, kms: Arc<dyn Kms>) -> Self {
        Self { store, kms, known: Mutex::default() }
    }

    /// The org's key, made if it has none.
    pub async fn get(&self, org: OrgId) -> Result<CheckpointKey, OrgKeysError> {
        if let Some(key) = self.existing(org).await? {
            return Ok(key);
        }
        let new = DataKey::generate(self.store.sources());
        let Wrapped { bytes, key_version } = self.kms.wrap(&new, &org_key_aad(org)).await?;
        // Two workers may get here; both go on with the one that was stored.
        let stored = self.store.org_key_create(org, &OrgKey { wrapped_key: bytes, key_version }).await?;
        self.unwrap(org, stored).await
    }

    /// The org's key. `None`: it has none, so it can't have a checkpoint that opens.
    pub async fn existing(&self, org: OrgId) -> Result<Option<CheckpointKey>, OrgKeysError> {
        if let Some(key) = self.known.lock().expect("no holder of this lock can panic").get(&org) {
            return Ok(Some(key.clone()));
        }
        match self.store.org_key(org).await? {
            Some(stored) => Ok(Some(self.unwrap(org, stored).await?)),
            None => Ok(None),
        }
    }

    async fn unwrap(&self, org: OrgId, stored: OrgKey) -> Result<CheckpointKey, OrgKeysError> {
        let wrapped = Wrapped { bytes: stored.wrapped_key, key_version: stored.key_version };
        let key = CheckpointKey::new(self.kms.unwrap(&wrapped, &org_key_aad(org)).await?.expose());
        self.known.lock().expect("no holder of this lock can panic").insert(org, key.clone());
        Ok(key)
    }
}
