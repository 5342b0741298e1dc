//! Keys that users bring.

use chrono::{DateTime, Utc};
use ids::ByokKeyId;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::etag::{made_for, tagged};
use crate::{Client, ETag, Error, Page, Tagged};

/// What is known of a key; never the key.
#[derive(Debug, Clone, Deserialize)]
pub struct ByokKey {
    pub byok_key_id: ByokKeyId,
    pub provider: String,
    pub label: String,
    pub last_four: String,
    pub key_version: String,
    /// Which of the secrets that were brought under this id it has, from 1.
    pub secret_number: i32,
    pub rotated_at: Option<DateTime<Utc>>,
    /// `valid`, `refused`, `unreachable`. `None`: the provider was not asked about this secret.
    pub validation: Option<String>,
    pub validated_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Client {
    pub async fn byok_key_create(&self, provider: &str, label: &str, key: &str) -> Result<ByokKey, Error> {
        self.post("/api/byok-keys", &json!({"provider": provider, "label": label, "key": key})).await
    }

    pub async fn byok_key_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<ByokKey>, Error> {
        self.get_page("/api/byok-keys", cursor, limit).await
    }

    /// A key, with the state that a rotation can be made for.
    pub async fn byok_key_view(&self, key: ByokKeyId) -> Result<Tagged<ByokKey>, Error> {
        tagged(self.request(Method::GET, &format!("/api/byok-keys/{key}"))).await
    }

    /// Puts another secret in the place of the key's. With `seen`, only if nobody has changed it since; else the problem
    /// `precondition_failed`.
    pub async fn byok_key_rotate(
        &self,
        key: ByokKeyId,
        secret: &str,
        seen: Option<&ETag>,
    ) -> Result<Tagged<ByokKey>, Error> {
        let request = self.request(Method::POST, &format!("/api/byok-keys/{key}/rotate"));
        tagged(made_for(request.json(&json!({"key": secret})), seen)).await
    }

    /// Has the key's provider asked whether it takes the key.
    pub async fn byok_key_validate(&self, key: ByokKeyId) -> Result<Tagged<ByokKey>, Error> {
        tagged(self.request(Method::POST, &format!("/api/byok-keys/{key}/validate"))).await
    }

    /// The key is forgotten; what is known of it stays.
    pub async fn byok_key_revoke(&self, key: ByokKeyId) -> Result<(), Error> {
        self.delete(&format!("/api/byok-keys/{key}")).await
    }
}
