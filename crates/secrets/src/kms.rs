//! What a key management service does for us: wrap a data key, and give it back.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::key::DataKey;

/// Keeps keys that never leave it, in versions.
///
/// `aad` binds a wrapped key to its record: under other associated data it doesn't unwrap.
#[async_trait]
pub trait Kms: Debug + Send + Sync {
    /// The version that [`wrap`](Self::wrap) uses.
    fn current_version(&self) -> &str;

    /// Wraps `key` under the current version.
    async fn wrap(&self, key: &DataKey, aad: &[u8]) -> Result<Wrapped, KmsError>;

    /// Unwraps a key, whichever version wrapped it.
    async fn unwrap(&self, wrapped: &Wrapped, aad: &[u8]) -> Result<DataKey, KmsError>;
}

/// A data key that only the KMS can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    pub bytes: Vec<u8>,
    pub key_version: String,
}

/// Why a key was not wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// The version is not configured: retired too early, or the ciphertext is another system's.
    #[error("key version {version:?} is not configured")]
    UnknownVersion { version: String },
    /// The KMS has the version, and the wrapped key doesn't open under it: it was changed, belongs to another record,
    /// or that version's key has been replaced.
    #[error("the wrapped key does not open under key version {version:?}")]
    Refused { version: String },
    /// The service could not be asked. Worth another attempt.
    #[error("the key service did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
