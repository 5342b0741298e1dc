//! Keys that users bring.

use ids::ByokKeyId;
use serde::Deserialize;
use serde_json::json;

use crate::{Client, Error, Page};

/// What is known of a key; never the key.
#[derive(Debug, Clone, Deserialize)]
pub struct ByokKey {
    pub byok_key_id: ByokKeyId,
    pub provider: String,
    pub label: String,
    pub last_four: String,
    pub key_version: String,
}

impl Client {
    pub async fn byok_key_create(&self, provider: &str, label: &str, key: &str) -> Result<ByokKey, Error> {
        self.post("/api/byok-keys", &json!({"provider": provider, "label": label, "key": key})).await
    }

    pub async fn byok_key_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<ByokKey>, Error> {
        self.get_page("/api/byok-keys", cursor, limit).await
    }

    /// The key is forgotten; what is known of it stays.
    pub async fn byok_key_revoke(&self, key: ByokKeyId) -> Result<(), Error> {
        self.delete(&format!("/api/byok-keys/{key}")).await
    }
}
