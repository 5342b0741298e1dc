//! A KMS whose keys are secrets of this installation.
//!
//! Wraps with AES-256-GCM. The version's name is part of the associated data, so that a wrapped key can't be passed off
//! as another version's.
//!
//! Not here: rotation. An operator adds a version as current and keeps the old one as previous until every ciphertext
//! has been wrapped anew.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use clock::Sources;

use crate::aead;
use crate::key::{DataKey, KeyError};
use crate::kms::{Kms, KmsError, Wrapped};
use crate::value::SecretBytes;

pub struct LocalKms {
    current: String,
    keys: BTreeMap<String, DataKey>,
    sources: Sources,
}

/// Why the configured keys make no KMS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalKmsError {
    #[error("the value of key version {version:?} cannot be used")]
    Key {
        version: String,
        #[source]
        source: KeyError,
    },
    #[error("key version {version:?} is configured twice")]
    Twice { version: String },
}

impl LocalKms {
    /// A KMS that wraps under `current` and also unwraps what the `previous` versions wrapped.
    ///
    /// # Errors
    /// If a value is no key, or a version is named twice.
    pub fn new(
        current: (String, SecretBytes),
        previous: Vec<(String, SecretBytes)>,
        sources: Sources,
    ) -> Result<Self, LocalKmsError> {
        let mut kms = Self { current: current.0.clone(), keys: BTreeMap::new(), sources };
        for (version, value) in std::iter::once(current).chain(previous) {
            let key =
                DataKey::parse(&value).map_err(|source| LocalKmsError::Key { version: version.clone(), source })?;
            if kms.keys.insert(version.clone(), key).is_some() {
                return Err(LocalKmsError::Twice { version });
            }
        }
        Ok(kms)
    }

    fn key(&self, version: &str) -> Result<&DataKey, KmsError> {
        self.keys.get(version).ok_or_else(|| KmsError::UnknownVersion { version: version.to_owned() })
    }
}

impl fmt::Debug for LocalKms {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<_> = self.keys.keys().collect();
        out.debug_struct("LocalKms").field("current", &self.current).field("versions", &versions).finish()
    }
}

#[async_trait]
impl Kms for LocalKms {
    fn current_version(&self) -> &str {
        &self.current
    }

    async fn wrap(&self, key: &DataKey, aad: &[u8]) -> Result<Wrapped, KmsError> {
        let aad = bound(&self.current, aad);
        let bytes = aead::seal(self.key(&self.current)?, &self.sources, key.expose(), &aad);
        Ok(Wrapped { bytes, key_version: self.current.clone() })
    }

    async fn unwrap(&self, wrapped: &Wrapped, aad: &[u8]) -> Result<DataKey, KmsError> {
        let version = &wrapped.key_version;
        let refused = || KmsError::Refused { version: version.clone() };
        let key = aead::open(self.key(version)?, &wrapped.bytes, &bound(version, aad)).map_err(|_| refused())?;
        key.expose().try_into().map(DataKey::new).map_err(|_| refused())
    }
}

/// The version's length comes first, so that no version and record can be read as another version and record.
fn bound(version: &str, aad: &[u8]) -> Vec<u8> {
    [b"cowork wrap v1\0".as_slice(), &(version.len() as u64).to_le_bytes(), version.as_bytes(), aad].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(fill: u8) -> SecretBytes {
        hex::encode([fill; 32]).into_bytes().into()
    }

    fn kms(current: (&str, u8), previous: &[(&str, u8)]) -> Result<LocalKms, LocalKmsError> {
        let previous = previous.iter().map(|(version, fill)| ((*version).to_owned(), value(*fill))).collect();
        LocalKms::new((current.0.to_owned(), value(current.1)), previous, Sources::system())
    }

    #[tokio::test]
    async fn a_key_wrapped_under_an_old_version_opens_while_that_version_is_kept() {
        let key = DataKey::generate(&Sources::system());
        let wrapped = kms(("1", 1), &[]).unwrap().wrap(&key, b"record").await.unwrap();
        let rotated = kms(("2", 2), &[("1", 1)]).unwrap();
        assert_eq!(rotated.unwrap(&wrapped, b"record").await.unwrap().expose(), key.expose());
        assert_eq!(rotated.wrap(&key, b"record").await.unwrap().key_version, "2");
    }

    #[tokio::test]
    async fn a_key_of_an_unknown_version_is_told_apart_from_one_that_does_not_open() {
        let key = DataKey::generate(&Sources::system());
        let wrapped = kms(("1", 1), &[]).unwrap().wrap(&key, b"record").await.unwrap();
        let retired = kms(("2", 2), &[]).unwrap().unwrap(&wrapped, b"record").await.unwrap_err();
        assert!(matches!(retired, KmsError::UnknownVersion { version } if version == "1"));
        let replaced = kms(("1", 9), &[]).unwrap().unwrap(&wrapped, b"record").await.unwrap_err();
        assert!(matches!(replaced, KmsError::Refused { version } if version == "1"));
    }

    #[tokio::test]
    async fn a_wrapped_key_does_not_open_as_another_version_even_with_the_same_key() {
        let key = DataKey::generate(&Sources::system());
        let kms = kms(("1", 1), &[("2", 1)]).unwrap();
        let mut wrapped = kms.wrap(&key, b"record").await.unwrap();
        wrapped.key_version = "2".into();
        assert!(matches!(kms.unwrap(&wrapped, b"record").await, Err(KmsError::Refused { .. })));
    }

    #[test]
    fn a_version_named_twice_is_refused() {
        assert_eq!(kms(("1", 1), &[("1", 2)]).unwrap_err(), LocalKmsError::Twice { version: "1".into() });
    }

    #[test]
    fn no_key_is_printed() {
        assert_eq!(
            format!("{:?}", kms(("1", 1), &[("0", 7)]).unwrap()),
            r#"LocalKms { current: "1", versions: ["0", "1"] }"#
        );
    }
}
